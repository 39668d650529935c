//! API keys as text: `tw_ID_SECRET`. How they are made, read, and compared with what is stored.
//!
//! - ID, 12 of a-z0-9, is public: by it a key is found.
//! - SECRET is 32 random bytes in base64url, 43 characters.
//! - Stored is SHA-256 of the whole text. A slow, salted hash protects what people think up, against a
//!   dictionary; nobody tries 2^256 secrets, and each request would pay for it.

use std::fmt;

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// How every key begins, and no token does.
const PREFIX: &str = "tw_";
/// Characters of an id that is made here, and of one that may be configured.
const ID_LENGTH: usize = 12;
const ID_LENGTHS: RangeInclusive<usize> = 8..=32;
const ID_CHARACTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// How a stored hash begins; the rest is 64 hexadecimal digits.
const HASH_PREFIX: &str = "sha256:";

/// A new key, which is shown once.
pub struct ApiKeyText(String);

impl ApiKeyText {
    /// # Errors
    /// The operating system has no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret)?;
        let secret = URL_SAFE_NO_PAD.encode(secret);
        Ok(Self(format!("{PREFIX}{}_{secret}", random_id()?)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn id(&self) -> &str {
        &self.0[PREFIX.len()..PREFIX.len() + ID_LENGTH]
    }

    /// What is stored of it.
    pub fn hash(&self) -> [u8; 32] {
        hash(&self.0)
    }
}

/// Without the secret.
impl fmt::Debug for ApiKeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeyText({PREFIX}{}_…)", self.id())
    }
}

/// A text that has the form of a key. Whether it is one, `matches` tells.
#[derive(Clone, Copy)]
pub struct ParsedKey<'a> {
    /// By which it is found.
    pub id: &'a str,
    text: &'a str,
}

impl ParsedKey<'_> {
    pub fn hash(&self) -> [u8; 32] {
        hash(self.text)
    }

    /// In a time that tells nothing about where they differ.
    pub fn matches(&self, stored: &[u8; 32]) -> bool {
        self.hash().ct_eq(stored).into()
    }
}

/// Without the secret.
impl fmt::Debug for ParsedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParsedKey({PREFIX}{}_…)", self.id)
    }
}

/// The parts of `text`, if it has the form of a key.
pub fn parse(text: &str) -> Option<ParsedKey<'_>> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let mut bytes = [0; SECRET_BYTES + 1];
    let is_secret = URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes) == Ok(SECRET_BYTES);
    (is_id(id) && is_secret).then_some(ParsedKey { id, text })
}

/// Whether `text` is meant as a key, well formed or not.
pub fn looks_like_key(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Whether `text` could be a key's id.
pub fn is_id(text: &str) -> bool {
    ID_LENGTHS.contains(&text.len()) && text.bytes().all(|byte| ID_CHARACTERS.contains(&byte))
}

/// What is stored of a key: SHA-256 of its whole text.
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// A hash as the configuration has it: `sha256:` and 64 hexadecimal digits.
pub fn hash_text(hash: &[u8; 32]) -> String {
    use fmt::Write as _;
    hash.iter().fold(HASH_PREFIX.to_owned(), |mut text, byte| {
        // a String takes everything
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The hash that the configuration has as `text`.
pub fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix(HASH_PREFIX)?;
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(hash)
}

fn random_id() -> Result<String, getrandom::Error> {
    // the largest multiple of 36 in a byte: each character is as likely as any other
    const FAIR: u8 = 252;
    let mut id = String::with_capacity(ID_LENGTH);
    while id.len() < ID_LENGTH {
        let mut bytes = [0; 2 * ID_LENGTH];
        getrandom::fill(&mut bytes)?;
        let fair = bytes.iter().filter(|byte| **byte < FAIR);
        let characters = fair.map(|byte| char::from(ID_CHARACTERS[usize::from(*byte) % 36]));
        id.extend(characters.take(ID_LENGTH - id.len()));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_read_back_and_matches_its_hash_only() {
        let [key, other] = [(); 2].map(|()| ApiKeyText::generate().expect("randomness"));
        assert_eq!(key.as_str().len(), 3 + 12 + 1 + 43);
        let parsed = parse(key.as_str()).expect("the form of a key");
        assert_eq!(parsed.id, key.id());
        assert!(parsed.matches(&key.hash()) && parsed.matches(&hash(key.as_str())));
        assert!(!parsed.matches(&other.hash()));
        assert_ne!((key.as_str(), key.id()), (other.as_str(), other.id()));
    }

    #[test]
    fn what_has_not_the_form_of_a_key_is_none() {
        let secret = "A".repeat(43);
        let good = format!("tw_abcdefgh0123_{secret}");
        assert!(parse(&good).is_some());
        for bad in [
            String::new(),
            "tw_".into(),
            "tw_abcdefgh0123".into(),
            "tw_abcdefgh0123_".into(),
            format!("tx_abcdefgh0123_{secret}"),
            format!("tw_abcdefg_{secret}"),
            format!("tw_{}_{secret}", "a".repeat(33)),
            format!("tw_ABCDEFGH0123_{secret}"),
            format!("tw_abcdefgh012é_{secret}"),
            format!("tw_abcdefgh0123_{secret}A"),
            format!("tw_abcdefgh0123_{}", &secret[1..]),
            format!("tw_abcdefgh0123_{}=", &secret[1..]),
            // two bits that 32 bytes do not have
            format!("tw_abcdefgh0123_{}B", &secret[1..]),
            format!("{good} "),
            format!("{good}\n"),
        ] {
            assert!(parse(&bad).is_none(), "{bad:?}");
        }
        assert!(looks_like_key("tw_x") && !looks_like_key("eyJ.e.s"));
    }

    #[test]
    fn the_hash_is_that_of_sha256sum() {
        // printf %s abc | sha256sum
        let text = hash_text(&hash("abc"));
        assert_eq!(
            text,
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(parse_hash(&text), Some(hash("abc")));
        assert_eq!(parse_hash(&text.to_uppercase()), None);
        for bad in ["", "sha256:", "sha256:+a", &text[..70], &text[7..]] {
            assert_eq!(parse_hash(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_secret_is_in_debug_output() {
        let key = ApiKeyText::generate().expect("randomness");
        let secret = &key.as_str()[16..];
        let parsed = parse(key.as_str()).expect("a key");
        assert!(!format!("{key:?} {parsed:?}").contains(secret));
    }
}
