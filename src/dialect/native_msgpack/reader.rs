//! MessagePack token by token, out of bytes that a stranger sent.
//!
//! Nothing is allocated and nothing recurses. A length is believed only as far as bytes follow, so that
//! five bytes that announce four billion elements cost nobody anything.

use rmp::Marker;
use thiserror::Error;

/// Why the rest of the bytes cannot be understood.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum Malformed {
    #[error("it ends in the middle of a value")]
    Truncated,
    #[error("byte {at} is 0xc1, which MessagePack never uses")]
    Reserved { at: usize },
    #[error("byte {at} announces {announced} values, and only {left} bytes follow")]
    Announced {
        at: usize,
        announced: u64,
        left: usize,
    },
    #[error("{0} bytes follow after its end")]
    Trailing(usize),
}

/// One value, or the beginning of one.
#[derive(Debug, PartialEq, Clone, Copy)]
pub enum Token<'a> {
    Nil,
    Bool(bool),
    Uint(u64),
    Int(i64),
    Float(f64),
    /// Perhaps not UTF-8.
    Str(&'a [u8]),
    Bin,
    Ext,
    /// So many values follow.
    Array(u32),
    /// So many pairs of values follow.
    Map(u32),
}

impl Token<'_> {
    /// Values that belong to it and follow it.
    fn values(self) -> u64 {
        match self {
            Self::Array(count) => u64::from(count),
            Self::Map(count) => 2 * u64::from(count),
            _ => 0,
        }
    }
}

pub struct Reader<'a> {
    whole: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            whole: bytes.len(),
            rest: bytes,
        }
    }

    pub fn token(&mut self) -> Result<Token<'a>, Malformed> {
        let at = self.whole - self.rest.len();
        let [marker] = self.array()?;
        let token = match Marker::from_u8(marker) {
            Marker::Null => Token::Nil,
            Marker::False => Token::Bool(false),
            Marker::True => Token::Bool(true),
            Marker::FixPos(number) => Token::Uint(number.into()),
            Marker::U8 => Token::Uint(u8::from_be_bytes(self.array()?).into()),
            Marker::U16 => Token::Uint(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Token::Uint(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => Token::Uint(u64::from_be_bytes(self.array()?)),
            Marker::FixNeg(number) => Token::Int(number.into()),
            Marker::I8 => Token::Int(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Token::Int(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Token::Int(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Token::Int(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Token::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Token::Float(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(len) => Token::Str(self.bytes(len.into())?),
            Marker::Str8 => Token::Str(self.sized::<1>()?),
            Marker::Str16 => Token::Str(self.sized::<2>()?),
            Marker::Str32 => Token::Str(self.sized::<4>()?),
            Marker::Bin8 => self.sized::<1>().map(|_| Token::Bin)?,
            Marker::Bin16 => self.sized::<2>().map(|_| Token::Bin)?,
            Marker::Bin32 => self.sized::<4>().map(|_| Token::Bin)?,
            Marker::FixExt1 => self.ext(1)?,
            Marker::FixExt2 => self.ext(2)?,
            Marker::FixExt4 => self.ext(4)?,
            Marker::FixExt8 => self.ext(8)?,
            Marker::FixExt16 => self.ext(16)?,
            Marker::Ext8 => self.length::<1>().and_then(|len| self.ext(len))?,
            Marker::Ext16 => self.length::<2>().and_then(|len| self.ext(len))?,
            Marker::Ext32 => self.length::<4>().and_then(|len| self.ext(len))?,
            Marker::FixArray(count) => Token::Array(count.into()),
            Marker::Array16 => Token::Array(self.length::<2>()?),
            Marker::Array32 => Token::Array(self.length::<4>()?),
            Marker::FixMap(count) => Token::Map(count.into()),
            Marker::Map16 => Token::Map(self.length::<2>()?),
            Marker::Map32 => Token::Map(self.length::<4>()?),
            Marker::Reserved => return Err(Malformed::Reserved { at }),
        };
        // every value has at least one byte
        let (announced, left) = (token.values(), self.rest.len());
        if announced > left as u64 {
            return Err(Malformed::Announced {
                at,
                announced,
                left,
            });
        }
        Ok(token)
    }

    /// Goes over what belongs to `token`, however deep it is nested: only how many values are left is kept.
    pub fn skip(&mut self, token: Token<'_>) -> Result<(), Malformed> {
        let mut left = token.values();
        while left > 0 {
            left = left - 1 + self.token()?.values();
        }
        Ok(())
    }

    /// Nothing may follow.
    pub fn end(&self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(Malformed::Trailing(bytes)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    fn bytes(&mut self, len: u32) -> Result<&'a [u8], Malformed> {
        let cut = self.rest.split_at_checked(len as usize);
        let (bytes, rest) = cut.ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A length in `N` bytes, at most four.
    fn length<const N: usize>(&mut self) -> Result<u32, Malformed> {
        let bytes: [u8; N] = self.array()?;
        Ok(bytes
            .iter()
            .fold(0, |length, byte| length << 8 | u32::from(*byte)))
    }

    /// Bytes behind their length in `N` bytes.
    fn sized<const N: usize>(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.length::<N>()?;
        self.bytes(len)
    }

    /// The type of an extension and its bytes.
    fn ext(&mut self, len: u32) -> Result<Token<'a>, Malformed> {
        self.array::<1>()?;
        self.bytes(len).map(|_| Token::Ext)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(bytes: &[u8]) -> Result<Token<'_>, Malformed> {
        Reader::new(bytes).token()
    }

    #[test]
    fn lengths_are_believed_as_far_as_bytes_follow() {
        assert_eq!(token(&[]), Err(Malformed::Truncated));
        assert_eq!(token(&[0xc1]), Err(Malformed::Reserved { at: 0 }));
        assert_eq!(token(&[0xa3, b'a', b'b']), Err(Malformed::Truncated));
        assert_eq!(
            token(&[0xdb, 0xff, 0xff, 0xff, 0xff]),
            Err(Malformed::Truncated)
        );
        let lie = |announced| {
            Err(Malformed::Announced {
                at: 0,
                announced,
                left: 0,
            })
        };
        assert_eq!(token(&[0xdd, 0xff, 0xff, 0xff, 0xff]), lie(0xffff_ffff));
        assert_eq!(token(&[0xdf, 0xff, 0xff, 0xff, 0xff]), lie(0x1_ffff_fffe));
        assert_eq!(token(&[0x81]), lie(2));
        assert_eq!(token(&[0x81, 0xc0, 0xc0]), Ok(Token::Map(1)));
    }

    #[test]
    fn skipping_ends_where_the_value_ends() {
        // {"a": [1, [bin, ext]], "b": {}}, then 7
        let bytes = [
            0x82, 0xa1, b'a', 0x92, 1, 0x92, 0xc4, 1, 9, 0xd4, 5, 9, 0xa1, b'b', 0x80, 7,
        ];
        let mut reader = Reader::new(&bytes);
        let map = reader.token().expect("a map");
        assert_eq!(reader.skip(map), Ok(()));
        assert_eq!(reader.end(), Err(Malformed::Trailing(1)));
        assert_eq!(reader.token(), Ok(Token::Uint(7)));
        assert_eq!(reader.end(), Ok(()));
    }
}
