//! Whether the lists of tables are what was written, looked at before fjall opens them.
//!
//! Each keyspace has a file `current` that names its list, with a checksum of it. fjall 3 writes the checksum and does
//! not compare it: a list in which a bit flipped may lack a table, or give it a place where nobody looks.

use std::fs;
use std::io;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use super::store::StoreError;

const KEYSPACES: &str = "keyspaces";
const CURRENT: &str = "current";
const TABLES: &str = "tables";
/// The number of the list, its checksum, and 0 for the kind of checksum.
const CURRENT_BYTES: usize = 8 + 16 + 1;

pub fn check(store: &Path) -> Result<(), StoreError> {
    let keyspaces = match fs::read_dir(store.join(KEYSPACES)) {
        Ok(keyspaces) => keyspaces,
        // it is about to be made
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for keyspace in keyspaces {
        let keyspace = keyspace?.path();
        if keyspace.is_dir() && !is_intact(&keyspace)? {
            let what = format!("the list of tables in {}", keyspace.display());
            return Err(StoreError::Damaged { what });
        }
    }
    Ok(())
}

fn is_intact(keyspace: &Path) -> io::Result<bool> {
    let current = match fs::read(keyspace.join(CURRENT)) {
        Ok(current) => current,
        // its making was cut short; fjall makes it anew
        Err(error) if error.kind() == io::ErrorKind::NotFound => return has_no_tables(keyspace),
        Err(error) => return Err(error),
    };
    let Ok(current) = <[u8; CURRENT_BYTES]>::try_from(current) else {
        return Ok(false);
    };
    let (number, rest) = current.split_at(8);
    let number = u64::from_le_bytes(number.try_into().expect("split at 8 bytes"));
    match fs::read(keyspace.join(format!("v{number}"))) {
        Ok(list) => Ok(rest[..16] == xxh3_128(&list).to_le_bytes() && rest[16] == 0),
        // its removal was cut short, or fjall says what it misses
        Err(error) if error.kind() == io::ErrorKind::NotFound => has_no_tables(keyspace),
        Err(error) => Err(error),
    }
}

fn has_no_tables(keyspace: &Path) -> io::Result<bool> {
    match fs::read_dir(keyspace.join(TABLES)) {
        Ok(mut tables) => Ok(tables.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_of(current: &[u8], list: &[u8]) -> Result<(), StoreError> {
        let store = tempfile::tempdir().expect("a folder");
        let keyspace = store.path().join(KEYSPACES).join("3");
        fs::create_dir_all(&keyspace).expect("a folder");
        fs::write(keyspace.join(CURRENT), current).expect("a file");
        fs::write(keyspace.join("v7"), list).expect("a file");
        check(store.path())
    }

    #[test]
    fn a_list_is_what_its_checksum_says() {
        let list = b"a list of tables";
        let mut current = 7u64.to_le_bytes().to_vec();
        current.extend(xxh3_128(list).to_le_bytes());
        current.push(0);
        check_of(&current, list).expect("intact");
        assert!(check_of(&current, b"another").is_err());
        assert!(check_of(&current[..24], list).is_err());
        // another number names a list that is not there
        for bit in 64..current.len() * 8 {
            let mut flipped = current.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(check_of(&flipped, list).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_keyspace_without_a_list_has_no_tables() {
        let store = tempfile::tempdir().expect("a folder");
        check(store.path()).expect("it does not exist yet");
        let tables = store.path().join(KEYSPACES).join("3").join(TABLES);
        fs::create_dir_all(&tables).expect("a folder");
        check(store.path()).expect("its making was cut short");
        fs::write(tables.join("0"), "a table").expect("a file");
        assert!(check(store.path()).is_err());
    }
}
