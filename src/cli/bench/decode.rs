//! Bytes of a connection taken apart into what a reader counts (content) and what the broker says beside it.
//!
//! Content is handed on where it lies, in pieces, and never parsed. Only what a Tidewire broker says of itself is
//! put together, at most `KEPT` bytes of it.

pub mod chunks;
pub mod frames;
pub mod said;

use memchr::memchr;

use chunks::{Body, Chunks};
use frames::{Frames, Piece};
use said::Said;

/// What the broker says beside events is small; more of it than this is no broker's.
const KEPT: usize = 64 << 10;
/// How a frame with events begins, and how a block that is no event does.
const EVENTS: &[u8] = br#"{"op":"events""#;
const NOTICE: &[u8] = br#"data: {"type":"tidewire."#;

#[derive(Debug)]
pub enum Heard<'a> {
    /// Where marks may be; in which message, from 1.
    Content(&'a [u8], u64),
    Said(Said),
    Ping(&'a [u8]),
    /// The other side's good-bye.
    Closed {
        code: u16,
        reason: String,
    },
}

/// What came is not what was agreed upon.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Garbled(String);

pub struct Decoder {
    framing: Framing,
    sorting: Sorting,
    /// Messages, or blocks of an event stream, that began so far.
    pub messages: u64,
    pub bytes: u64,
}

enum Framing {
    WebSocket(Frames),
    Stream(Body),
}

/// Which message or line the next piece belongs to.
enum Sorting {
    /// Everything is content.
    None,
    Frames(Message),
    Lines(Message),
}

enum Message {
    /// The beginning so far: too short to tell, or of something that is kept.
    Kept(Vec<u8>),
    Content,
}

impl Default for Message {
    fn default() -> Self {
        Self::Kept(Vec::new())
    }
}

impl Decoder {
    /// `is_native`: a Tidewire broker speaks.
    pub fn websocket(is_native: bool) -> Self {
        let sorting = match is_native {
            true => Sorting::Frames(Message::default()),
            false => Sorting::None,
        };
        Self::new(Framing::WebSocket(Frames::default()), sorting)
    }

    /// `is_chunked`: the answer's body comes in chunks.
    pub fn stream(is_native: bool, is_chunked: bool) -> Self {
        let body = match is_chunked {
            true => Body::Chunked(Chunks::default()),
            false => Body::Plain,
        };
        let sorting = match is_native {
            true => Sorting::Lines(Message::default()),
            false => Sorting::None,
        };
        Self::new(Framing::Stream(body), sorting)
    }

    fn new(framing: Framing, sorting: Sorting) -> Self {
        Self {
            framing,
            sorting,
            messages: 0,
            bytes: 0,
        }
    }

    pub fn feed(&mut self, bytes: &[u8], on: &mut dyn FnMut(Heard<'_>)) -> Result<(), Garbled> {
        self.bytes += bytes.len() as u64;
        let (sorting, messages) = (&mut self.sorting, &mut self.messages);
        let mut sorted = Ok(());
        match &mut self.framing {
            Framing::WebSocket(frames) => frames
                .feed(bytes, &mut |piece| match piece {
                    Piece::Data { bytes, start, end } => {
                        *messages += u64::from(start);
                        let result = sorting.message(bytes, (start, end), *messages, on);
                        if sorted.is_ok() {
                            sorted = result;
                        }
                    }
                    Piece::Ping(payload) => on(Heard::Ping(payload)),
                    Piece::Close { code, reason } => on(Heard::Closed { code, reason }),
                })
                .map_err(|what| Garbled(format!("{} came over the WebSocket", what.0)))?,
            Framing::Stream(Body::Plain) => sorted = sorting.lines(bytes, messages, on),
            Framing::Stream(Body::Chunked(chunks)) => {
                chunks
                    .feed(bytes, &mut |data| {
                        let result = sorting.lines(data, messages, on);
                        if sorted.is_ok() {
                            sorted = result;
                        }
                    })
                    .map_err(|_| Garbled("the event stream's chunks are broken".into()))?;
                if chunks.is_done() {
                    on(Heard::Closed {
                        code: 1000,
                        reason: "the event stream ended".into(),
                    });
                }
            }
        }
        sorted
    }
}

impl Sorting {
    fn message(
        &mut self,
        bytes: &[u8],
        (start, end): (bool, bool),
        number: u64,
        on: &mut dyn FnMut(Heard<'_>),
    ) -> Result<(), Garbled> {
        let Self::Frames(message) = self else {
            on(Heard::Content(bytes, number));
            return Ok(());
        };
        if start {
            // the common case: known for events by the first piece
            if bytes.starts_with(EVENTS) {
                *message = Message::Content;
                on(Heard::Content(bytes, number));
                return Ok(());
            }
            *message = Message::default();
        }
        match message {
            Message::Content => on(Heard::Content(bytes, number)),
            Message::Kept(kept) => {
                keep(kept, bytes)?;
                if kept.starts_with(EVENTS) {
                    on(Heard::Content(kept, number));
                    *message = Message::Content;
                } else if end {
                    let said = said::frame(kept).map_err(unreadable)?;
                    *message = Message::default();
                    on(Heard::Said(said));
                }
            }
        }
        Ok(())
    }

    fn lines(
        &mut self,
        mut bytes: &[u8],
        messages: &mut u64,
        on: &mut dyn FnMut(Heard<'_>),
    ) -> Result<(), Garbled> {
        let Self::Lines(line) = self else {
            on(Heard::Content(bytes, *messages));
            return Ok(());
        };
        while !bytes.is_empty() {
            let newline = memchr(b'\n', bytes);
            let (piece, rest) = bytes.split_at(newline.unwrap_or(bytes.len()));
            match line {
                Message::Content => on(Heard::Content(piece, *messages)),
                Message::Kept(kept) => {
                    // the common case: an event's line, known by its beginning, is not copied
                    if kept.is_empty() && piece.len() >= NOTICE.len() && !piece.starts_with(NOTICE)
                    {
                        *messages += u64::from(piece.starts_with(b"data: "));
                        on(Heard::Content(piece, *messages));
                        *line = Message::Content;
                    } else {
                        keep(kept, piece)?;
                        let is_decided = kept.len() >= NOTICE.len() || newline.is_some();
                        if is_decided && !kept.starts_with(NOTICE) {
                            *messages += u64::from(kept.starts_with(b"data: "));
                            on(Heard::Content(kept, *messages));
                            *line = Message::Content;
                        } else if newline.is_some() {
                            *messages += 1;
                            let said = said::block(&kept[b"data: ".len()..]).map_err(unreadable)?;
                            on(Heard::Said(said));
                        }
                    }
                }
            }
            bytes = rest;
            if newline.is_some() {
                bytes = &bytes[1..];
                *line = Message::default();
            }
        }
        Ok(())
    }
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Garbled> {
    if kept.len() + bytes.len() > KEPT {
        return Err(Garbled(format!(
            "what the broker says beside events is longer than {KEPT} bytes"
        )));
    }
    kept.extend_from_slice(bytes);
    Ok(())
}

fn unreadable(error: serde_json::Error) -> Garbled {
    Garbled(format!("what the broker says is not its protocol: {error}"))
}

#[cfg(test)]
mod tests;
