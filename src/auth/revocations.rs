//! What was revoked: tokens by `jti` or subject (also what an authorizer was asked about), API keys and access keys by
//! name.
//!
//! Invariants:
//! - an entry is kept until the tokens it is about would have expired; where nobody said when, for ever;
//! - a file that cannot be read changes nothing: what was revoked stays revoked.
//!
//! A subject is revoked with all its tokens issued up to then; what its issuer signs later is good again.
//!
//! Bound: `MAX_ENTRIES` of each kind, and a file of `MAX_FILE_BYTES`.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::principal::{Principal, Proof};

/// Entries of each kind.
pub const MAX_ENTRIES: usize = 100_000;
/// What a file of that many lines may have.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Seconds for which a token may still be taken after it expired: the most that `auth.leeway` can be.
pub const SLACK: u64 = 300;
/// Bytes of a `jti`, subject or name.
const MAX_VALUE: usize = 512;

/// One line of the file, and what the API takes: just one of `jti`, `sub` and `key`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of a subject: tokens issued up to then, in Unix seconds. Not given: up to when it was taken in, or the file
    /// was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_until: Option<u64>,
    /// When the last token that it is about expires, in Unix seconds. Not given: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

#[derive(Debug, Error)]
pub enum RevocationError {
    #[error("name just one of `jti`, `sub` and `key`, of 1 to {MAX_VALUE} bytes")]
    What,
    #[error("`issued_until` belongs to a `sub`")]
    Until,
    #[error("{MAX_ENTRIES} are revoked already; give `expires_at`, so that they can be forgotten")]
    Full,
    #[error("the revocations file: {0}")]
    File(#[from] io::Error),
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Entries {
    jti: HashMap<Box<str>, Entry>,
    sub: HashMap<Box<str>, Entry>,
    key: HashMap<Box<str>, Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// Of a subject; otherwise all.
    issued_until: u64,
    /// `u64::MAX`: never.
    expires_at: u64,
}

/// See the module.
pub struct Revocations {
    entries: RwLock<Entries>,
    /// Lines of the file that name a subject and no time, by subject.
    timeless: Mutex<HashMap<Box<str>, usize>>,
    file: Option<Mutex<PathBuf>>,
}

impl Revocations {
    /// With what the file says. One that does not exist yet is empty.
    pub fn open(file: Option<&Path>, now: u64) -> Result<Self, RevocationError> {
        let revocations = Self {
            entries: RwLock::default(),
            timeless: Mutex::default(),
            file: file.map(|path| Mutex::new(path.to_owned())),
        };
        revocations.reload(now)?;
        Ok(revocations)
    }

    /// Takes in what the file says now; answers whether anything changed. Lines that say nothing good are logged
    /// and passed over.
    pub fn reload(&self, now: u64) -> Result<bool, RevocationError> {
        let Some(path) = &self.file else {
            return Ok(false);
        };
        let path = path.lock();
        let (text, written) = match read(&path) {
            Ok(read) => read,
            // one that is not there yet is empty; one that is gone takes nothing back
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.count() == 0 => {
                (String::new(), now)
            }
            Err(error) => return Err(error.into()),
        };
        // what a line without a time of its own says was true when it was written, not when a broker started
        let written = written.min(now);
        let mut entries = Entries::default();
        let mut timeless: HashMap<Box<str>, usize> = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let taken = serde_json::from_str::<Revocation>(line)
                .map_err(|error| error.to_string())
                .and_then(|one| {
                    let times = one.sub.as_ref().filter(|_| one.issued_until.is_none());
                    if let Some(sub) = times {
                        *timeless.entry(sub.as_str().into()).or_default() += 1;
                    }
                    let lines = times.map_or(0, |sub| timeless[sub.as_str()]);
                    let known = self.issued_until_of(&one, lines, written);
                    entries
                        .add(&one, known, now)
                        .map_err(|error| error.to_string())
                });
            if let Err(error) = taken {
                tracing::error!(line = at + 1, %error, "a line of the revocations file is passed over");
            }
        }
        *self.timeless.lock() = timeless;
        let mut current = self.entries.write();
        let changed = *current != entries;
        *current = entries;
        Ok(changed)
    }

    /// What was read before keeps its time, where the line gives none.
    /// `lines`: how many such lines there are of this subject so far. One more than before revokes anew.
    fn issued_until_of(&self, one: &Revocation, lines: usize, written: u64) -> u64 {
        let known = one.sub.as_deref().and_then(|sub| {
            let before = self.timeless.lock().get(sub).copied().unwrap_or(0);
            let entries = self.entries.read();
            let known = entries.sub.get(sub).filter(|_| lines <= before);
            known.map(|entry| entry.issued_until)
        });
        match one.sub {
            Some(_) => one.issued_until.or(known).unwrap_or(written),
            None => 0,
        }
    }

    /// Revokes from now on, and after a restart where there is a file: answers whether there is.
    pub fn add(&self, mut one: Revocation, now: u64) -> Result<bool, RevocationError> {
        if one.sub.is_some() {
            one.issued_until.get_or_insert(now);
        }
        one.check()?;
        let Some(path) = &self.file else {
            let until = one.issued_until.unwrap_or(0);
            self.entries.write().add(&one, until, now)?;
            return Ok(false);
        };
        // one after the other, so that no line stands inside another
        let path = path.lock();
        if self.entries.read().is_full_for(&one) {
            return Err(RevocationError::Full);
        }
        if !path.exists() {
            // it was taken away: what stands nowhere else stands there again
            for known in self.list() {
                append(&path, &known)?;
            }
        }
        append(&path, &one)?;
        let until = one.issued_until.unwrap_or(0);
        self.entries.write().add(&one, until, now)?;
        Ok(true)
    }

    /// Whether this principal's token or key is revoked.
    pub fn cover(&self, principal: &Principal) -> bool {
        let entries = self.entries.read();
        match principal.proof() {
            Proof::Open | Proof::Anonymous => false,
            Proof::Key(key) => entries.key.contains_key(&key.name),
            // `NAME` is whichever key has that name, `iam:NAME` only this one: no name has a colon
            Proof::AccessKey(key) => {
                entries.key.contains_key(&key.name) || entries.key.contains_key(&**principal.id())
            }
            // nobody says when its token was issued
            Proof::Authorizer(proof) => {
                let subject = proof.subject.as_ref();
                subject.is_some_and(|subject| entries.sub.contains_key(subject))
            }
            Proof::Token(token) => {
                let by_id = token
                    .jti
                    .as_ref()
                    .is_some_and(|jti| entries.jti.contains_key(jti));
                let is_older = |entry: &Entry| {
                    token
                        .issued_at
                        .is_none_or(|issued| issued <= entry.issued_until)
                };
                by_id || entries.sub.get(&token.subject).is_some_and(is_older)
            }
        }
    }

    /// Forgets what is about tokens that have expired.
    pub fn forget_expired(&self, before: u64) {
        let stays = |entry: &Entry| entry.expires_at >= before;
        let mut entries = self.entries.write();
        entries.jti.retain(|_, entry| stays(entry));
        entries.sub.retain(|_, entry| stays(entry));
        entries.key.retain(|_, entry| stays(entry));
    }

    pub fn count(&self) -> usize {
        let entries = self.entries.read();
        entries.jti.len() + entries.sub.len() + entries.key.len()
    }

    /// Everything that is revoked now.
    pub fn list(&self) -> Vec<Revocation> {
        let entries = self.entries.read();
        let until = |entry: &Entry| (entry.expires_at < u64::MAX).then_some(entry.expires_at);
        let mut all = Vec::with_capacity(entries.jti.len());
        all.extend(entries.jti.iter().map(|(jti, entry)| Revocation {
            jti: Some(jti.to_string()),
            expires_at: until(entry),
            ..Revocation::default()
        }));
        all.extend(entries.sub.iter().map(|(sub, entry)| Revocation {
            sub: Some(sub.to_string()),
            issued_until: Some(entry.issued_until),
            expires_at: until(entry),
            ..Revocation::default()
        }));
        all.extend(entries.key.iter().map(|(key, entry)| Revocation {
            key: Some(key.to_string()),
            expires_at: until(entry),
            ..Revocation::default()
        }));
        all
    }

    /// The file and what it looks like, to see that it changed.
    pub fn file(&self) -> Option<PathBuf> {
        self.file.as_ref().map(|path| path.lock().clone())
    }
}

impl Revocation {
    fn check(&self) -> Result<(), RevocationError> {
        let named = [&self.jti, &self.sub, &self.key];
        let mut named = named.into_iter().flatten();
        let good = |value: &String| !value.is_empty() && value.len() <= MAX_VALUE;
        if !named.next().is_some_and(good) || named.next().is_some() {
            return Err(RevocationError::What);
        }
        if self.issued_until.is_some() && self.sub.is_none() {
            return Err(RevocationError::Until);
        }
        Ok(())
    }
}

impl Entries {
    fn map_of(&self, one: &Revocation) -> &HashMap<Box<str>, Entry> {
        match one {
            Revocation { jti: Some(_), .. } => &self.jti,
            Revocation { sub: Some(_), .. } => &self.sub,
            _ => &self.key,
        }
    }

    fn is_full_for(&self, one: &Revocation) -> bool {
        self.map_of(one).len() >= MAX_ENTRIES
    }

    fn add(
        &mut self,
        one: &Revocation,
        issued_until: u64,
        now: u64,
    ) -> Result<(), RevocationError> {
        one.check()?;
        let forgotten = now.saturating_sub(SLACK);
        if one.expires_at.is_some_and(|expires| expires < forgotten) {
            return Ok(());
        }
        if self.is_full_for(one) {
            return Err(RevocationError::Full);
        }
        let (map, value) = match one {
            Revocation { jti: Some(jti), .. } => (&mut self.jti, jti),
            Revocation { sub: Some(sub), .. } => (&mut self.sub, sub),
            Revocation { key: Some(key), .. } => (&mut self.key, key),
            _ => return Err(RevocationError::What),
        };
        let entry = map.entry(value.as_str().into()).or_insert(Entry {
            issued_until: 0,
            expires_at: 0,
        });
        entry.issued_until = entry.issued_until.max(issued_until);
        entry.expires_at = entry.expires_at.max(one.expires_at.unwrap_or(u64::MAX));
        Ok(())
    }
}

/// The text, and when it was written, in Unix seconds.
fn read(path: &Path) -> io::Result<(String, u64)> {
    let mut text = String::new();
    let file = File::open(path)?;
    let written = file.metadata()?.modified()?;
    let written = written.duration_since(UNIX_EPOCH).unwrap_or_default();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!(
            "it has more than {MAX_FILE_BYTES} bytes"
        )));
    }
    Ok((text, written.as_secs()))
}

/// As a line of its own, also behind one that somebody left without its end.
fn append(path: &Path, one: &Revocation) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    let mut line = serde_json::to_string(one)?;
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            line.insert(0, '\n');
        }
    }
    line.push('\n');
    file.write_all(line.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::grants::Grants;
    use crate::auth::principal::{AuthorizerProof, KeyProof, TokenProof};
    use crate::config::Quota;

    fn token(jti: &str, subject: &str, issued_at: Option<u64>) -> Principal {
        let proof = TokenProof {
            subject: subject.into(),
            jti: Some(jti.into()),
            issued_at,
            expires: 2_000,
        };
        Principal::of_token("", proof, Grants::default())
    }

    fn key(name: &str) -> Principal {
        let proof = KeyProof {
            name: name.into(),
            hash: [0; 32],
            admin: false,
            expires: None,
            quota: Quota::default(),
        };
        Principal::of_key(proof, Grants::default())
    }

    fn by_sub(sub: &str) -> Revocation {
        Revocation {
            sub: Some(sub.into()),
            ..Revocation::default()
        }
    }

    #[test]
    fn tokens_go_by_id_or_by_subject_and_keys_by_name() {
        let revocations = Revocations::open(None, 0).expect("nothing to read");
        for one in [
            r#"{"jti":"a"}"#,
            r#"{"sub":"ada","issued_until":1000}"#,
            r#"{"key":"ci"}"#,
        ] {
            let one = serde_json::from_str(one).expect("a line");
            assert!(!revocations.add(one, 1_000).expect("it is good"));
        }
        assert!(revocations.cover(&token("a", "bob", None)));
        assert!(
            !revocations.cover(&token("ada", "a", None)),
            "each by its kind"
        );
        assert!(revocations.cover(&token("b", "ada", Some(1_000))));
        assert!(revocations.cover(&token("b", "ada", None)));
        assert!(
            !revocations.cover(&token("b", "ada", Some(1_001))),
            "a later one"
        );
        assert!(revocations.cover(&key("ci")));
        assert!(!revocations.cover(&key("ada")));
        assert_eq!((revocations.count(), revocations.list().len()), (3, 3));
    }

    #[test]
    fn what_an_authorizer_admits_goes_by_its_subject() {
        let revocations = Revocations::open(None, 0).expect("nothing to read");
        revocations.add(by_sub("ada"), 1_000).expect("it is good");
        let of = |subject: Option<&str>| {
            let subject = subject.map(Into::into);
            Principal::of_authorizer("ada", AuthorizerProof { subject }, Grants::default())
        };
        assert!(revocations.cover(&of(Some("ada"))));
        assert!(!revocations.cover(&of(Some("bob"))) && !revocations.cover(&of(None)));
    }

    #[test]
    fn an_entry_goes_when_its_tokens_have_expired() {
        let revocations = Revocations::open(None, 0).expect("nothing to read");
        let with_end = Revocation {
            expires_at: Some(500),
            ..by_sub("ada")
        };
        revocations.add(with_end, 100).expect("it is good");
        revocations.add(by_sub("bob"), 100).expect("it is good");
        revocations.forget_expired(500);
        assert_eq!(revocations.count(), 2);
        revocations.forget_expired(501);
        assert_eq!(
            revocations.list(),
            [Revocation {
                issued_until: Some(100),
                ..by_sub("bob")
            }]
        );
    }

    #[test]
    fn what_names_nothing_or_two_things_is_refused() {
        let revocations = Revocations::open(None, 0).expect("nothing to read");
        for bad in [
            r#"{}"#,
            r#"{"jti":""}"#,
            r#"{"jti":"a","sub":"b"}"#,
            r#"{"key":"a","issued_until":1}"#,
        ] {
            let one = serde_json::from_str(bad).expect("a line");
            assert!(revocations.add(one, 0).is_err(), "{bad}");
        }
        assert_eq!(revocations.count(), 0);
    }

    #[test]
    fn the_file_is_added_to_and_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("revoked");
        let revocations = Revocations::open(Some(&path), 10).expect("it need not exist");
        assert!(
            revocations
                .add(by_sub("ada"), 10)
                .expect("it can be written")
        );
        let mut file = OpenOptions::new()
            .append(true)
            .open(&path)
            .expect("it is there");
        file.write_all(b"# by hand\nnonsense\n{\"jti\":\"x\"}")
            .expect("written");
        assert!(revocations.reload(20).expect("it can be read"));
        assert!(
            !revocations.reload(30).expect("it can be read"),
            "nothing changed"
        );
        assert!(revocations.cover(&token("x", "bob", None)));
        let key = Revocation {
            key: Some("ci".into()),
            ..Revocation::default()
        };
        revocations
            .add(key, 40)
            .expect("behind a line without an end");
        let again = Revocations::open(Some(&path), 50).expect("it can be read");
        assert_eq!(again.count(), 3);
        assert!(!again.cover(&token("y", "ada", Some(11))));
        assert!(again.cover(&token("y", "ada", Some(10))));
        std::fs::remove_file(&path).expect("it is there");
        std::fs::create_dir(&path).expect("in its place");
        assert!(again.reload(60).is_err());
        assert_eq!(again.count(), 3, "what was revoked stays so");
    }

    #[test]
    fn a_token_that_may_still_be_taken_within_the_leeway_stays_revoked() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("revoked");
        let now = 1_000_000;
        let revocations = Revocations::open(Some(&path), now).expect("it need not exist");
        let expired = Revocation {
            jti: Some("a".into()),
            expires_at: Some(now - 20),
            ..Revocation::default()
        };
        revocations.add(expired, now).expect("it is good");
        assert!(revocations.cover(&token("a", "ada", None)));
        revocations.reload(now).expect("it can be read");
        assert!(revocations.cover(&token("a", "ada", None)));
        revocations.reload(now + SLACK).expect("it can be read");
        assert!(!revocations.cover(&token("a", "ada", None)));
    }

    #[test]
    fn a_file_that_is_taken_away_takes_nothing_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("revoked");
        let revocations = Revocations::open(Some(&path), 10).expect("it need not exist");
        revocations.add(by_sub("ada"), 10).expect("it is good");
        std::fs::remove_file(&path).expect("it was there");
        assert!(revocations.reload(20).is_err());
        assert!(revocations.cover(&token("a", "ada", Some(10))));
        revocations.add(by_sub("bob"), 30).expect("it is good");
        let again = Revocations::open(Some(&path), 40).expect("it can be read");
        assert_eq!(
            again.count(),
            2,
            "what stood nowhere else stands there again"
        );
    }

    #[test]
    fn one_more_line_of_a_subject_revokes_what_came_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("revoked");
        std::fs::write(&path, "{\"sub\":\"ada\"}\n").expect("written");
        let revocations = Revocations::open(Some(&path), 10).expect("it can be read");
        let later = token("a", "ada", Some(20));
        revocations.reload(30).expect("it can be read");
        assert!(!revocations.cover(&later), "the same line says nothing new");
        std::fs::write(&path, "{\"sub\":\"ada\"}\n{\"sub\":\"ada\"}\n").expect("written");
        revocations.reload(30).expect("it can be read");
        assert!(revocations.cover(&later));
    }
}
