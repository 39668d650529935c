//! What a client's `run.*` event means to the demo's agent.

use serde::Deserialize;

/// Bytes of a prompt.
pub const PROMPT_BYTES: usize = 32 << 10;

#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// Stop that message, or, without one, whatever is being written.
    Cancel(Option<String>),
    /// Answer that.
    Ask(String),
    /// Was meant as a prompt and is none: what is wrong with it.
    Unusable(String),
    /// For another agent, or nothing that this one waits for.
    Leave,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    message_id: Option<String>,
    text: Option<String>,
}

/// `name` and `data` (JSON) of the event; `is_mine`: whether this agent writes that message.
pub fn wish(name: &str, data: &str, is_mine: impl Fn(&str) -> bool) -> Wish {
    let Data { message_id, text } = serde_json::from_str(data).unwrap_or_default();
    if message_id.as_deref().is_some_and(|id| !is_mine(id)) {
        return Wish::Leave;
    }
    match (name, text) {
        ("run.cancel", _) => Wish::Cancel(message_id),
        ("run.steer", Some(text)) if text.len() > PROMPT_BYTES => Wish::Unusable(format!(
            "the prompt has {} bytes, and {PROMPT_BYTES} are the most",
            text.len()
        )),
        ("run.steer", Some(text)) if !text.trim().is_empty() => Wish::Ask(text),
        ("run.steer", _) => Wish::Unusable("the prompt has no text".into()),
        _ => Wish::Leave,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wished(name: &str, data: serde_json::Value) -> Wish {
        wish(name, &data.to_string(), |id| id == "m")
    }

    #[test]
    fn prompts_and_what_is_none() {
        assert_eq!(
            wished("run.steer", json!({"text": "Why?"})),
            Wish::Ask("Why?".into())
        );
        for none in [
            json!({}),
            json!(null),
            json!({"text": " \n"}),
            json!({"text": 7}),
        ] {
            assert!(
                matches!(wished("run.steer", none.clone()), Wish::Unusable(_)),
                "{none}"
            );
        }
        let long = "x".repeat(PROMPT_BYTES + 1);
        assert!(matches!(
            wished("run.steer", json!({"text": long})),
            Wish::Unusable(_)
        ));
    }

    #[test]
    fn what_names_a_message_is_for_its_agent() {
        assert_eq!(
            wished("run.cancel", json!({"message_id": "m"})),
            Wish::Cancel(Some("m".into()))
        );
        assert_eq!(wished("run.cancel", json!({})), Wish::Cancel(None));
        for name in ["run.cancel", "run.steer"] {
            assert_eq!(
                wished(name, json!({"message_id": "n", "text": "x"})),
                Wish::Leave
            );
        }
        assert_eq!(wished("run.approve", json!({})), Wish::Leave);
    }
}
