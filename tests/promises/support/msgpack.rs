//! MessagePack on the tests' side.

use serde_json::Value;

use super::http::{Http, Response};

pub const TYPE: (&str, &str) = ("content-type", "application/msgpack");

pub fn packed(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec(value).expect("JSON has a form in MessagePack")
}

/// One value, in the smallest form and with nothing behind it.
pub fn unpacked(bytes: &[u8]) -> Value {
    let value = rmp_serde::from_slice(bytes)
        .unwrap_or_else(|error| panic!("not MessagePack ({error}): {bytes:x?}"));
    assert_eq!(packed(&value).len(), bytes.len(), "{value}: {bytes:x?}");
    value
}

/// `POST /v1/publish` in MessagePack.
pub fn post(http: &mut Http, body: &[u8]) -> Response {
    http.request("POST", "/v1/publish", &[TYPE], body)
}

/// The body of an answer, which must say that it is MessagePack.
pub fn answer(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some(TYPE.1));
    unpacked(&response.body)
}

/// `{KEY: VALUE, …}` of values that are MessagePack already.
pub fn map(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = vec![0x80 | u8::try_from(members.len()).expect("a few members")];
    for (key, value) in members {
        out.extend(packed(&Value::from(*key)));
        out.extend_from_slice(value);
    }
    out
}

/// `[ITEM, …]` of values that are MessagePack already.
pub fn array(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = vec![0x90 | u8::try_from(items.len()).expect("a few items")];
    out.extend(items.concat());
    out
}
