//! fjall's files, as far as one must know them to check them without it (lsm-tree 3.1): a manifest names the
//! checksum of each of its tables, `current` names the manifest's own.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3Default;

use crate::engine::disk::store::STORE;

pub const CURRENT: &str = "current";
/// Number, checksum and its kind.
const CURRENT_BYTES: usize = 8 + 16 + 1;
/// `SFA!`, version, checksum kind, checksum, place and length of the table of contents.
const TRAILER_BYTES: usize = 4 + 1 + 1 + 16 + 8 + 8;
/// A table of contents has some ten short lines.
const MAX_CONTENTS: u64 = 1 << 16;
const CHUNK: usize = 1 << 20;

/// The list of a keyspace's tables, with the checksum of each.
pub struct Manifest {
    pub tables: Vec<(u64, u128)>,
}

/// Numbers of the journals in the folder of a store, in order.
pub fn journals(store: &Path) -> io::Result<Vec<u64>> {
    numbered(store, ".jnl")
}

/// Numbers of the keyspaces, in order.
pub fn keyspaces(folder: &Path) -> io::Result<Vec<u64>> {
    numbered(folder, "")
}

fn numbered(folder: &Path, suffix: &str) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(suffix));
        found.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// The manifest that the content of `current` names.
pub fn manifest_name(current: &[u8]) -> Option<String> {
    let number = current.first_chunk::<8>()?;
    Some(format!("v{}", u64::from_le_bytes(*number)))
}

impl Manifest {
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let tables = section(bytes, b"tables").ok_or("its list of tables cannot be read")?;
        let mut input = Input(tables);
        let mut tables = Vec::new();
        for _level in 0..input.byte()? {
            for _run in 0..input.byte()? {
                for _table in 0..u32::from_le_bytes(input.take()?) {
                    let number = u64::from_le_bytes(input.take()?);
                    let _kind = input.byte()?;
                    let checksum = u128::from_le_bytes(input.take()?);
                    let _global_seqno: [u8; 8] = input.take()?;
                    tables.push((number, checksum));
                }
            }
        }
        Ok(Self { tables })
    }
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (taken, rest) = self.0.split_first_chunk().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        self.take::<1>().map(|[byte]| byte)
    }
}

/// A section of an archive (a manifest or a table), if its table of contents is whole.
fn section<'a>(archive: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let trailer_at = archive.len().checked_sub(TRAILER_BYTES)?;
    let (place, checksum) = contents(archive.get(trailer_at..)?)?;
    let contents = archive.get(usize::try_from(place).ok()?..trailer_at)?;
    if xxh3(contents) != checksum {
        return None;
    }
    let mut input = Input(contents.strip_prefix(b"TOC!")?);
    for _ in 0..u32::from_le_bytes(input.take().ok()?) {
        let place = u64::from_le_bytes(input.take().ok()?);
        let len = u64::from_le_bytes(input.take().ok()?);
        let name_len = usize::from(u16::from_le_bytes(input.take().ok()?));
        let (this, rest) = input.0.split_at_checked(name_len)?;
        input.0 = rest;
        if this == name {
            let from = usize::try_from(place).ok()?;
            return archive.get(from..from.checked_add(usize::try_from(len).ok()?)?);
        }
    }
    None
}

/// Where an archive's table of contents stands, and its checksum, from the trailer.
fn contents(trailer: &[u8]) -> Option<(u64, u128)> {
    let mut input = Input(trailer.strip_prefix(b"SFA!")?);
    let _version_and_kind: [u8; 2] = input.take().ok()?;
    let checksum = u128::from_le_bytes(input.take().ok()?);
    Some((u64::from_le_bytes(input.take().ok()?), checksum))
}

fn xxh3(bytes: &[u8]) -> u128 {
    let mut hasher = Xxh3Default::new();
    hasher.update(bytes);
    hasher.digest128()
}

fn xxh3_of_file(path: &Path) -> io::Result<u128> {
    let mut file = File::open(path)?;
    let mut hasher = Xxh3Default::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.digest128()),
            count => hasher.update(&chunk[..count]),
        }
    }
}

/// Whether the table of contents of a table is whole.
fn has_contents(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let Some(trailer_at) = len.checked_sub(TRAILER_BYTES as u64) else {
        return Ok(false);
    };
    let mut trailer = [0; TRAILER_BYTES];
    file.seek(SeekFrom::Start(trailer_at))?;
    file.read_exact(&mut trailer)?;
    let Some((place, checksum)) = contents(&trailer) else {
        return Ok(false);
    };
    if place > trailer_at || trailer_at - place > MAX_CONTENTS {
        return Ok(false);
    }
    let mut contents = vec![0; (trailer_at - place) as usize];
    file.seek(SeekFrom::Start(place))?;
    file.read_exact(&mut contents)?;
    Ok(xxh3(&contents) == checksum)
}

/// The keyspaces of a copy with the manifest of each, or with what is wrong with it.
fn manifests(dir: &Path) -> io::Result<Vec<(PathBuf, Result<Manifest, String>)>> {
    let folder = dir.join(STORE).join("keyspaces");
    if !folder.try_exists()? {
        return Ok(Vec::new());
    }
    let each = keyspaces(&folder)?.into_iter().map(|number| {
        let keyspace = folder.join(number.to_string());
        let manifest = read_manifest(dir, &keyspace);
        (keyspace, manifest)
    });
    Ok(each.collect())
}

fn read_manifest(dir: &Path, keyspace: &Path) -> Result<Manifest, String> {
    let damaged = |path: &Path, why: &str| format!("{}: {why}", shown(dir, path));
    let path = keyspace.join(CURRENT);
    let current = fs::read(&path).map_err(|error| damaged(&path, &error.to_string()))?;
    let whole: Result<[u8; CURRENT_BYTES], _> = current.as_slice().try_into();
    let (Ok(whole), Some(name)) = (whole, manifest_name(&current)) else {
        return Err(damaged(&path, "it is damaged"));
    };
    let mut checksum = [0; 16];
    checksum.copy_from_slice(&whole[8..24]);
    let path = keyspace.join(name);
    let bytes = fs::read(&path).map_err(|error| damaged(&path, &error.to_string()))?;
    if xxh3(&bytes) != u128::from_le_bytes(checksum) || whole[24] != 0 {
        return Err(damaged(&path, "it is damaged: its checksum is another"));
    }
    Manifest::parse(&bytes).map_err(|why| damaged(&path, why))
}

/// The path as it stands in the directory that was copied.
fn shown(dir: &Path, path: &Path) -> String {
    path.strip_prefix(dir).unwrap_or(path).display().to_string()
}

/// Says which file would make fjall give up, or worse, before it opens a store.
pub fn check_archives(dir: &Path) -> Result<(), String> {
    for (keyspace, manifest) in manifests(dir).map_err(|error| error.to_string())? {
        for (table, _) in manifest?.tables {
            let path = keyspace.join("tables").join(table.to_string());
            match has_contents(&path) {
                Ok(true) => {}
                Ok(false) => {
                    return Err(format!("{}: it is damaged at its end", shown(dir, &path)));
                }
                Err(error) => return Err(format!("{}: {error}", shown(dir, &path))),
            }
        }
    }
    Ok(())
}

/// Reads every manifest and every table, and tells which are not as they were written. Answers how many files
/// were read.
pub fn check_all(dir: &Path, mut damaged: impl FnMut(String)) -> Result<usize, String> {
    let mut files = 0;
    for (keyspace, manifest) in manifests(dir).map_err(|error| error.to_string())? {
        files += 1;
        let manifest = match manifest {
            Ok(manifest) => manifest,
            Err(problem) => {
                damaged(problem);
                continue;
            }
        };
        for (table, checksum) in manifest.tables {
            files += 1;
            let path = keyspace.join("tables").join(table.to_string());
            match xxh3_of_file(&path) {
                Ok(known) if known == checksum => {}
                Ok(_) => damaged(format!(
                    "{}: it is damaged: its checksum is another",
                    shown(dir, &path)
                )),
                Err(error) => damaged(format!("{}: {error}", shown(dir, &path))),
            }
        }
    }
    Ok(files)
}
