//! What a JSON text must satisfy before it is kept and passed on as bytes.
//!
//! serde_json's `RawValue` proves the syntax but neither decodes strings nor reads numbers; readers in
//! other languages do both. One pass over the bytes, no allocation.

mod scan;

use thiserror::Error;

pub use scan::{Scan, Text};

/// Nesting a value may have; common parsers stop at 128 (serde_json) or far above.
pub const MAX_DEPTH: usize = 96;

#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum JsonFault {
    #[error("is not valid JSON")]
    Syntax,
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

/// Checks a value.
pub fn check(value: &str) -> Result<Facts, JsonFault> {
    let mut scan = Scan::new(value);
    let (_, _, facts) = scan.afresh(Scan::value)?;
    scan.end()?;
    Ok(facts)
}

/// The number of a `\uXXXX` escape with which `text` begins, if it does.
fn code_unit(text: &[u8]) -> Option<u32> {
    let digits = text.get(..6)?.strip_prefix(b"\\u")?;
    let digit = |sum: u32, c: &u8| Some(sum * 16 + (*c as char).to_digit(16)?);
    digits.iter().try_fold(0, digit)
}

/// Whether readers in other languages can hold a number.
fn is_finite(number: &str, has_exponent: bool) -> bool {
    // up to 300 characters without an exponent are below f64's largest, 1.8e308
    if number.len() <= 300 && !has_exponent {
        return true;
    }
    number.parse().is_ok_and(f64::is_finite)
}

/// Appends `text` as a JSON string, quotes included.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    // most texts need no escapes: serde would look at them byte by byte
    if scan::plain_run(text.as_bytes()) == text.len() {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        return out.push(b'"');
    }
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
    use proptest::prelude::*;

    use super::*;

    fn checked(text: &str) -> Result<Facts, JsonFault> {
        serde_json::from_str::<&serde_json::value::RawValue>(text).expect("the syntax is valid");
        check(text)
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
        assert_eq!(check(&deep(MAX_DEPTH)), Ok(Facts::default()));
        assert_eq!(check(&deep(MAX_DEPTH + 1)), Err(JsonFault::TooDeep));
    }

    #[test]
    fn takes_nothing_that_is_no_json() {
        for bad in [
            "",
            " ",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "tru",
            "nulll",
            "{",
            "[1,]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1}}",
            "\"",
            "\"\\x\"",
            "\"\\u00g0\"",
            "\"\n\"",
            "'a'",
            "NaN",
        ] {
            assert_eq!(check(bad), Err(JsonFault::Syntax), "{bad}");
        }
    }

    /// Texts that are nearly JSON, and some that are.
    fn nearly_json() -> impl Strategy<Value = String> {
        const PIECES: [&str; 34] = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\"a\"",
            "\"text\":",
            "1",
            "0",
            "-",
            ".5",
            "e9",
            "E+400",
            "true",
            "null",
            "fals",
            " ",
            "\n",
            "\\",
            "\\u",
            "\"\\ud83d\\ude00\"",
            "\\ud800",
            "\"\\u0041\"",
            "é",
            "😀",
            "\u{1}",
            "\"eight by\"",
            "{\"a\":[1,2]}",
            "[]",
            "{}",
            "\"a\":1",
            "123456789",
        ];
        proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..12)
            .prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn knows_json_as_serde_does(text in nearly_json()) {
            let found = check(&text);
            let readable = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            prop_assert_eq!(found.is_ok(), readable, "{:?}", found);
            let valid = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert!(found != Err(JsonFault::Syntax) || !valid);
        }
    }

    proptest! {
        #[test]
        fn writes_strings_as_serde_does(text in "([ -~]|[\\x00-\\x1f\"\\\\é😀\u{7f}\u{2028}]){0,20}") {
            let mut out = Vec::new();
            push_string(&mut out, &text);
            prop_assert_eq!(out, serde_json::to_vec(&text).expect("a string"));
        }
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
