//! Who may do how much, from outside; and over any order of things.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::auth::Grants;
use crate::auth::principal::{KeyProof, TokenProof};
use crate::broker::problem::{Code, Problem};
use crate::config::Quotas as Tables;

fn token(subject: &str) -> Principal {
    let proof = TokenProof {
        subject: subject.into(),
        jti: None,
        issued_at: None,
        expires: u64::MAX,
    };
    Principal::of_token("", proof, Grants::default())
}

fn key(name: &str, quota: Quota) -> Principal {
    let proof = KeyProof {
        name: name.into(),
        hash: [0; 32],
        admin: false,
        expires: None,
        quota,
    };
    Principal::of_key(proof, Grants::default())
}

fn config(quotas: Tables) -> Config {
    let mut config = Config {
        quotas,
        ..Config::default()
    };
    config.other_namespaces.publish_rate = 0;
    config.other_namespaces.quota = quotas.namespace;
    for name in ["chat", "logs"] {
        let mut namespace = config.other_namespaces.clone();
        namespace.publish_rate = quotas.namespace.publish_rate;
        namespace.publish_burst = quotas.namespace.publish_burst;
        config.namespaces.insert(name.to_owned(), namespace);
    }
    config
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn quota_costs_nothing_where_nothing_is_configured() {
    let quotas = Quotas::new(&config(Tables::default()));
    let meters = quotas.connection_meters(&token("a"), HERE);
    assert!(meters.is_empty() && quotas.namespace("chat").is_none());
    assert!(!meters.bounds_topics(None));
    assert!(meters.connect().is_ok_and(|guard| guard._held.is_none()));
    assert!(
        meters
            .subscribe(None)
            .is_ok_and(|guard| guard._held.is_none())
    );
    assert!(meters.take_publish(None, usize::MAX, usize::MAX, 0).is_ok());
    assert!(quotas.subjects.all().is_empty() && quotas.addresses.all().is_empty());
}

#[test]
fn quota_of_connections_is_per_subject_key_and_address() {
    let bounded = |connections| Quota {
        connections,
        ..Quota::default()
    };
    let quotas = Quotas::new(&config(Tables {
        subject: bounded(1),
        address: bounded(4),
        connection: bounded(1),
        ..Tables::default()
    }));
    let connect = |principal: &Principal| quotas.connection_meters(principal, HERE).connect();
    let scope = |refused: Result<ConnectionGuard, Limited>| refused.err().map(|l| l.scope);
    let _first = connect(&token("a")).expect("the first");
    assert_eq!(scope(connect(&token("a"))), Some(Scope::Subject));
    let one = key("one", bounded(2));
    let larger = key("larger", bounded(3));
    let mut open = vec![
        connect(&one).expect("the first"),
        connect(&one).expect("the second"),
    ];
    assert_eq!(scope(connect(&one)), Some(Scope::Key));
    // it sets another bound itself
    open.push(connect(&larger).expect("the fourth from here"));
    assert_eq!(scope(connect(&larger)), Some(Scope::Address));
    assert_eq!(
        scope(connect(&Principal::anonymous())),
        Some(Scope::Address)
    );
    assert_eq!(scope(connect(&Principal::open())), Some(Scope::Address));
    open.clear();
    for _ in 0..3 {
        open.push(connect(&larger).expect("its own bound"));
    }
    let elsewhere = quotas.meters(&larger, address("192.0.2.2"));
    let refused = elsewhere.connect().expect_err("its own bound");
    assert_eq!(refused.scope, Scope::Key);
    let problem = Problem::from(refused);
    assert_eq!(problem.code, Code::Draining);
    assert_eq!(problem.details.retry_after_ms, Some(1000));
    assert!(problem.message.contains("this API key") && !problem.message.contains("larger"));
}

#[test]
fn quota_of_an_address_is_that_of_its_first_64_bits() {
    let same = [
        ("192.0.2.1", "::ffff:192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false),
        ("2001:db8::1", "2001:db8::ffff:2", true),
        ("2001:db8::1", "2001:db8:0:1::1", false),
        ("0.0.0.0", "::", false),
    ];
    for (a, b, is_same) in same {
        let (a, b) = (Origin::from(address(a)), Origin::from(address(b)));
        assert_eq!(a == b, is_same, "{a:?} {b:?}");
    }
}

#[test]
fn quota_says_whose_wait_is_longest_and_takes_from_nobody() {
    let rate = |publish_rate| Quota {
        publish_rate,
        ..Quota::default()
    };
    let quotas = Quotas::new(&config(Tables {
        connection: rate(10),
        subject: rate(2),
        namespace: rate(5),
        ..Tables::default()
    }));
    let meters = quotas.connection_meters(&token("a"), HERE);
    let other = quotas.connection_meters(&token("b"), HERE);
    let chat = quotas.namespace("chat");
    assert_eq!(meters.take_publish(chat, 2, 0, 0), Ok(()));
    let limited = Limited {
        scope: Scope::Subject,
        what: What::Publishes,
        retry_after_ms: Some(1000),
    };
    for _ in 0..100 {
        assert_eq!(meters.take_publish(chat, 2, 0, 0), Err(limited));
    }
    // the refused ones left the rest of the namespace to others
    assert_eq!(other.take_publish(chat, 2, 0, 0), Ok(()));
    let problem = Problem::from(limited);
    assert_eq!(
        (problem.code, problem.details.retry_after_ms),
        (Code::RateLimited, Some(1000))
    );
}

#[test]
fn quota_of_the_namespaces_without_a_table_is_one() {
    let mut config = config(Tables::default());
    config.other_namespaces.publish_rate = 1;
    config.other_namespaces.publish_burst = 3;
    let quotas = Quotas::new(&config);
    let nobody = Meters::default();
    assert_eq!(nobody.take_publish(quotas.namespace("a"), 3, 0, 0), Ok(()));
    let refused = nobody.take_publish(quotas.namespace("b"), 1, 0, 0);
    assert_eq!(refused.map_err(|l| l.retry_after_ms), Err(Some(1000)));
    assert_eq!(
        nobody.take_publish(quotas.namespace("chat"), 9, 0, 0),
        Ok(()),
        "it has a table"
    );
}

#[test]
fn quota_of_bytes_and_of_subscriptions() {
    let quotas = Quotas::new(&config(Tables {
        subject: Quota {
            byte_rate: 100,
            byte_burst: 300,
            subscriptions: 2,
            ..Quota::default()
        },
        namespace: Quota {
            subscriptions: 3,
            ..Quota::default()
        },
        ..Tables::default()
    }));
    let meters = quotas.meters(&token("a"), HERE);
    assert_eq!(meters.take_publish(None, 1, 300, 0), Ok(()));
    let refused = meters.take_publish(None, 1, 50, 0).expect_err("used up");
    assert_eq!(
        (refused.what, refused.retry_after_ms),
        (What::Bytes, Some(500))
    );
    let chat = quotas.namespace("chat");
    let first = meters.subscribe(chat).expect("the first");
    let second = meters
        .subscribe(quotas.namespace("logs"))
        .expect("the second");
    let refused = meters.subscribe(chat).expect_err("the third");
    assert_eq!(refused.scope, Scope::Subject);
    assert_eq!(Problem::from(refused).code, Code::TooManySubscriptions);
    let other = quotas.meters(&token("b"), HERE);
    let others = [other.subscribe(chat), other.subscribe(chat)];
    assert!(others.iter().all(Result::is_ok));
    let third = quotas.meters(&token("c"), HERE);
    let refused = third.subscribe(chat).expect_err("the namespace is full");
    assert_eq!(refused.scope, Scope::Namespace);
    drop((first, second));
    assert!(third.subscribe(chat).is_ok());
}

#[test]
fn quota_of_a_key_follows_the_configuration() {
    let quotas = Quotas::new(&config(Tables::default()));
    let rate = |publish_rate| Quota {
        publish_rate,
        ..Quota::default()
    };
    let before = quotas.meters(&key("k", rate(10)), HERE);
    assert_eq!(before.take_publish(None, 10, 0, 0), Ok(()));
    let after = quotas.meters(&key("k", rate(1000)), HERE);
    // what was taken stays taken, what is open goes by the new bound
    assert_eq!(before.take_publish(None, 990, 0, 0), Ok(()));
    assert!(after.take_publish(None, 1, 0, 0).is_err());
}

#[test]
fn quota_meters_are_swept_without_a_gift() {
    let quotas = Quotas::new(&config(Tables {
        subject: Quota {
            publish_rate: 10,
            connections: 1,
            ..Quota::default()
        },
        ..Tables::default()
    }));
    let take = |n, now| {
        quotas
            .meters(&token("a"), HERE)
            .take_publish(None, n, 0, now)
    };
    assert_eq!(take(10, 0), Ok(()));
    quotas.sweep(999);
    assert_eq!(quotas.subjects.len(), 1, "it is not as a new one yet");
    assert!(take(10, 999).is_err());
    quotas.sweep(1000);
    assert_eq!(quotas.subjects.len(), 0);
    let guard = quotas
        .meters(&token("a"), HERE)
        .connect()
        .expect("the first");
    quotas.sweep(2000);
    assert_eq!(quotas.subjects.len(), 1, "it is held");
    assert!(quotas.meters(&token("a"), HERE).connect().is_err());
    drop(guard);
    quotas.sweep(2000);
    assert_eq!(quotas.subjects.len(), 0);
}

#[test]
fn quota_newcomers_share_when_there_are_too_many() {
    let tables = Tables {
        subject: Quota {
            publish_rate: 10,
            ..Quota::default()
        },
        ..Tables::default()
    };
    let quotas = Quotas::with_max(&config(tables), 2);
    let take = |who: &str, n, now| {
        quotas
            .meters(&token(who), HERE)
            .take_publish(None, n, 0, now)
    };
    for who in ["a", "b", "c"] {
        assert_eq!(take(who, 10, 0), Ok(()));
    }
    assert!(take("d", 1, 0).is_err(), "it shares with c");
    assert_eq!(quotas.subjects.len(), 2);
    assert_eq!(take("c", 8, 1000), Ok(()));
    quotas.sweep(1000);
    assert_eq!(quotas.subjects.len(), 0);
    // its own now, but no second burst
    assert!(take("c", 5, 1000).is_err());
    assert_eq!(take("c", 2, 1000), Ok(()));
    assert_eq!(quotas.subjects.len(), 1);
}

#[test]
fn quota_of_topics_is_given_back_when_none_came_into_being() {
    let quotas = Quotas::new(&config(Tables {
        address: Quota {
            topics_per_minute: 1,
            ..Quota::default()
        },
        ..Tables::default()
    }));
    let meters = quotas.meters(&Principal::anonymous(), HERE);
    assert!(meters.bounds_topics(None));
    meters.take_topic(None, 0).expect("the first").give_back(0);
    let taken = meters.take_topic(None, 0).expect("it was given back");
    drop(taken);
    let refused = meters.take_topic(None, 0).expect_err("it stays taken");
    assert_eq!(refused.retry_after_ms, Some(60_000));
    assert_eq!(Problem::from(refused).code, Code::RateLimited);
}

/// What anybody may do next.
#[derive(Debug, Clone)]
enum Step {
    Publish {
        by: usize,
        namespace: usize,
        events: u64,
        bytes: u64,
    },
    Topic {
        by: usize,
        namespace: usize,
        unused: bool,
    },
    GiveTopicBack(usize),
    Connect(usize),
    Subscribe {
        by: usize,
        namespace: usize,
    },
    End(usize),
    Reconnect(usize),
    Wait(u64),
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let by = 0..PARTIES;
    let namespace = 0..NAMESPACES.len();
    let publish = (by.clone(), namespace.clone(), 0..12_u64, 0..400_u64);
    let step = prop_oneof![
        6 => publish.prop_map(|(by, namespace, events, bytes)| Step::Publish { by, namespace, events, bytes }),
        3 => (by.clone(), namespace.clone(), any::<bool>())
            .prop_map(|(by, namespace, unused)| Step::Topic { by, namespace, unused }),
        1 => (0..8_usize).prop_map(Step::GiveTopicBack),
        2 => by.clone().prop_map(Step::Connect),
        2 => (by.clone(), namespace).prop_map(|(by, namespace)| Step::Subscribe { by, namespace }),
        2 => (0..8_usize).prop_map(Step::End),
        2 => by.prop_map(Step::Reconnect),
        3 => (0..3000_u64).prop_map(Step::Wait),
        2 => Just(Step::Sweep),
    ];
    prop::collection::vec(step, 1..120)
}

/// Two subjects, a key and nobody, from two addresses.
const PARTIES: usize = 6;
const NAMESPACES: [&str; 3] = ["chat", "x", "y"];

fn party(at: usize) -> (Principal, IpAddr, &'static str, &'static str) {
    let (principal, who) = match at {
        0 | 1 => (token("a"), "subject a"),
        2 => (token("b"), "subject b"),
        3 | 4 => (key("k", tables().key), "key k"),
        _ => (Principal::anonymous(), ""),
    };
    let (from, name) = if at.is_multiple_of(2) {
        ("192.0.2.1", "address 1")
    } else {
        ("2001:db8::1", "address 2")
    };
    (principal, address(from), who, name)
}

fn tables() -> Tables {
    let quota = |factor: u64| Quota {
        connections: 2 * factor,
        subscriptions: 2 * factor,
        publish_rate: 3 * factor,
        publish_burst: 5 * factor,
        byte_rate: 50 * factor,
        byte_burst: 0,
        topics_per_minute: 2 * factor,
    };
    Tables {
        connection: quota(1),
        subject: quota(2),
        key: quota(1),
        address: quota(3),
        namespace: quota(2),
    }
}

fn table_of(scope: &str) -> Quota {
    let tables = tables();
    let kind = scope.split(' ').next().unwrap_or_default();
    match kind {
        "connection" => tables.connection,
        "subject" => tables.subject,
        "key" => tables.key,
        "address" => tables.address,
        _ => tables.namespace,
    }
}

/// What was let through: when, and how much, of events, bytes and topics, by scope.
type Through = BTreeMap<String, [Vec<(u64, u64)>; 3]>;

/// In no span of time more than the burst, or the last batch, and what the rate allows.
fn check_spans(name: &str, through: &[(u64, u64)], rate: u64, burst: u64, per_ms: u64) {
    for begin in 0..through.len() {
        let mut sum = 0;
        for (at, n) in &through[begin..] {
            sum += n;
            let elapsed = at - through[begin].0;
            let most = burst.max(*n) * per_ms + rate * elapsed;
            assert!(
                sum * per_ms <= most,
                "{name}: {sum} in {elapsed} ms, {through:?}"
            );
        }
    }
}

fn meters_of(quotas: &Quotas) -> Vec<Arc<Meter>> {
    let named = quotas.namespaces.values().flatten().cloned();
    let others = quotas.other_namespaces.iter().cloned();
    let books = [&quotas.subjects, &quotas.keys];
    let books = books.into_iter().flat_map(Book::all);
    books
        .chain(quotas.addresses.all())
        .chain(named)
        .chain(others)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn quota_holds_over_any_order_of_things(steps in steps()) {
        let mut config = config(tables());
        config.other_namespaces.publish_rate = tables().namespace.publish_rate;
        config.other_namespaces.publish_burst = tables().namespace.publish_burst;
        let quotas = Quotas::new(&config);
        let mut now = Duration::from_secs(1000).as_millis() as u64;
        let mut bundles: Vec<(Meters, usize)> = Vec::new();
        let mut connections = 0;
        for at in 0..PARTIES {
            let (principal, from, ..) = party(at);
            bundles.push((quotas.connection_meters(&principal, from), connections));
            connections += 1;
        }
        let mut through = Through::new();
        let mut guards: Vec<Box<dyn std::any::Any>> = Vec::new();
        let mut topics: Vec<(TakenTopic, Vec<String>)> = Vec::new();
        for step in steps {
            let scopes = |bundle: &(Meters, usize), by: usize, namespace: usize| -> Vec<String> {
                let (_, _, who, from) = party(by);
                let namespace = if namespace == 0 { "namespace chat" } else { "namespace others" };
                [format!("connection {}", bundle.1), who.into(), from.into(), namespace.into()]
                    .into_iter()
                    .filter(|name: &String| !name.is_empty())
                    .collect()
            };
            let snapshot = || -> Vec<_> {
                let mut meters = meters_of(&quotas);
                meters.extend(bundles.iter().filter_map(|(m, _)| m.connection.clone()));
                meters.into_iter().map(|m| { let s = *m.state.lock(); (m, s) }).collect()
            };
            let before = snapshot();
            let mut note = |scopes: &[String], what: usize, n: u64, now: u64| {
                // what takes nothing passes whatever came before
                for scope in scopes.iter().filter(|_| n > 0) {
                    through.entry(scope.clone()).or_default()[what].push((now, n));
                }
            };
            let mut refused = false;
            match step {
                Step::Publish { by, namespace, events, bytes } => {
                    let meter = quotas.namespace(NAMESPACES[namespace]);
                    let taken = bundles[by].0.take_publish(meter, events as usize, bytes as usize, now);
                    match taken {
                        Ok(()) => {
                            let scopes = scopes(&bundles[by], by, namespace);
                            note(&scopes, 0, events, now);
                            note(&scopes, 1, bytes, now);
                        }
                        Err(limited) => {
                            refused = true;
                            prop_assert!(limited.retry_after_ms.is_some_and(|wait| wait > 0));
                        }
                    }
                }
                Step::Topic { by, namespace, unused } => {
                    let meter = quotas.namespace(NAMESPACES[namespace]);
                    match bundles[by].0.take_topic(meter, now) {
                        Ok(taken) => {
                            let scopes = scopes(&bundles[by], by, namespace);
                            if unused {
                                topics.push((taken, scopes));
                            } else {
                                note(&scopes, 2, 1, now);
                            }
                        }
                        Err(_) => refused = true,
                    }
                }
                Step::GiveTopicBack(at) => {
                    if at < topics.len() {
                        topics.swap_remove(at).0.give_back(now);
                    }
                }
                Step::Connect(by) => match bundles[by].0.connect() {
                    Ok(guard) => guards.push(Box::new(guard)),
                    Err(_) => refused = true,
                },
                Step::Subscribe { by, namespace } => {
                    let meter = quotas.namespace(NAMESPACES[namespace]);
                    match bundles[by].0.subscribe(meter) {
                        Ok(guard) => guards.push(Box::new(guard)),
                        Err(_) => refused = true,
                    }
                }
                Step::End(at) => {
                    if at < guards.len() {
                        drop(guards.swap_remove(at));
                    }
                }
                Step::Reconnect(by) => {
                    let (principal, from, ..) = party(by);
                    bundles[by] = (quotas.connection_meters(&principal, from), connections);
                    connections += 1;
                }
                Step::Wait(ms) => now += ms,
                Step::Sweep => quotas.sweep(now),
            }
            if refused {
                for (meter, state) in &before {
                    prop_assert_eq!(&*meter.state.lock(), state);
                }
            }
            drop(before);
            for meter in meters_of(&quotas) {
                let state = *meter.state.lock();
                let quota = table_of(meter.scope().as_str());
                prop_assert!(state.connections <= quota.connections);
                prop_assert!(state.subscriptions <= quota.subscriptions);
            }
        }
        for (scope, [events, bytes, topics]) in &through {
            let quota = table_of(scope);
            check_spans(scope, events, quota.publish_rate, quota.publish_burst, 1000);
            check_spans(scope, bytes, quota.byte_rate, quota.byte_rate, 1000);
            let per_minute = quota.topics_per_minute;
            check_spans(scope, topics, per_minute, per_minute, 60_000);
        }
        guards.clear();
        topics.clear();
        for meter in meters_of(&quotas) {
            let state = *meter.state.lock();
            prop_assert_eq!((state.connections, state.subscriptions), (0, 0));
        }
        // a sweep with nobody there and all drained leaves nothing
        bundles.clear();
        quotas.sweep(now + 600_000);
        prop_assert_eq!((quotas.subjects.len(), quotas.keys.len(), quotas.addresses.len()), (0, 0, 0));
    }
}
