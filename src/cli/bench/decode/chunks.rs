//! The body of an HTTP answer that has no end yet: chunked (RFC 9112 §7.1) or as it comes. Holds a few numbers.

#[derive(Debug)]
pub enum Body {
    /// Until the connection ends.
    Plain,
    Chunked(Chunks),
}

#[derive(Debug, Default)]
pub struct Chunks(State);

#[derive(Debug, Clone, Copy)]
enum State {
    /// In the line with the size so far; `true` behind a `;`.
    Size(u64, bool),
    Data(u64),
    /// Behind a chunk, before its line end's last byte.
    After,
    Done,
}

impl Default for State {
    fn default() -> Self {
        Self::Size(0, false)
    }
}

/// What is no chunk.
#[derive(Debug, PartialEq, Eq)]
pub struct NotChunks;

impl Chunks {
    /// Hands on what the chunks hold.
    pub fn feed(&mut self, mut bytes: &[u8], on: &mut dyn FnMut(&[u8])) -> Result<(), NotChunks> {
        while let Some((&first, rest)) = bytes.split_first() {
            self.0 = match self.0 {
                State::Size(size, is_extension) => {
                    bytes = rest;
                    match first {
                        b'\n' if size == 0 => State::Done,
                        b'\n' => State::Data(size),
                        b'\r' => State::Size(size, is_extension),
                        _ if is_extension => State::Size(size, true),
                        b';' | b' ' => State::Size(size, true),
                        digit => {
                            let digit = (digit as char).to_digit(16).ok_or(NotChunks)?;
                            let size = size.checked_mul(16).ok_or(NotChunks)?;
                            State::Size(size + u64::from(digit), false)
                        }
                    }
                }
                State::Data(left) => {
                    let count = usize::try_from(left).map_or(bytes.len(), |n| n.min(bytes.len()));
                    let (data, rest) = bytes.split_at(count);
                    on(data);
                    bytes = rest;
                    match left - count as u64 {
                        0 => State::After,
                        left => State::Data(left),
                    }
                }
                State::After => {
                    bytes = rest;
                    match first {
                        b'\r' => State::After,
                        b'\n' => State::default(),
                        _ => return Err(NotChunks),
                    }
                }
                State::Done => return Ok(()),
            };
        }
        Ok(())
    }

    /// The last chunk came.
    pub fn is_done(&self) -> bool {
        matches!(self.0, State::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(pieces: &[&[u8]]) -> Result<(String, bool), NotChunks> {
        let mut chunks = Chunks::default();
        let mut out = Vec::new();
        for piece in pieces {
            chunks.feed(piece, &mut |data| out.extend_from_slice(data))?;
        }
        Ok((String::from_utf8(out).expect("text"), chunks.is_done()))
    }

    #[test]
    fn chunks_come_apart_wherever_they_are_split() {
        let bytes = b"5\r\nhello\r\n1A;ext=1\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n";
        let wanted = ("helloabcdefghijklmnopqrstuvwxyz".to_owned(), true);
        for split in 0..bytes.len() {
            let pieces = [&bytes[..split], &bytes[split..]];
            assert_eq!(body(&pieces).expect("chunks"), wanted, "split at {split}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_told() {
        assert_eq!(body(&[b"hello"]), Err(NotChunks));
        assert_eq!(body(&[b"1\r\nab"]), Err(NotChunks));
        assert_eq!(body(&[b"fffffffffffffffff\r\n"]), Err(NotChunks));
    }
}
