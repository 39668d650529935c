//! Every value on disk ends with a checksum of what stands before it.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::record::Damaged;

const CHECKSUM: usize = 4;

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    (xxh3_64(bytes) as u32).to_le_bytes()
}

pub fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

/// What was sealed.
pub fn unseal(bytes: &[u8]) -> Result<&[u8], Damaged> {
    let (bytes, known) = bytes.split_last_chunk::<CHECKSUM>().ok_or(Damaged)?;
    if checksum(bytes) == *known {
        Ok(bytes)
    } else {
        Err(Damaged)
    }
}

pub fn pack(value: &impl Serialize) -> Vec<u8> {
    seal(rmp_serde::to_vec(value).expect("plain structs can always be written"))
}

pub fn unpack<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Damaged> {
    rmp_serde::from_slice(unseal(bytes)?).map_err(|_| Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_bit_is_flipped_is_noticed() {
        let sealed = pack(&("a text", 7));
        assert_eq!(unpack(&sealed), Ok(("a text", 7)));
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(&flipped), Err(Damaged), "bit {bit}");
        }
        assert_eq!(unseal(&sealed[..3]), Err(Damaged));
    }
}
