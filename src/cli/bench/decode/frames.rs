//! WebSocket frames (RFC 6455 §5): those of a server taken apart without a copy, those of a client put together.
//!
//! Holds at most a header or a control frame (125 bytes, §5.5).

/// One part of what a server sends.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes of a message. `start`: its first ones; `end`: its last ones. A message may have no bytes.
    Data {
        bytes: &'a [u8],
        start: bool,
        end: bool,
    },
    Ping(&'a [u8]),
    /// 1005 where no code was given (§7.1.5).
    Close {
        code: u16,
        reason: String,
    },
}

/// What is no frame of a server.
#[derive(Debug, PartialEq, Eq)]
pub struct NotFrames(pub &'static str);

#[derive(Default)]
pub struct Frames {
    /// A header, or a control frame's payload, that is not whole.
    held: Vec<u8>,
    inside: Option<Inside>,
    /// A fragmented message is going on.
    is_continued: bool,
}

#[derive(Clone, Copy)]
struct Inside {
    opcode: u8,
    is_final: bool,
    left: u64,
    at_start: bool,
}

const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

impl Frames {
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        on: &mut dyn FnMut(Piece<'_>),
    ) -> Result<(), NotFrames> {
        loop {
            let Some(mut inside) = self.inside else {
                if bytes.is_empty() {
                    return Ok(());
                }
                match self.take_header(&mut bytes)? {
                    Some(inside) => self.inside = Some(inside),
                    None => return Ok(()),
                }
                continue;
            };
            // a piece that is not there at all is waited for
            if bytes.is_empty() && inside.left > 0 {
                return Ok(());
            }
            let count = usize::try_from(inside.left).map_or(bytes.len(), |n| n.min(bytes.len()));
            let (piece, rest) = bytes.split_at(count);
            bytes = rest;
            inside.left -= count as u64;
            let is_done = inside.left == 0;
            if inside.opcode < CLOSE {
                on(Piece::Data {
                    bytes: piece,
                    start: inside.at_start && inside.opcode != CONTINUATION,
                    end: is_done && inside.is_final,
                });
                inside.at_start = false;
            } else if is_done && self.held.is_empty() {
                control(inside.opcode, piece, on);
            } else {
                self.held.extend_from_slice(piece);
                if is_done {
                    control(inside.opcode, &self.held, on);
                    self.held.clear();
                }
            }
            self.inside = (!is_done).then_some(inside);
        }
    }

    /// None: it is not whole yet.
    fn take_header(&mut self, bytes: &mut &[u8]) -> Result<Option<Inside>, NotFrames> {
        while self.held.len() < header_len(&self.held) {
            let Some((&first, rest)) = bytes.split_first() else {
                return Ok(None);
            };
            self.held.push(first);
            *bytes = rest;
        }
        let (opcode, is_final) = (self.held[0] & 0x0f, self.held[0] & 0x80 != 0);
        if self.held[0] & 0x70 != 0 {
            return Err(NotFrames(
                "a frame of an extension that was not agreed upon",
            ));
        }
        if self.held[1] & 0x80 != 0 {
            return Err(NotFrames("a masked frame"));
        }
        let left = self.held[2..]
            .iter()
            .fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
        let left = if self.held.len() == 2 {
            u64::from(self.held[1] & 0x7f)
        } else {
            left
        };
        self.held.clear();
        if opcode >= CLOSE && (left > 125 || !is_final) {
            return Err(NotFrames(
                "a control frame that is long, or not in one piece",
            ));
        }
        if opcode < CLOSE {
            if self.is_continued != (opcode == CONTINUATION) {
                return Err(NotFrames(
                    "a continuation of nothing, or none where one was due",
                ));
            }
            self.is_continued = !is_final;
        }
        Ok(Some(Inside {
            opcode,
            is_final,
            left,
            at_start: true,
        }))
    }
}

fn header_len(held: &[u8]) -> usize {
    match held.get(1).map(|second| second & 0x7f) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    }
}

fn control(opcode: u8, payload: &[u8], on: &mut dyn FnMut(Piece<'_>)) {
    match opcode {
        PING => on(Piece::Ping(payload)),
        CLOSE => {
            let (code, reason) = match payload.split_first_chunk::<2>() {
                Some((code, reason)) => (u16::from_be_bytes(*code), reason),
                None => (1005, &[][..]),
            };
            on(Piece::Close {
                code,
                reason: String::from_utf8_lossy(reason).into_owned(),
            });
        }
        _ => {}
    }
}

/// Appends a text message.
pub fn text(payload: &[u8], out: &mut Vec<u8>) {
    frame(0x81, payload, out);
}

/// Appends the answer to a ping.
pub fn pong(payload: &[u8], out: &mut Vec<u8>) {
    frame(0x80 | PONG, payload, out);
}

/// Appends a good-bye.
pub fn close(out: &mut Vec<u8>) {
    frame(0x80 | CLOSE, &1000u16.to_be_bytes(), out);
}

/// A client's frame is masked (§5.3). The mask is zero, which leaves the payload as it is: what it is to prevent,
/// scripts that write attacks into caches, a load generator does not do.
fn frame(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut masked = Vec::new();
        frame(first, payload, &mut masked);
        let header = header_len(&masked);
        let mut out = masked[..header].to_vec();
        out[1] &= 0x7f;
        out.extend_from_slice(&masked[header + 4..]);
        out
    }

    /// Messages, pings and closes, whatever pieces they came in.
    fn whole(pieces: &[&[u8]]) -> Result<Vec<String>, NotFrames> {
        let mut frames = Frames::default();
        let (mut all, mut message) = (Vec::new(), None);
        for piece in pieces {
            frames.feed(piece, &mut |piece| match piece {
                Piece::Data { bytes, start, end } => {
                    assert_eq!(start, message.is_none(), "a message starts once");
                    message
                        .get_or_insert_with(Vec::new)
                        .extend_from_slice(bytes);
                    if end {
                        let message = message.take().expect("it began");
                        all.push(String::from_utf8(message).expect("text"));
                    }
                }
                Piece::Ping(payload) => all.push(format!("ping {}", payload.len())),
                Piece::Close { code, reason } => all.push(format!("close {code} {reason}")),
            })?;
        }
        Ok(all)
    }

    #[test]
    fn frames_come_apart_wherever_they_are_split() {
        let long = "x".repeat(70_000);
        let middle = "y".repeat(300);
        let mut bytes = served(0x81, b"hello");
        bytes.extend(served(0x01, b"frag"));
        bytes.extend(served(0x89, b"are you there"));
        bytes.extend(served(0x80, b"mented"));
        bytes.extend(served(0x81, b""));
        bytes.extend(served(0x81, middle.as_bytes()));
        let short = bytes.len();
        bytes.extend(served(0x81, long.as_bytes()));
        bytes.extend(served(0x88, b"\x11\x97draining"));
        let wanted = [
            "hello",
            "ping 13",
            "fragmented",
            "",
            &middle,
            &long,
            "close 4503 draining",
        ];
        for split in 0..short {
            assert_eq!(
                whole(&[&bytes[..split], &bytes[split..]]).expect("frames"),
                wanted,
                "split at {split}"
            );
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(whole(&single).expect("frames"), wanted);
    }

    #[test]
    fn what_is_no_frame_is_told() {
        let mut masked = Vec::new();
        text(b"x", &mut masked);
        assert!(whole(&[&masked]).is_err());
        assert!(whole(&[b"HTTP/1.1 200 OK"]).is_err());
        assert!(whole(&[&served(0x80, b"of nothing")]).is_err());
        assert!(whole(&[&served(0x89, &[0; 126])]).is_err());
    }
}
