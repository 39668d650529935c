//! One `data` of a streamed chat completion: what it adds to the answer.
//!
//! Servers differ in what they leave out, set to null or add; only what is understood counts.

use serde_json::{Value, json};

/// What a chunk brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Reasoning(String),
    Text(String),
    /// Why the model stopped: `stop`, `length`, …
    Finish(String),
    /// For `message.completed`.
    Usage(Value),
}

/// What the stream says instead of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoChunk {
    /// The server's own error.
    Error(ServerError),
    Garbled,
}

/// What a server says of its error. Not for readers: it may name what they shall not see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    pub code: Option<String>,
    pub message: Option<String>,
}

/// Ends the stream.
pub const DONE: &str = "[DONE]";

pub fn parse(data: &str) -> Result<Vec<Piece>, NoChunk> {
    let chunk: Value = serde_json::from_str(data).map_err(|_| NoChunk::Garbled)?;
    if let Some(error) = server_error(&chunk) {
        return Err(NoChunk::Error(error));
    }
    if !chunk.is_object() {
        return Err(NoChunk::Garbled);
    }
    let choice = &chunk["choices"][0];
    let delta = &choice["delta"];
    let text_at = |name: &str| {
        delta[name]
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let mut pieces = Vec::new();
    // two names for the same
    let reasoning = text_at("reasoning_content").or_else(|| text_at("reasoning"));
    pieces.extend(reasoning.map(Piece::Reasoning));
    pieces.extend(text_at("content").map(Piece::Text));
    pieces.extend(text_at("refusal").map(Piece::Text));
    let finish = choice["finish_reason"].as_str();
    pieces.extend(finish.map(|reason| Piece::Finish(reason.into())));
    pieces.extend(usage(&chunk["usage"]).map(Piece::Usage));
    Ok(pieces)
}

/// `{"error": …}`, as a stream or the body of a refusal carries it.
pub fn server_error(value: &Value) -> Option<ServerError> {
    let error = value.get("error").filter(|error| !error.is_null())?;
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    Some(ServerError {
        code: text(&error["code"]).or_else(|| text(&error["type"])),
        message: text(&error["message"]).or_else(|| text(error)),
    })
}

fn usage(usage: &Value) -> Option<Value> {
    let input = usage["prompt_tokens"].as_u64();
    let output = usage["completion_tokens"].as_u64();
    (input.is_some() || output.is_some())
        .then(|| json!({"input_tokens": input, "output_tokens": output}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_as_servers_write_them() {
        let of = |chunk: Value| parse(&chunk.to_string()).expect("a chunk");
        let first = json!({"id": "x", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}], "usage": null});
        assert_eq!(of(first), []);
        let text = json!({"choices": [{"delta": {"content": "Hi"}}]});
        assert_eq!(of(text), [Piece::Text("Hi".into())]);
        for name in ["reasoning_content", "reasoning"] {
            let thought = json!({"choices": [{"delta": {name: "hm", "content": null}}]});
            assert_eq!(of(thought), [Piece::Reasoning("hm".into())]);
        }
        let last = json!({"choices": [{"delta": {}, "finish_reason": "stop"}]});
        assert_eq!(of(last), [Piece::Finish("stop".into())]);
        let usage = json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}});
        let counted = json!({"input_tokens": 3, "output_tokens": 5});
        assert_eq!(of(usage), [Piece::Usage(counted)]);
        assert_eq!(of(json!({"choices": [{"delta": null}]})), []);
    }

    #[test]
    fn an_error_is_told_apart_from_a_chunk() {
        let error = |code: Option<&str>, message: &str| {
            Err(NoChunk::Error(ServerError {
                code: code.map(str::to_owned),
                message: Some(message.into()),
            }))
        };
        let full = r#"{"error":{"message":"no","type":"server_error","code":null}}"#;
        assert_eq!(parse(full), error(Some("server_error"), "no"));
        let numbered = r#"{"error":{"message":"slow down","code":429},"choices":[]}"#;
        assert_eq!(parse(numbered), error(Some("429"), "slow down"));
        assert_eq!(parse(r#"{"error":"no model"}"#), error(None, "no model"));
        for garbled in ["", "{", "[]", "17", "<html>"] {
            assert_eq!(parse(garbled), Err(NoChunk::Garbled), "{garbled}");
        }
    }
}
