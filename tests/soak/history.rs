//! What the log still has when all is said: every page of `/v1/events` against what was published.

use std::sync::Arc;

use serde::Deserialize;

use crate::content::Carrier;
use crate::filter::Filter;
use crate::heard::{self, Event};
use crate::oracle::Topic;
use crate::support::Broker;
use crate::support::reader::split_position;
use crate::tally::{Checked, Fault, Tally, Wrong, must};
use crate::view::{Asked, Beginning, View};

#[derive(Deserialize)]
struct Page<'a> {
    epoch: &'a str,
    #[serde(borrow)]
    events: Vec<Event<'a>>,
    position: &'a str,
    head: u64,
    more: bool,
}

/// Reads the topic from its oldest event to its head: how many events it still has.
pub fn check(broker: &Broker, topic: &Arc<Topic>, tally: &mut Tally) -> Checked<u64> {
    let about = broker.topic(&topic.path);
    let first = about["first_seq"].as_u64().unwrap_or_default();
    let epoch = about["epoch"].as_str().unwrap_or_default();
    let mut view = View::new(topic.clone(), Filter::everything(), false);
    view.carrier = Carrier::WebSocket;
    let before = first.saturating_sub(1);
    let tilde = if before > 0 { "~" } else { "" };
    let position = format!("{epoch}:{before}{tilde}");
    let head = about["head"].as_u64().unwrap_or_default();
    let told = Beginning {
        epoch,
        position: Some(&position),
        head,
        resumed: false,
    };
    view.begin(
        Asked::Start,
        false,
        &told,
        topic
            .acknowledged
            .load(std::sync::atomic::Ordering::Relaxed),
        tally,
    )?;
    let mut from = "start".to_owned();
    loop {
        let response = broker.get(&format!(
            "/v1/events?topic={}&from={from}&limit=1000",
            topic.path
        ));
        let text = response.text();
        let page: Page<'_> = heard::parse(&text).map_err(|why| Fault::new(Wrong::Altered, why))?;
        let plan = topic.plan();
        must(
            page.head == plan.head() && page.epoch == epoch,
            Wrong::Lost,
            || {
                format!(
                    "the head of {} is {}, not {}",
                    topic.path,
                    page.head,
                    plan.head()
                )
            },
        )?;
        for event in &page.events {
            view.event(&plan, event, tally)?;
        }
        view.told_position(&plan, split_position(page.position), tally)?;
        if !page.more {
            break;
        }
        must(from != page.position, Wrong::Stuck, || {
            format!("the pages of {} stand still at {from}", topic.path)
        })?;
        from = page.position.to_owned();
    }
    view.check_final()?;
    Ok(view.seq - before)
}
