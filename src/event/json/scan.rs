//! Reads a JSON text once, front to back: its syntax, what `JsonFault` names, and where its values stand.
//!
//! A text that was read to its end without a fault is one that serde_json takes, too. Keys may be told twice: that is
//! the caller's business. No allocation; recursion ends at `MAX_DEPTH`.

use std::borrow::Cow;

use super::{Facts, JsonFault, MAX_DEPTH, code_unit, is_finite};

pub struct Scan<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    multiline: bool,
}

/// A string as it stands in the text.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    quoted: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// `None` where that takes more than a look.
    pub fn plain(self) -> Option<&'a str> {
        let inside = &self.quoted[1..self.quoted.len() - 1];
        (!self.escaped).then_some(inside)
    }

    pub fn decoded(self) -> Option<Cow<'a, str>> {
        match self.plain() {
            Some(text) => Some(Cow::Borrowed(text)),
            None => serde_json::from_str(self.quoted).ok().map(Cow::Owned),
        }
    }
}

impl<'a> Scan<'a> {
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            multiline: false,
        }
    }

    /// Nothing but space is left.
    pub fn end(&mut self) -> Result<(), JsonFault> {
        self.skip_space();
        match self.at == self.text.len() {
            true => Ok(()),
            false => Err(JsonFault::Syntax),
        }
    }

    /// Reads what comes next as if it were a text of its own: with where it stands, and the facts of it alone.
    pub fn afresh<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, JsonFault>,
    ) -> Result<(T, &'a str, Facts), JsonFault> {
        self.skip_space();
        let from = self.at;
        let depth = std::mem::take(&mut self.depth);
        let multiline = std::mem::take(&mut self.multiline);
        let value = read(self)?;
        let facts = Facts {
            multiline: self.multiline,
        };
        self.depth = depth;
        self.multiline |= multiline;
        Ok((value, &self.text[from..self.at], facts))
    }

    /// Any value; gives its text.
    pub fn value(&mut self) -> Result<&'a str, JsonFault> {
        self.skip_space();
        let from = self.at;
        match self.peek() {
            b'"' => drop(self.string()?),
            b'{' => self.object(|scan, _| scan.value().map(drop))?,
            b'[' => self.array(|scan| scan.value().map(drop))?,
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            _ => self.number()?,
        }
        Ok(&self.text[from..self.at])
    }

    /// `member` is given each key, and takes its value.
    pub fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Text<'a>) -> Result<(), JsonFault>,
    ) -> Result<(), JsonFault> {
        self.list(b'{', b'}', |scan| {
            let key = scan.string()?;
            scan.expect(b':')?;
            member(scan, key)
        })
    }

    /// `item` takes each of the values.
    pub fn array(
        &mut self,
        item: impl FnMut(&mut Self) -> Result<(), JsonFault>,
    ) -> Result<(), JsonFault> {
        self.list(b'[', b']', item)
    }

    pub fn string(&mut self) -> Result<Text<'a>, JsonFault> {
        self.skip_space();
        let from = self.at;
        self.expect(b'"')?;
        let mut escaped = false;
        loop {
            self.at += plain_run(self.rest());
            match self.peek() {
                b'"' => break,
                b'\\' => self.escape()?,
                // a control character, or the end
                _ => return Err(JsonFault::Syntax),
            }
            escaped = true;
        }
        self.at += 1;
        let quoted = &self.text[from..self.at];
        Ok(Text { quoted, escaped })
    }

    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// The next byte; 0, which stands nowhere in JSON, at the end.
    #[inline]
    pub fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    pub fn skip_space(&mut self) {
        loop {
            match self.peek() {
                b' ' | b'\t' => {}
                b'\r' | b'\n' => self.multiline = true,
                _ => return,
            }
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonFault> {
        self.skip_space();
        if self.peek() != byte {
            return Err(JsonFault::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    fn list(
        &mut self,
        open: u8,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), JsonFault>,
    ) -> Result<(), JsonFault> {
        self.expect(open)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(JsonFault::TooDeep);
        }
        self.skip_space();
        if self.peek() != close {
            item(self)?;
            self.skip_space();
            while self.peek() == b',' {
                self.at += 1;
                item(self)?;
                self.skip_space();
            }
        }
        self.depth -= 1;
        self.expect(close)
    }

    fn word(&mut self, word: &[u8]) -> Result<(), JsonFault> {
        if !self.rest().starts_with(word) {
            return Err(JsonFault::Syntax);
        }
        self.at += word.len();
        Ok(())
    }

    /// `at` is at a backslash.
    fn escape(&mut self) -> Result<(), JsonFault> {
        match self.rest().get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let unit = code_unit(self.rest()).ok_or(JsonFault::Syntax)?;
                self.at += 6;
                match unit {
                    0xD800..=0xDBFF => match code_unit(self.rest()) {
                        Some(0xDC00..=0xDFFF) => self.at += 6,
                        _ => return Err(JsonFault::LoneSurrogate),
                    },
                    0xDC00..=0xDFFF => return Err(JsonFault::LoneSurrogate),
                    _ => {}
                }
            }
            _ => return Err(JsonFault::Syntax),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonFault> {
        let from = self.at;
        self.at += usize::from(self.peek() == b'-');
        let whole = self.at;
        let digits = self.digits()?;
        if digits > 1 && self.text.as_bytes()[whole] == b'0' {
            return Err(JsonFault::Syntax);
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        let has_exponent = matches!(self.peek(), b'e' | b'E');
        if has_exponent {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), b'+' | b'-'));
            self.digits()?;
        }
        match is_finite(&self.text[from..self.at], has_exponent) {
            true => Ok(()),
            false => Err(JsonFault::Number),
        }
    }

    /// At least one; gives how many.
    fn digits(&mut self) -> Result<usize, JsonFault> {
        let count = self
            .rest()
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .count();
        self.at += count;
        (count > 0).then_some(count).ok_or(JsonFault::Syntax)
    }
}

/// How many bytes stand before the first quote, backslash or control character. Eight at a time: texts are most of
/// what is read.
pub(super) fn plain_run(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    // the lowest high bit that is set belongs to the first byte that is smaller than `n`; those above may be wrong
    let below = |word: u64, n: u8| word.wrapping_sub(ONES * u64::from(n)) & !word & HIGHS;
    let is = |word: u64, byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let (words, rest) = text.as_chunks::<8>();
    for (n, bytes) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*bytes);
        let found = below(word, 0x20) | is(word, b'"') | is(word, b'\\');
        if found != 0 {
            return n * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let plain = |c: &&u8| **c >= 0x20 && !matches!(**c, b'"' | b'\\');
    words.len() * 8 + rest.iter().take_while(plain).count()
}
