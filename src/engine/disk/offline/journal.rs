//! Checks a journal without fjall, which takes the first bytes that it cannot read for the end: what is damaged
//! in the middle would go unnoticed, with everything behind it.
//!
//! Layout (fjall 3.1), numbers little-endian: batches of `1 items:u32 seqno:u64`, items, `3 checksum:u64 "FJL" 3`.
//! An item is `2 kind:u8 compression:u8 keyspace:u64 key:u16 value:u32 stored:u32` and its bytes, or
//! `4 keyspace:u64`. The checksum (xxh3) is that of the items.

use std::fs;
use std::io;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

const END_MARK: &[u8] = b"FJL\x03";

#[derive(Debug, PartialEq, Eq)]
pub enum Journal {
    /// Every batch is whole; what may follow the last one is the beginning of one that was never finished.
    Whole,
    /// It cannot be read from this byte on, and batches follow that can.
    Broken { at: usize, batches: usize },
    /// Batches up to this byte are whole, but for their numbers.
    OutOfOrder { at: usize },
}

pub fn check(path: &Path) -> io::Result<Journal> {
    Ok(check_bytes(&fs::read(path)?))
}

fn check_bytes(bytes: &[u8]) -> Journal {
    let (mut at, mut last) = (0, None);
    while let Some((number, len)) = batch(&bytes[at..]) {
        if last.is_some_and(|last| number <= last) {
            return Journal::OutOfOrder { at };
        }
        last = Some(number);
        at += len;
    }
    match batches_behind(bytes, at) {
        0 => Journal::Whole,
        batches => Journal::Broken { at, batches },
    }
}

/// Whole batches that follow the first one that cannot be read.
fn batches_behind(bytes: &[u8], mut at: usize) -> usize {
    let mut batches = 0;
    while at < bytes.len() {
        match batch(&bytes[at..]) {
            Some((_, len)) => {
                batches += 1;
                at += len;
            }
            None => at += 1,
        }
    }
    batches
}

/// The number and the length of the batch at the front.
fn batch(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut input = Input { bytes, at: 0 };
    if input.take::<1>()? != [1] {
        return None;
    }
    let items = u32::from_le_bytes(input.take()?);
    let number = u64::from_le_bytes(input.take()?);
    let items_at = input.at;
    for _ in 0..items {
        match input.take::<1>()? {
            [2] => {
                let _kind_compression_keyspace: [u8; 10] = input.take()?;
                let key = u16::from_le_bytes(input.take()?);
                let _value = u32::from_le_bytes(input.take()?);
                let stored = u32::from_le_bytes(input.take()?);
                input.skip(usize::from(key).checked_add(stored as usize)?)?;
            }
            [4] => input.skip(8)?,
            _ => return None,
        }
    }
    let items = bytes.get(items_at..input.at)?;
    if input.take::<1>()? != [3] || u64::from_le_bytes(input.take()?) != xxh3_64(items) {
        return None;
    }
    (input.take::<4>()? == END_MARK).then_some((number, input.at))
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(taken)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count)?;
        (self.at <= self.bytes.len()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(number: u64, value: &[u8]) -> Vec<u8> {
        let mut items = vec![2, 0, 0];
        items.extend_from_slice(&7u64.to_le_bytes());
        items.extend_from_slice(&1u16.to_le_bytes());
        items.extend_from_slice(&(value.len() as u32).to_le_bytes());
        items.extend_from_slice(&(value.len() as u32).to_le_bytes());
        items.push(b'k');
        items.extend_from_slice(value);
        let mut batch = vec![1];
        batch.extend_from_slice(&1u32.to_le_bytes());
        batch.extend_from_slice(&number.to_le_bytes());
        batch.extend_from_slice(&items);
        batch.push(3);
        batch.extend_from_slice(&xxh3_64(&items).to_le_bytes());
        batch.extend_from_slice(END_MARK);
        batch
    }

    #[test]
    fn every_flipped_bit_before_the_last_batch_is_noticed() {
        let (first, second, third) = (one(5, b"first"), one(6, b"second"), one(9, b"third"));
        let whole = [first.clone(), second.clone(), third].concat();
        assert_eq!(check_bytes(&whole), Journal::Whole);
        for bit in 0..(first.len() + second.len()) * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // numbers stand in no checksum, and may be any as long as they grow
            let byte = bit / 8;
            let is_number = [5..13, first.len() + 5..first.len() + 13]
                .iter()
                .any(|number| number.contains(&byte));
            let is_damaged = check_bytes(&flipped) != Journal::Whole;
            assert!(is_damaged || is_number, "bit {bit}");
        }
    }

    #[test]
    fn a_torn_end_is_no_damage() {
        let whole = [one(1, b"first"), one(2, b"second")].concat();
        for cut in 0..whole.len() {
            assert_eq!(check_bytes(&whole[..cut]), Journal::Whole, "cut at {cut}");
            let mut padded = whole[..cut].to_vec();
            padded.resize(whole.len() + 100, 0);
            assert_eq!(check_bytes(&padded), Journal::Whole, "zeros from {cut} on");
        }
    }
}
