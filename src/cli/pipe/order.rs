//! What a client's `run.*` event means to the one message of a pipe.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use crate::client::ControlEvent;

/// How much older than this process a cancel without a message may be: between two clocks, and for one
/// that was meant for this run while it started. The broker keeps such events for a minute, and an older
/// one was meant for whoever spoke before.
const STALE: Duration = Duration::from_secs(2);

#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    /// Stop.
    Cancel,
    /// Nothing that a program's output can follow; `mine`: it names this message.
    NotForPrograms { mine: bool },
    /// For another agent, or not for an agent at all.
    Leave,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    message_id: Option<String>,
}

/// `started`: when this process began.
pub fn order(event: &ControlEvent, message_id: &str, started: SystemTime) -> Order {
    let named = serde_json::from_str::<Data>(event.event.data())
        .ok()
        .and_then(|data| data.message_id);
    let mine = named.as_deref() == Some(message_id);
    if named.is_some() && !mine {
        return Order::Leave;
    }
    match event.event.name() {
        "run.cancel" if mine || !is_stale(event, started) => Order::Cancel,
        "run.steer" | "run.approve" => Order::NotForPrograms { mine },
        _ => Order::Leave,
    }
}

fn is_stale(event: &ControlEvent, started: SystemTime) -> bool {
    let published = event
        .event
        .time()
        .and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
    published.is_some_and(|published| published + STALE < started)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Epoch;
    use crate::client::wire::Event;
    use serde_json::{Value, json, value::to_raw_value};

    fn ordered(name: &str, data: Value, time: u64) -> Order {
        let event = json!({"seq": 1, "type": name, "time": time, "data": data});
        let event = ControlEvent {
            topic: "/a".into(),
            epoch: serde_json::from_value::<Epoch>(json!("aaaaaaaa")).expect("an epoch"),
            seq: 1,
            event: Event::parse(to_raw_value(&event).expect("JSON")).expect("an event"),
        };
        order(&event, "m", UNIX_EPOCH + Duration::from_secs(100))
    }

    #[test]
    fn a_cancel_is_for_this_message_or_for_everybody() {
        assert_eq!(
            ordered("run.cancel", json!({"message_id": "m"}), 1),
            Order::Cancel
        );
        assert_eq!(
            ordered("run.cancel", json!({"message_id": "n"}), 100_000),
            Order::Leave
        );
        for data in [json!({}), Value::Null, json!("stop")] {
            assert_eq!(
                ordered("run.cancel", data.clone(), 99_000),
                Order::Cancel,
                "{data}"
            );
            assert_eq!(
                ordered("run.cancel", data.clone(), 90_000),
                Order::Leave,
                "{data}: it was for somebody before"
            );
        }
    }

    #[test]
    fn a_program_cannot_be_steered() {
        let steered = |data| ordered("run.steer", data, 100_000);
        assert_eq!(
            steered(json!({"message_id": "m"})),
            Order::NotForPrograms { mine: true }
        );
        assert_eq!(
            steered(json!({"text": "x"})),
            Order::NotForPrograms { mine: false }
        );
        assert_eq!(steered(json!({"message_id": "n"})), Order::Leave);
    }
}
