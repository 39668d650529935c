//! The bytes of every event, as a pure function of its topic and seq: nothing has to be kept to know what
//! was published, and no two tokens of a topic are alike.

use std::fmt::Write;

/// The types that are published; an event's type is an index here.
pub const TYPES: [&str; 14] = [
    "token.delta",
    "message.started",
    "message.completed",
    "message.interrupted",
    "memory.created",
    "memory.updated",
    "memory.deleted",
    "navigation.requested",
    "tool.started",
    "tool.completed",
    "tool.failed",
    "agent.status",
    "note.taken",
    "event",
];
/// From here on events are not part of a message.
pub const FIRST_NOTE: u8 = 4;

pub const KINDS: [&str; 3] = ["text", "reasoning", "tool_input"];

/// The same characters as they stand in JSON and as text: escapes, several bytes, what breaks lines.
const ODD: [(&str, &str); 16] = [
    ("", ""),
    (" ", " "),
    ("\\n", "\n"),
    ("\\\"", "\""),
    ("\\\\", "\\"),
    ("ü", "ü"),
    ("\\u00fc", "ü"),
    ("😀", "😀"),
    ("\\ud83d\\ude00", "😀"),
    ("\\u2028", "\u{2028}"),
    ("—", "—"),
    ("\\/", "/"),
    ("\\r\\n\\r\\ndata: x", "\r\n\r\ndata: x"),
    ("\\u0000", "\0"),
    ("</script>", "</script>"),
    ("\u{feff}", "\u{feff}"),
];

const WORDS: [&str; 8] = [
    " the", " tide", " wire", " carries", " every", " word", " once", "…",
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Text,
}

/// A number that depends on all bits of both (splitmix64).
pub fn mix(salt: u64, seq: u64) -> u64 {
    let mut z = salt ^ seq.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The text of the event with this seq.
pub fn push_token(out: &mut String, salt: u64, seq: u64, form: Form) {
    let h = mix(salt, seq);
    if h.is_multiple_of(41) {
        return; // an empty text is allowed, too
    }
    push_number(out, seq);
    let (json, text) = ODD[(h >> 8) as usize % ODD.len()];
    out.push_str(if form == Form::Json { json } else { text });
    out.push_str(WORDS[(h >> 16) as usize % WORDS.len()]);
    if (h >> 24).is_multiple_of(131) {
        for _ in 0..(h >> 32) % 160 {
            out.push_str("wave-ü-");
        }
    }
}

fn push_number(out: &mut String, number: u64) {
    write!(out, "{number}").expect("writing to a String cannot fail");
}

/// A message's id from its number within its topic.
pub fn push_message_id(out: &mut String, message: u32) {
    out.push('m');
    push_number(out, u64::from(message));
}

/// `data` of a delta. `extra`: a key beyond the built-in ones, which no merge may lose.
pub fn push_delta(
    out: &mut String,
    (salt, seq): (u64, u64),
    message: u32,
    (kind, part): (u8, u8),
    extra: bool,
) {
    let h = mix(salt, seq) >> 48;
    // white space is passed on as it came (line breaks become spaces in SSE)
    let (open, between) = match h % 16 {
        0 => ("{\r\n\t", " ,\n "),
        1 => ("{ ", ", "),
        _ => ("{", ","),
    };
    out.push_str(open);
    out.push_str("\"message_id\":\"");
    push_message_id(out, message);
    out.push('"');
    out.push_str(between);
    out.push_str("\"text\":\"");
    push_token(out, salt, seq, Form::Json);
    out.push('"');
    if kind != 0 || h % 16 == 2 {
        write!(out, "{between}\"kind\":\"{}\"", KINDS[usize::from(kind)]).expect("a String");
    }
    if part != 0 || h % 16 == 3 {
        write!(out, "{between}\"part\":{part}").expect("a String");
    }
    if extra {
        write!(out, "{between}\"mood\":{{\"calm\":[1,2.50,-0e1,null]}}").expect("a String");
    }
    out.push('}');
}

pub fn push_started(out: &mut String, seq: u64, message: u32) {
    let space = if seq.is_multiple_of(5) { "\n" } else { "" };
    write!(
        out,
        "{{\"message_id\":\"m{message}\",{space}\"role\":\"assistant\",\"metadata\":{{\"at\":{seq},\"x\":1.0}}}}"
    )
    .expect("a String");
}

pub fn push_completed(out: &mut String, (salt, seq): (u64, u64), message: u32, whole: bool) {
    write!(out, "{{\"message_id\":\"m{message}\"").expect("a String");
    if whole {
        out.push_str(",\"text\":\"");
        push_whole(out, salt, seq, Form::Json);
        out.push('"');
    }
    write!(
        out,
        ",\"finish_reason\":\"stop\",\"usage\":{{\"tokens\":{seq}}}}}"
    )
    .expect("a String");
}

/// The whole answer that some end events bring along.
pub fn push_whole(out: &mut String, salt: u64, seq: u64, form: Form) {
    out.push_str("all in all ");
    push_token(out, salt, seq, form);
}

pub fn push_interrupted(out: &mut String, seq: u64, message: u32) {
    write!(
        out,
        "{{\"message_id\":\"m{message}\",\"reason\":\"cancelled\",\"at\":{seq}}}"
    )
    .expect("a String");
}

/// `data` of an event that is not part of a message.
pub fn push_note(out: &mut String, (salt, seq): (u64, u64), note: u8) {
    let key = match TYPES[usize::from(note)] {
        "navigation.requested" => "to",
        "tool.started" | "tool.completed" | "tool.failed" => "call_id",
        "agent.status" => "status",
        name if name.starts_with("memory.") => "memory_id",
        _ if mix(salt, seq).is_multiple_of(3) => {
            // a bare value
            return write!(out, "[{seq}, {seq}.0]").expect("a String");
        }
        _ => "n",
    };
    write!(out, "{{\"{key}\":\"").expect("a String");
    push_token(out, salt, seq, Form::Json);
    out.push_str("\"}");
}
