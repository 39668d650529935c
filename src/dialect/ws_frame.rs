//! WebSocket frames (RFC 6455 §5.2): what the broker sends, and the check of a header before its payload is buffered.

use bytes::{Buf, Bytes};

/// A server's largest header: two bytes and a 64-bit length.
const MAX_HEADER: usize = 10;
const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;

/// Writes one unmasked text frame; the payload is written in place.
pub fn text_frame(capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    frame(TEXT, capacity, write)
}

/// Writes one unmasked binary frame; the payload is written in place.
pub fn binary_frame(capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    frame(BINARY, capacity, write)
}

fn frame(opcode: u8, capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(MAX_HEADER + capacity);
    out.extend_from_slice(&[0; MAX_HEADER]);
    write(&mut out);
    let (header, header_len) = header(opcode, out.len() - MAX_HEADER);
    // the header stands right before the payload; what is before it is cut off
    let start = MAX_HEADER - header_len;
    out[start..MAX_HEADER].copy_from_slice(&header[..header_len]);
    let mut out = Bytes::from(out);
    out.advance(start);
    out
}

/// Appends the header of an unmasked text frame whose `len` bytes of payload the caller writes behind it.
pub fn push_text_header(out: &mut Vec<u8>, len: usize) {
    let (header, header_len) = header(TEXT, len);
    out.extend_from_slice(&header[..header_len]);
}

/// The shortest header for `len` bytes of payload, and how many bytes it has.
fn header(opcode: u8, len: usize) -> ([u8; MAX_HEADER], usize) {
    let mut header = [0u8; MAX_HEADER];
    header[0] = FIN | opcode;
    let header_len = if len < 126 {
        header[1] = len as u8;
        2
    } else if let Ok(short) = u16::try_from(len) {
        header[1] = 126;
        header[2..4].copy_from_slice(&short.to_be_bytes());
        4
    } else {
        header[1] = 127;
        header[2..10].copy_from_slice(&(len as u64).to_be_bytes());
        10
    };
    (header, header_len)
}

/// The payload of one whole unmasked text frame; `None` for anything else.
pub fn text_of(frame: &[u8]) -> Option<&[u8]> {
    let (first, second) = (*frame.first()?, *frame.get(1)?);
    if first != FIN | TEXT {
        return None;
    }
    let header_len = match second {
        126 => 4,
        127 => MAX_HEADER,
        _ => 2,
    };
    frame.get(header_len..)
}

/// What the beginning of a client's frame says.
#[derive(Debug, PartialEq, Eq)]
pub enum Declared {
    /// The header itself is not whole yet.
    Unknown,
    /// Bytes of payload that follow.
    Payload(u64),
}

/// Reads the declared length without consuming anything.
pub fn declared(bytes: &[u8]) -> Declared {
    let Some(second) = bytes.get(1) else {
        return Declared::Unknown;
    };
    match second & 0x7f {
        126 => match bytes.get(2..4) {
            Some(len) => Declared::Payload(u64::from(u16::from_be_bytes([len[0], len[1]]))),
            None => Declared::Unknown,
        },
        127 => match bytes.get(2..10).and_then(|len| len.try_into().ok()) {
            Some(len) => Declared::Payload(u64::from_be_bytes(len)),
            None => Declared::Unknown,
        },
        len => Declared::Payload(u64::from(len)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_shortest_form() {
        for (len, header) in [
            (0usize, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = text_frame(len, |out| out.resize(out.len() + len, b'x'));
            assert_eq!(&frame[..header.len()], &header[..]);
            assert_eq!(frame.len(), header.len() + len);
            assert_eq!(declared(&frame), Declared::Payload(len as u64));
            assert_eq!(text_of(&frame).map(<[u8]>::len), Some(len));
            let mut pushed = vec![7];
            push_text_header(&mut pushed, len);
            assert_eq!(pushed[1..], header);
            let binary = binary_frame(len, |out| out.resize(out.len() + len, b'x'));
            assert_eq!((binary[0], &binary[1..]), (0x82, &frame[1..]));
            assert_eq!(text_of(&binary), None);
        }
        assert_eq!(declared(&[0x81]), Declared::Unknown);
        assert_eq!(declared(&[0x81, 0xff, 0, 0]), Declared::Unknown);
    }
}
