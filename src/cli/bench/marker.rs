//! The mark in every published text: when it was due, on which topic, and its number there.
//!
//! It is found in the bytes that a reader gets whatever frames them (WebSocket, SSE, JSON in JSON, joined deltas), so
//! every peer is counted alike, and nothing has to be parsed. `@b<13 digits µs>t<6 digits>n<10 digits>@`. No text
//! around it has an `@`.

use memchr::memchr;

/// Bytes of a mark.
pub const LEN: usize = 34;
/// Topics and events of a topic that can be told apart.
pub const MAX_TOPICS: usize = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// When the event was due to be sent, in the run's microseconds.
    pub due_us: u64,
    pub topic: u32,
    /// The event's number in its topic, from 0.
    pub number: u64,
}

enum Read {
    Whole(Marker),
    /// It may become one with more bytes.
    Short,
    Not,
}

impl Marker {
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"@b");
        digits(out, self.due_us, 13);
        out.push(b't');
        digits(out, self.topic.into(), 6);
        out.push(b'n');
        digits(out, self.number, 10);
        out.push(b'@');
    }

    fn read(bytes: &[u8]) -> Read {
        if bytes.len() >= 2 && !bytes.starts_with(b"@b") {
            return Read::Not;
        }
        let Some(mark) = bytes.first_chunk::<LEN>() else {
            return Read::Short;
        };
        if (mark[15], mark[22], mark[33]) != (b't', b'n', b'@') {
            return Read::Not;
        }
        let parts = (
            number(&mark[2..15]),
            number(&mark[16..22]),
            number(&mark[23..33]),
        );
        match parts {
            (Some(due_us), Some(topic), Some(number)) => Read::Whole(Self {
                due_us,
                // six digits fit
                topic: topic as u32,
                number,
            }),
            _ => Read::Not,
        }
    }
}

fn digits(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let from = out.len();
    out.resize(from + width, b'0');
    for digit in out[from..].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + u64::from(digit - b'0'))
    })
}

/// Finds marks in bytes that come in pieces; holds at most the beginning of one.
pub struct Scanner {
    tail: [u8; LEN],
    held: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            tail: [0; LEN],
            held: 0,
        }
    }
}

impl Scanner {
    pub fn scan(&mut self, bytes: &[u8], mut found: impl FnMut(Marker)) {
        let mut from = 0;
        if self.held > 0 {
            // whatever begins in the held bytes ends within one mark's length of the new ones
            let added = bytes.len().min(LEN);
            let mut joined = [0u8; 2 * LEN];
            joined[..self.held].copy_from_slice(&self.tail[..self.held]);
            joined[self.held..self.held + added].copy_from_slice(&bytes[..added]);
            let joined = &joined[..self.held + added];
            match walk(joined, 0, self.held, &mut found) {
                Walked::Open(start) => return self.hold(&joined[start..]),
                Walked::To(end) => from = end - self.held,
            }
            self.held = 0;
        }
        if let Walked::Open(start) = walk(bytes, from, bytes.len(), &mut found) {
            self.hold(&bytes[start..]);
        }
    }

    fn hold(&mut self, open: &[u8]) {
        self.tail[..open.len()].copy_from_slice(open);
        self.held = open.len();
    }
}

enum Walked {
    /// All marks that begin before the bound are found; the next may begin here.
    To(usize),
    /// One that begins here is not whole.
    Open(usize),
}

fn walk(
    bytes: &[u8],
    mut at: usize,
    begin_before: usize,
    found: &mut impl FnMut(Marker),
) -> Walked {
    while at < begin_before {
        let Some(skip) = memchr(b'@', &bytes[at..begin_before]) else {
            return Walked::To(begin_before);
        };
        let start = at + skip;
        match Marker::read(&bytes[start..]) {
            Read::Whole(marker) => {
                found(marker);
                at = start + LEN;
            }
            Read::Not => at = start + 1,
            Read::Short => return Walked::Open(start),
        }
    }
    Walked::To(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(count: u64) -> Vec<Marker> {
        (0..count)
            .map(|number| Marker {
                due_us: 1_000_000 + number * 17,
                topic: (number % 3) as u32,
                number,
            })
            .collect()
    }

    fn found(pieces: &[&[u8]]) -> Vec<Marker> {
        let mut scanner = Scanner::default();
        let mut found = Vec::new();
        for piece in pieces {
            scanner.scan(piece, |marker| found.push(marker));
        }
        found
    }

    #[test]
    fn a_mark_has_its_length() {
        let mut out = Vec::new();
        marks(1)[0].write(&mut out);
        assert_eq!(out.len(), LEN);
        assert_eq!(out, b"@b0000001000000t000000n0000000000@");
    }

    #[test]
    fn marks_are_found_wherever_the_bytes_are_split() {
        let wanted = marks(4);
        // false beginnings: a lone @, one of another kind, one that breaks off where the next begins
        let mut bytes = b"{\"a\":\"@\",\"b\":\"@bc@b00000@b\"".to_vec();
        for mark in &wanted {
            bytes.extend_from_slice(b"text@");
            mark.write(&mut bytes);
        }
        bytes.push(b'@');
        for first in 0..=bytes.len() {
            for second in first..=bytes.len().min(first + 2 * LEN) {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(found(&pieces), wanted, "split at {first} and {second}");
            }
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(found(&single), wanted);
    }
}
