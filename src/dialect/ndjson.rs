//! Newline-delimited events: bytes in whatever pieces they come, lines out.
//!
//! Bound: one line, plus one piece.

use bytes::{Bytes, BytesMut};

/// A line and its number, from 1. Empty lines count, and are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub number: u64,
    pub text: Bytes,
}

/// This line has more bytes than a line may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    pub number: u64,
}

#[derive(Debug)]
pub struct Lines {
    buffer: BytesMut,
    /// Bytes of the buffer that hold no newline.
    searched: usize,
    /// The number of the line that the buffer begins with.
    number: u64,
    max_bytes: usize,
}

impl Lines {
    pub fn new(max_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            searched: 0,
            number: 1,
            max_bytes,
        }
    }

    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole line. Call until it has no more before the next `push`.
    pub fn take(&mut self) -> Result<Option<Line>, TooLong> {
        loop {
            let unseen = &self.buffer[self.searched..];
            let Some(at) = unseen.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                if self.buffer.len() > self.max_bytes {
                    return Err(TooLong {
                        number: self.number,
                    });
                }
                if self.buffer.is_empty() {
                    // the memory of a burst is given back while the stream is silent
                    self.buffer = BytesMut::new();
                }
                return Ok(None);
            };
            let text = self.buffer.split_to(self.searched + at + 1).freeze();
            self.searched = 0;
            let number = self.number;
            self.number += 1;
            if text.len() > self.max_bytes + 1 {
                return Err(TooLong { number });
            }
            if !text.trim_ascii().is_empty() {
                return Ok(Some(Line { number, text }));
            }
        }
    }

    /// What came behind the last newline, if it is more than white space.
    pub fn rest(self) -> Option<Line> {
        let is_line = !self.buffer.trim_ascii().is_empty();
        is_line.then(|| Line {
            number: self.number,
            text: self.buffer.freeze(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Shown = (u64, String);

    fn all(pieces: &[&[u8]]) -> (Vec<Shown>, Option<Shown>) {
        let shown = |line: Line| {
            let text = String::from_utf8_lossy(line.text.trim_ascii()).into_owned();
            (line.number, text)
        };
        let mut lines = Lines::new(16);
        let mut found = Vec::new();
        for piece in pieces {
            lines.push(piece);
            while let Some(line) = lines.take().expect("short enough") {
                found.push(shown(line));
            }
        }
        (found, lines.rest().map(shown))
    }

    #[test]
    fn lines_come_out_whole_however_they_are_cut() {
        let text = b"{\"a\":1}\r\n\n  \n{\"b\":2}\n{\"c\"";
        let expected = (
            vec![(1, "{\"a\":1}".to_owned()), (4, "{\"b\":2}".to_owned())],
            Some((5, "{\"c\"".to_owned())),
        );
        for size in 1..=text.len() {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(all(&pieces), expected, "{size}");
        }
        assert_eq!(all(&[b"x\n", b" \r\n"]).1, None);
    }

    #[test]
    fn a_line_without_end_is_noticed_before_it_is_buffered_whole() {
        let mut lines = Lines::new(16);
        lines.push(b"ok\n0123456789");
        assert!(matches!(lines.take(), Ok(Some(_))));
        assert_eq!(lines.take(), Ok(None));
        lines.push(b"01234567");
        assert_eq!(lines.take(), Err(TooLong { number: 2 }));
        let mut whole = Lines::new(4);
        whole.push(b"123456\n");
        assert_eq!(whole.take(), Err(TooLong { number: 1 }));
    }
}
