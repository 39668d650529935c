//! What a syntactically valid JSON text must still satisfy before it is kept and passed on as bytes.
//!
//! serde_json's `RawValue` proves the syntax but neither decodes strings nor reads numbers; readers in
//! other languages do both. One pass over the bytes, no allocation, no recursion.

use thiserror::Error;

/// Nesting a value may have; common parsers stop at 128 (serde_json) or far above.
pub const MAX_DEPTH: usize = 96;

#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum JsonFault {
    #[error("is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("has a lone surrogate (`\\ud800` to `\\udfff` without its other half)")]
    LoneSurrogate,
    #[error("has a number outside i64, u64 and finite f64")]
    Number,
}

/// What the pass found beside faults.
#[derive(Debug, PartialEq, Eq, Clone, Copy, Default)]
pub struct Facts {
    /// CR or LF stands between tokens (in JSON they can stand nowhere else).
    pub multiline: bool,
}

/// Checks a value whose syntax is already known to be valid.
pub fn check(value: &[u8]) -> Result<Facts, JsonFault> {
    let mut facts = Facts::default();
    let mut depth = 0usize;
    let mut at = 0;
    while at < value.len() {
        match value[at] {
            b'"' => at = check_string(value, at + 1)?,
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(JsonFault::TooDeep);
                }
            }
            b']' | b'}' => depth -= 1,
            b'\r' | b'\n' => facts.multiline = true,
            b'-' | b'0'..=b'9' => {
                at = check_number(value, at)?;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(facts)
}

/// `at` is behind the opening quote; answers with the place of the closing one.
fn check_string(value: &[u8], mut at: usize) -> Result<usize, JsonFault> {
    loop {
        match value[at] {
            b'"' => return Ok(at),
            b'\\' if value[at + 1] == b'u' => {
                match code_unit(value, at) {
                    0xD800..=0xDBFF => {
                        let low = value.get(at + 6..at + 8) == Some(b"\\u".as_slice())
                            && (0xDC00..=0xDFFF).contains(&code_unit(value, at + 6));
                        if !low {
                            return Err(JsonFault::LoneSurrogate);
                        }
                        at += 6;
                    }
                    0xDC00..=0xDFFF => return Err(JsonFault::LoneSurrogate),
                    _ => {}
                }
                at += 6;
            }
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The number of a `\uXXXX` escape that begins at `at`.
fn code_unit(value: &[u8], at: usize) -> u32 {
    value[at + 2..at + 6].iter().fold(0, |sum, c| {
        let digit = (*c as char).to_digit(16).unwrap_or(0);
        sum * 16 + digit
    })
}

/// Answers with the place behind the number.
fn check_number(value: &[u8], from: usize) -> Result<usize, JsonFault> {
    let is_part = |c: &u8| matches!(c, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
    let len = value[from..].iter().take_while(|c| is_part(c)).count();
    let number = &value[from..from + len];
    // up to 300 characters without an exponent are below f64's largest, 1.8e308
    if len > 300 || number.iter().any(|c| matches!(c, b'e' | b'E')) {
        let finite = std::str::from_utf8(number)
            .ok()
            .and_then(|n| n.parse::<f64>().ok());
        if !finite.is_some_and(f64::is_finite) {
            return Err(JsonFault::Number);
        }
    }
    Ok(from + len)
}

/// Appends `text` as a JSON string, quotes included.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string to memory cannot fail");
}

/// Appends a number in decimal.
pub fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Facts, JsonFault> {
        serde_json::from_str::<&serde_json::value::RawValue>(text).expect("the syntax is valid");
        check(text.as_bytes())
    }

    #[test]
    fn passes_ordinary_values() {
        for ok in [
            r#"{"a":[1,-2.5,1e10,true,null,"x\"y\\"],"😀":"\ud83d\ude00"}"#,
            "18446744073709551615",
            "-9223372036854775808",
            r#""\\ud800""#,
        ] {
            assert_eq!(checked(ok), Ok(Facts { multiline: false }), "{ok}");
        }
        assert_eq!(checked("{\n\"a\":\"b\"\r}"), Ok(Facts { multiline: true }));
    }

    #[test]
    fn finds_lone_surrogates() {
        for bad in [
            r#""\ud800""#,
            r#"["\udc00"]"#,
            r#""\ud800\u0041""#,
            r#"{"\ud83dx":1}"#,
            r#""\ud83d\ud83d""#,
        ] {
            assert_eq!(checked(bad), Err(JsonFault::LoneSurrogate), "{bad}");
        }
    }

    #[test]
    fn finds_numbers_that_no_reader_can_hold() {
        assert_eq!(checked("1e400"), Err(JsonFault::Number));
        assert_eq!(
            checked(&format!("[-1{}]", "0".repeat(400))),
            Err(JsonFault::Number)
        );
        assert_eq!(
            checked(&format!("1{}", "0".repeat(299))),
            Ok(Facts::default())
        );
    }

    #[test]
    fn finds_bombs() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(check(deep(MAX_DEPTH).as_bytes()), Ok(Facts::default()));
        assert_eq!(
            check(deep(MAX_DEPTH + 1).as_bytes()),
            Err(JsonFault::TooDeep)
        );
    }

    #[test]
    fn writes_numbers() {
        for n in [0, 9, 10, 1234567890, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, n);
            assert_eq!(out, n.to_string().into_bytes());
        }
    }
}
