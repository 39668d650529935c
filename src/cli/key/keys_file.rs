//! A file of `[auth.key.NAME]` tables, changed as a person would change it: what is not concerned stays as it is, to
//! the byte.
//!
//! - A broker that reads it meanwhile sees the file before or after, never half of it: the new text is written
//!   beside it, synced, and takes its name.
//! - Two commands at the same time do not lose each other's key: they hold a lock on the folder.
//! - A change that would say something else than what was meant is not made: the new text is read back first.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::table::KeyTable;
use crate::cli::failure::Failure;

/// As large as a configuration may be.
const MAX_BYTES: u64 = 4 << 20;

pub struct KeysFile {
    /// As it was given, for messages.
    place: String,
    text: String,
    parsed: Table,
}

impl KeysFile {
    /// `None`: there is no such file.
    pub fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let place = path.display().to_string();
        let refused = |error: io::Error| Failure::refused(format_args!("{place}: {error}"));
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(refused(error)),
        };
        let mut text = String::new();
        file.take(MAX_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(refused)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(Failure::refused(format_args!(
                "{place} is larger than {MAX_BYTES} bytes"
            )));
        }
        Self::of(place, text).map(Some)
    }

    fn of(place: String, text: String) -> Result<Self, Failure> {
        let parsed = parse(&place, &text)?;
        let keys = Self {
            place,
            text,
            parsed,
        };
        keys.check_shape()?;
        Ok(keys)
    }

    fn check_shape(&self) -> Result<(), Failure> {
        let refused = |what: &str| {
            Err(Failure::refused(format_args!(
                "{}: `{what}` is not a table",
                self.place
            )))
        };
        let keys = match self.parsed.get("auth") {
            None => return Ok(()),
            Some(Value::Table(auth)) => match auth.get("key") {
                None => return Ok(()),
                Some(Value::Table(keys)) => keys,
                Some(_) => return refused("auth.key"),
            },
            Some(_) => return refused("auth"),
        };
        match keys.iter().find(|(_, key)| !key.is_table()) {
            Some((name, _)) => refused(&format!("auth.key.{name}")),
            None => Ok(()),
        }
    }

    /// The keys by name.
    pub fn keys(&self) -> Vec<(&str, &Table)> {
        let keys = self.parsed.get("auth").and_then(|auth| auth.get("key"));
        let keys = keys.and_then(Value::as_table).into_iter().flatten();
        keys.filter_map(|(name, key)| Some((name.as_str(), key.as_table()?)))
            .collect()
    }

    /// Appends a key.
    pub fn add(&mut self, table: &KeyTable) -> Result<(), Failure> {
        let (place, name) = (&self.place, table.name);
        for (other, key) in self.keys() {
            if other == name {
                return Err(Failure::refused(format_args!(
                    "{place} has a key `{name}` already: remove it first, or take another name"
                )));
            }
            if key.get("id").and_then(Value::as_str) == Some(table.id) {
                return Err(Failure::refused(format_args!(
                    "{place} has a key with the id {} already: `{other}`",
                    table.id
                )));
            }
        }
        let mut text = self.text.clone();
        if !text.is_empty() {
            text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
        }
        text.push_str(&table.text());
        let mut expected = self.parsed.clone();
        let added = parse(place, &table.text())?;
        let added = key_of(&added, name).cloned();
        if let (Some(keys), Some(added)) = (keys_mut(&mut expected), added) {
            keys.insert(name.to_owned(), added);
        }
        self.replace(text, expected)
    }

    /// Takes a key out.
    pub fn remove(&mut self, name: &str) -> Result<(), Failure> {
        if key_of(&self.parsed, name).is_none() {
            return Err(Failure::refused(format_args!(
                "{} has no key `{name}`",
                self.place
            )));
        }
        let mut expected = self.parsed.clone();
        if let Some(keys) = keys_mut(&mut expected) {
            keys.remove(name);
        }
        let mut text = self.text.clone();
        if let Some(lines) = lines_of(&text, name) {
            text.replace_range(lines, "");
        }
        self.replace(text, expected)
    }

    /// Takes `text`, if it says what is expected.
    fn replace(&mut self, text: String, mut expected: Table) -> Result<(), Failure> {
        let by_hand = || {
            Failure::refused(format_args!(
                "{}: its keys are not written as tables [auth.key.NAME] of their own; change it by hand",
                self.place
            ))
        };
        let mut parsed = parse(&self.place, &text).map_err(|_| by_hand())?;
        let new = parsed.clone();
        // the last key's table takes the empty ones above it with it
        prune(&mut parsed);
        prune(&mut expected);
        if parsed != expected {
            return Err(by_hand());
        }
        (self.text, self.parsed) = (text, new);
        Ok(())
    }

    /// Reads the file, which need not be there, lets `change` change it, and writes it.
    pub fn change(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let place = path.display().to_string();
        let refused = |error: io::Error| Failure::refused(format_args!("{place}: {error}"));
        // a link stays one: what it leads to is replaced
        let target = match fs::canonicalize(path) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(refused(error)),
        };
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let folder = File::open(&folder)
            .map_err(|error| Failure::refused(format_args!("{}: {error}", folder.display())))?;
        // where a file system has no locks, the last one wins
        let _ = flock(&folder, FlockOperation::LockExclusive);
        let mut keys = match Self::read(&target)? {
            Some(keys) => keys,
            None => Self::of(place.clone(), String::new())?,
        };
        keys.place.clone_from(&place);
        change(&mut keys)?;
        write(&target, &keys.text)
            .and_then(|()| folder.sync_all())
            .map_err(refused)
    }
}

/// Puts `text` in the place of the file, all or nothing.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let written = write_beside(&beside, path, text).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write_beside(beside: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(beside)?;
    // whoever may read the old one, the broker above all, may read the new one
    if let Ok(old) = fs::metadata(path) {
        let new = file.metadata()?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The message has the line, and nothing of the text.
fn parse(place: &str, text: &str) -> Result<Table, Failure> {
    text.parse().map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.as_bytes().get(..at).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Failure::refused(format_args!("{place}:{line}: {}", error.message()))
    })
}

fn key_of<'a>(root: &'a Table, name: &str) -> Option<&'a Value> {
    root.get("auth")?.get("key")?.get(name)
}

fn keys_mut(root: &mut Table) -> Option<&mut Table> {
    let empty = || Value::Table(Table::new());
    let auth = root.entry("auth").or_insert_with(empty);
    auth.as_table_mut()?
        .entry("key")
        .or_insert_with(empty)
        .as_table_mut()
}

/// Removes `auth.key` and `auth`, where nothing is in them.
fn prune(root: &mut Table) {
    let Some(Value::Table(auth)) = root.get_mut("auth") else {
        return;
    };
    if matches!(auth.get("key"), Some(Value::Table(keys)) if keys.is_empty()) {
        auth.remove("key");
    }
    if auth.is_empty() {
        root.remove("auth");
    }
}

/// The lines of the table `[auth.key.NAME]`: from its head to its last value, and the empty line that parted it from
/// its neighbour.
fn lines_of(text: &str, name: &str) -> Option<Range<usize>> {
    let (root, _) = DeTable::parse_recoverable(text);
    let auth = root.get_ref().get("auth")?.get_ref().as_table()?;
    let keys = auth.get("key")?.get_ref().as_table()?;
    let (key, table) = keys.iter().find(|(key, _)| key.get_ref() == name)?;
    let head = key.span();
    let mut start = text.get(..head.start)?.rfind('\n').map_or(0, |at| at + 1);
    let last = last_value(table.get_ref()).max(head.end);
    let mut end = end_of_line(text, last);
    let next = end_of_line(text, end);
    if text.get(end..next)?.trim().is_empty() {
        end = next;
    }
    if end == text.len() && text.get(..start)?.ends_with("\n\n") {
        start -= 1;
    }
    Some(start..end)
}

/// Behind the line in which `at` is.
fn end_of_line(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.find('\n')
        .map_or(text.len(), |newline| at + newline + 1)
}

/// Where the last value of a table ends.
fn last_value(value: &DeValue) -> usize {
    let table = value.as_table();
    let ends = table
        .into_iter()
        .flat_map(|table| table.iter())
        .map(|(_, value)| {
            let inner = last_value(value.get_ref());
            // a table's own place is that of its head
            value.span().end.max(inner)
        });
    ends.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::GrantTexts;
    use crate::cli::key::table::QuotaFlags;

    fn file(text: &str) -> KeysFile {
        KeysFile::of("keys.toml".into(), text.into()).expect("a keys file")
    }

    fn add(keys: &mut KeysFile, name: &str, id: &str) -> Result<(), Failure> {
        let grants = GrantTexts {
            publish: vec!["/a/**".into()],
            ..GrantTexts::default()
        };
        keys.add(&KeyTable {
            name,
            id,
            hash: [7; 32],
            grants: &grants,
            admin: false,
            expires: None,
            quota: QuotaFlags::default(),
        })
    }

    #[test]
    fn what_is_added_can_be_removed_and_nothing_else_changes() {
        for before in [
            "",
            "# ours\n",
            "# no line end",
            "[auth.key.old]\nid = \"a\" # why\nsubscribe = [\n  \"/x\", # one\n]\n# the end\n",
            "auth.leeway = \"30s\"\n",
            "[auth.key.old]\r\nid = \"a\"\r\n",
        ] {
            let mut keys = file(before);
            add(&mut keys, "new", "b").expect(before);
            add(&mut keys, "newer", "c").expect(before);
            assert!(keys.text.starts_with(before));
            let names: Vec<_> = keys.keys().into_iter().map(|(name, _)| name).collect();
            assert!(
                names.contains(&"new") && names.contains(&"newer"),
                "{names:?}"
            );
            keys.remove("new").expect(before);
            assert!(keys.keys().iter().all(|(name, _)| *name != "new"));
            keys.remove("newer").expect(before);
            assert_eq!(keys.text.trim_end(), before.trim_end());
        }
    }

    #[test]
    fn comments_and_order_survive_a_removal() {
        let mut keys = file(
            "# who may come in\n\n# first\n[auth.key.a]\nid = \"1\" # n\n\n# second\n[ auth . key . \"b\" ] # x\n\
             id = \"2\"\npublish = [\n  \"/b\", # [auth.key.c]\n  \"/bb\",\n]\n# of b\n\n[auth.key.c]\nid = \"3\"\n",
        );
        keys.remove("b").expect("it is there");
        assert_eq!(
            keys.text,
            "# who may come in\n\n# first\n[auth.key.a]\nid = \"1\" # n\n\n# second\n# of b\n\n[auth.key.c]\nid = \"3\"\n"
        );
        keys.remove("c").expect("it is there");
        keys.remove("a").expect("it is there");
        assert!(keys.keys().is_empty() && keys.text.contains("# of b"));
    }

    #[test]
    fn a_name_or_an_id_that_is_there_is_refused() {
        let mut keys = file("[auth.key.a]\nid = \"1\"\n");
        let before = keys.text.clone();
        assert!(add(&mut keys, "a", "2").is_err());
        assert!(add(&mut keys, "b", "1").is_err());
        assert!(keys.remove("b").is_err());
        assert_eq!(keys.text, before);
    }

    #[test]
    fn what_is_written_otherwise_is_left_to_a_person() {
        for text in [
            "auth = { key = { a = { id = \"1\" } }, cookie = \"c\" }\n",
            "[auth.key]\nb.id = \"2\"\na.id = \"1\"\nb.admin = true\na.admin = true\n",
            "[auth.key.a.deep]\nx = 1\n[other]\ny = 1\n[auth.key.a]\nid = \"1\"\n",
        ] {
            let mut keys = file(text);
            let refused = keys.remove("a").expect_err(text).to_string();
            assert!(refused.contains("by hand"), "{refused}");
            assert_eq!(keys.text, text);
        }
        let mut inline = file("auth = { key = {} }\n");
        assert!(add(&mut inline, "a", "1").is_err());
        // one line of its own is as good as a table
        let mut dotted = file("[auth.key]\nb = { id = \"2\" }\na = { id = \"1\" }\n");
        dotted.remove("a").expect("a line of its own");
        assert_eq!(dotted.text, "[auth.key]\nb = { id = \"2\" }\n");
    }

    #[test]
    fn a_file_that_cannot_be_read_names_the_line_and_no_value() {
        for text in [
            "\n\nhash = sha256:00ff\n",
            "auth = 1\n",
            "[auth]\nkey = 2\n",
            "[auth.key]\na = 3\n",
        ] {
            let refused = KeysFile::of("keys.toml".into(), text.into())
                .err()
                .expect(text);
            let refused = refused.to_string();
            assert!(
                refused.contains("keys.toml") && !refused.contains("00ff"),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        let folder = std::env::temp_dir().join(format!("tidewire-keys-{}", std::process::id()));
        fs::create_dir(&folder).expect("a folder");
        let path = folder.join("keys.toml");
        let mode = || fs::metadata(&path).expect("a file").mode() & 0o777;
        KeysFile::change(&path, |keys| add(keys, "a", "1")).expect("a new file");
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("our file");
        let link = folder.join("link.toml");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        KeysFile::change(&link, |keys| add(keys, "b", "2")).expect("a second key");
        assert_eq!(mode(), 0o640);
        assert!(fs::symlink_metadata(&link).expect("the link").is_symlink());
        assert!(KeysFile::change(&path, |keys| add(keys, "b", "3")).is_err());
        let names: Vec<_> = fs::read_dir(&folder).expect("the folder").collect();
        assert_eq!(names.len(), 2, "nothing is left behind: {names:?}");
        let kept = KeysFile::read(&path).expect("good").expect("there");
        assert_eq!(kept.keys().len(), 2);
        fs::remove_dir_all(&folder).expect("our folder");
    }
}
