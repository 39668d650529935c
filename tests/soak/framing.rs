//! From bytes to WebSocket frames and SSE blocks, as far as they are whole.

use crate::line::Line;
use crate::support::http::find;

/// The status and the head of the answer that begins a connection, once it is whole.
pub fn take_head(line: &mut Line) -> Option<(u16, String)> {
    let end = find(line.waiting(), b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&line.waiting()[..end]).into_owned();
    line.take(end + 4);
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Some((status.unwrap_or(0), head))
}

/// First byte, length of the header, and length of the payload of the next frame, if it is whole.
/// Frames from a server are not masked (RFC 6455 §5.1).
pub fn next_frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (header, length) = match second {
        126 => (
            4,
            u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        ),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    let length = usize::try_from(length).ok()?;
    (bytes.len() >= header + length).then_some((first, header, length))
}

/// The body of an event stream, out of its chunks.
#[derive(Default)]
pub struct Stream {
    body: Vec<u8>,
    taken: usize,
    searched: usize,
    /// The last chunk came.
    pub finished: bool,
}

/// One block with data, between two blank lines.
#[derive(Debug)]
pub struct Block<'a> {
    pub id: Option<&'a str>,
    pub event: Option<&'a str>,
    pub data: &'a str,
}

impl Stream {
    /// Moves whole chunks out of the line; `Err` is what is wrong with one.
    pub fn unchunk(&mut self, line: &mut Line) -> Result<(), String> {
        self.body.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        loop {
            let waiting = line.waiting();
            let Some(end) = find(&waiting[..waiting.len().min(32)], b"\r\n") else {
                return Ok(());
            };
            let size = std::str::from_utf8(&waiting[..end]).unwrap_or("?");
            let size = usize::from_str_radix(size, 16)
                .map_err(|_| format!("{size:?} is no chunk size"))?;
            let whole = end + 2 + size + 2;
            if waiting.len() < whole {
                return Ok(());
            }
            self.body.extend_from_slice(&waiting[end + 2..whole - 2]);
            line.take(whole);
            self.finished |= size == 0;
        }
    }

    /// The length of the next block, if it is whole.
    pub fn next_block(&mut self) -> Option<usize> {
        let from = self.searched.saturating_sub(1).max(self.taken);
        match find(&self.body[from..], b"\n\n") {
            Some(at) => {
                self.searched = from + at + 2;
                Some(from + at - self.taken)
            }
            None => {
                self.searched = self.body.len();
                None
            }
        }
    }

    /// The block of this length; call `take` when done with it.
    pub fn block(&self, length: usize) -> &[u8] {
        &self.body[self.taken..self.taken + length]
    }

    pub fn take(&mut self, length: usize) {
        self.taken += length + 2;
    }
}

/// `None`: a block without data.
pub fn parse_block(raw: &[u8]) -> Result<Option<Block<'_>>, String> {
    let raw =
        std::str::from_utf8(raw).map_err(|_| "an event stream that is not UTF-8".to_owned())?;
    let (mut id, mut event, mut data) = (None, None, None);
    for line in raw.split('\n').filter(|line| !line.is_empty()) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        let place = match field {
            "" | "retry" => continue,
            "id" => &mut id,
            "event" => &mut event,
            "data" => &mut data,
            _ => return Err(format!("an unknown field in {raw:?}")),
        };
        if place.replace(value).is_some() || value.contains('\r') {
            return Err(format!("a field twice, or a carriage return, in {raw:?}"));
        }
    }
    Ok(data.map(|data| Block { id, event, data }))
}
