//! Server-sent events as a model's server writes them (WHATWG HTML, 9.2.6): bytes in, `data` out.
//!
//! A state machine without I/O: bytes may be cut anywhere. Lines end in CR, LF or CRLF; comments, names and
//! ids are left out; an event that is not complete at the end of the stream is none.
//!
//! Bounds: `LINE_BYTES` for a line, `EVENT_BYTES` for the data of one event.

use thiserror::Error;

pub const LINE_BYTES: usize = 256 << 10;
pub const EVENT_BYTES: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug, Error, PartialEq, Eq)]
pub enum TooLong {
    #[error("a line of more than {LINE_BYTES} bytes")]
    Line,
    #[error("an event of more than {EVENT_BYTES} bytes")]
    Event,
}

/// See the module.
#[derive(Debug, Default)]
pub struct EventStream {
    line: Vec<u8>,
    /// The data of the event so far; None: it has no data line yet.
    data: Option<String>,
    /// The last byte was CR: an LF now belongs to it.
    after_cr: bool,
    begun: bool,
}

impl EventStream {
    /// Takes the next bytes; gives the data of each event that is complete with them.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<String>, TooLong> {
        let mut events = Vec::new();
        if bytes.is_empty() {
            return Ok(events);
        }
        if std::mem::take(&mut self.after_cr) {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            self.lengthen(&bytes[..end])?;
            events.extend(self.end_line()?);
            let was_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if was_cr {
                self.after_cr = bytes.is_empty();
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
        }
        self.lengthen(bytes)?;
        Ok(events)
    }

    fn lengthen(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > LINE_BYTES {
            return Err(TooLong::Line);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<String>, TooLong> {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.data.take());
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        if field != b"data" {
            return Ok(None);
        }
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        self.add_data(&String::from_utf8_lossy(value))?;
        Ok(None)
    }

    fn add_data(&mut self, value: &str) -> Result<(), TooLong> {
        let data = match &mut self.data {
            Some(data) => {
                data.push('\n');
                data
            }
            none => none.insert(String::new()),
        };
        if data.len() + value.len() > EVENT_BYTES {
            return Err(TooLong::Event);
        }
        data.push_str(value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str) -> Vec<String> {
        EventStream::default()
            .push(text.as_bytes())
            .expect("short enough")
    }

    #[test]
    fn data_is_all_that_counts() {
        let stream = ": ping\n\nevent: chunk\nid: 7\ndata: {\"a\":1}\n\ndata:two\ndata\ndata:  three\n\n: ping\n\ndata: cut";
        assert_eq!(all(stream), ["{\"a\":1}", "two\n\n three"]);
    }

    #[test]
    fn lines_end_in_any_way() {
        assert_eq!(
            all("\u{feff}data: a\r\n\r\ndata: b\r\rdata: c\n\n"),
            ["a", "b", "c"]
        );
        let mut stream = EventStream::default();
        assert_eq!(stream.push(b"data: a\r").expect("short"), [""; 0]);
        assert_eq!(stream.push(b"\n\r").expect("short"), ["a"]);
        assert_eq!(stream.push(b"\ndata: b\n\n").expect("short"), ["b"]);
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut stream = EventStream::default();
        let chunk = [b'x'; 1 << 16];
        let refused = (0..10).find_map(|_| stream.push(&chunk).err());
        assert_eq!(refused, Some(TooLong::Line));
        let mut stream = EventStream::default();
        let line = format!("data: {}\n", "y".repeat(200 << 10));
        let refused = (0..10).find_map(|_| stream.push(line.as_bytes()).err());
        assert_eq!(refused, Some(TooLong::Event));
    }

    fn event() -> impl Strategy<Value = (String, String)> {
        let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r")];
        let lines = prop::collection::vec("[a-z\u{e4}\u{1f30a}: ]{0,6}", 1..4);
        (lines, end, any::<bool>()).prop_map(|(lines, end, ping)| {
            let mut text = String::new();
            if ping {
                text.push_str(&format!(": ping{end}{end}"));
            }
            for line in &lines {
                text.push_str(&format!("data: {line}{end}"));
            }
            text.push_str(end);
            (text, lines.join("\n"))
        })
    }

    proptest! {
        #[test]
        fn wherever_it_is_cut_it_is_the_same(events in prop::collection::vec(event(), 0..6), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let text: String = events.iter().map(|(text, _)| text.as_str()).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut stream = EventStream::default();
            let mut read = Vec::new();
            for piece in cuts.windows(2) {
                read.extend(stream.push(&text.as_bytes()[piece[0]..piece[1]]).expect("short"));
            }
            let expected: Vec<String> = events.into_iter().map(|(_, data)| data).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
