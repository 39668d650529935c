//! The keys with which tokens are verified, from a secret, a file or an address.
//!
//! Invariants: what a key may be used with comes from the configuration and from what the key is, never from a
//! token (RFC 8725 §3.1); text that is public by its form (PEM, JSON, DER) never becomes a secret, whatever the
//! configuration says; a key that could not verify is an error when it is read, not when it is used.
//!
//! Bounds: `MAX_TEXT` bytes to read, `MAX_KEYS` keys in a set, `MAX_CANDIDATES` of them tried for a token; for RSA
//! those of `material`.

mod der;
mod jwk;
mod material;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey};
use thiserror::Error;

use jwk::Jwk;
use material::{MAX_RSA_BITS, MIN_RSA_BITS, Material};

/// Keys in a set.
pub const MAX_KEYS: usize = 100;
/// Keys that one token is checked with.
pub const MAX_CANDIDATES: usize = 8;
/// Bytes of a file, variable or answer.
pub const MAX_TEXT: usize = 1 << 20;

/// All that there are for us.
pub const ALGORITHMS: [Algorithm; 10] = [
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Its name in a token (RFC 7518 §3.1, RFC 8037 §3.1).
pub fn algorithm_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HS256 => "HS256",
        Algorithm::HS384 => "HS384",
        Algorithm::HS512 => "HS512",
        Algorithm::RS256 => "RS256",
        Algorithm::RS384 => "RS384",
        Algorithm::RS512 => "RS512",
        Algorithm::PS256 => "PS256",
        Algorithm::ES256 => "ES256",
        Algorithm::ES384 => "ES384",
        Algorithm::EdDSA => "EdDSA",
        _ => "an algorithm that is not supported",
    }
}

/// Why keys are not taken. No text carries anything of a key's bytes.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum KeyError {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {} KiB", MAX_TEXT >> 10)]
    TooLong,
    #[error("it looks like {0}, which is never taken as a secret: who has seen it could sign")]
    NotSecret(&'static str),
    #[error(
        "a secret for {} needs {needs} bytes or more, and this one has {has}",
        algorithm_name(*.algorithm)
    )]
    ShortSecret {
        algorithm: Algorithm,
        needs: usize,
        has: usize,
    },
    #[error("it is a private key, and only who signs needs that: give the public key")]
    Private,
    #[error(
        "it is a certificate: give its public key (openssl x509 -pubkey -noout -in CERTIFICATE)"
    )]
    Certificate,
    #[error("it is no public key in PEM")]
    Pem,
    #[error("it holds more than one PEM block: give several keys as a JWK Set")]
    SeveralPem,
    #[error("{0} is not supported: keys are RSA, EC on P-256 or P-384, or Ed25519")]
    Unsupported(String),
    #[error("it is an RSA key of {0} bits, and those have {MIN_RSA_BITS} to {MAX_RSA_BITS}")]
    RsaBits(usize),
    #[error("it is broken: {0}")]
    Broken(&'static str),
    #[error("{key} cannot be used with {algorithms}")]
    NoAlgorithm { key: String, algorithms: String },
    #[error(
        "it begins with `{{`, as no secret may, and is no good JSON (line {line}, column {column})"
    )]
    Json { line: usize, column: usize },
    #[error("it is no JWK Set: it has no `keys`")]
    NoSet,
    #[error("none of its {0} keys can be used")]
    NothingUsable(usize),
    #[error("it has more than {MAX_KEYS} keys")]
    TooMany,
    /// One key of a set in a file.
    #[error("key {number}: {why}")]
    InSet { number: usize, why: Box<KeyError> },
}

/// A key, and what it may be used with. Its `Debug` shows nothing of the key itself.
#[derive(Debug, Clone)]
pub struct VerifyingKey {
    kid: Option<Box<str>>,
    algorithms: Box<[Algorithm]>,
    key: DecodingKey,
}

impl VerifyingKey {
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    pub fn decoding_key(&self) -> &DecodingKey {
        &self.key
    }

    fn of_jwk(jwk: Jwk, configured: &[Algorithm]) -> Result<Self, KeyError> {
        let all = jwk.material.fitting();
        let implied = match jwk.material {
            Material::Rsa { .. } => all,
            _ => &all[..1],
        };
        Self::new(jwk.kid, jwk.material, jwk.algorithm, implied, configured)
    }

    /// `own`: what the key says of itself; `implied`: what it may be used with if nobody says anything.
    fn new(
        kid: Option<Box<str>>,
        material: Material,
        own: Option<Algorithm>,
        implied: &[Algorithm],
        configured: &[Algorithm],
    ) -> Result<Self, KeyError> {
        let fits = |algorithm: &Algorithm| material.fitting().contains(algorithm);
        let possible = match &own {
            Some(own) if !fits(own) => {
                return Err(KeyError::NoAlgorithm {
                    key: material.name().into(),
                    algorithms: format!("its own `alg`, {}", names(&[*own])),
                });
            }
            Some(own) => std::slice::from_ref(own),
            None if configured.is_empty() => implied,
            None => material.fitting(),
        };
        let agreed =
            |algorithm: &&Algorithm| configured.is_empty() || configured.contains(algorithm);
        let algorithms: Box<[Algorithm]> = possible.iter().filter(agreed).copied().collect();
        if algorithms.is_empty() {
            let own = own.map(|own| format!(" for {}", names(&[own])));
            return Err(KeyError::NoAlgorithm {
                key: format!("{}{}", material.name(), own.unwrap_or_default()),
                algorithms: names(configured),
            });
        }
        let key = material.into_key(&algorithms)?;
        Ok(Self {
            kid,
            algorithms,
            key,
        })
    }
}

fn names(algorithms: &[Algorithm]) -> String {
    let names: Vec<&str> = algorithms.iter().map(|one| algorithm_name(*one)).collect();
    names.join(", ")
}

/// Keys of one issuer: one or more, at most `MAX_KEYS`.
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: Box<[VerifyingKey]>,
}

impl KeySet {
    /// A secret, a public key in PEM, a JWK or a JWK Set, as a file or variable holds it. Without `algorithms`
    /// each key is used with what its kind says.
    pub fn read(text: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeyError> {
        if text.len() > MAX_TEXT {
            return Err(KeyError::TooLong);
        }
        match Form::of(text) {
            Form::Json(text) => Self::read_json(text, algorithms),
            Form::Pem(text) => {
                let material = der::read_pem(text)?;
                let implied = &material.fitting()[..1];
                VerifyingKey::new(None, material, None, implied, algorithms).map(Self::one)
            }
            Form::Bytes => {
                // that of the editor or the shell which wrote the file
                let line = text.strip_suffix(b"\n").unwrap_or(text);
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                Self::secret(line, algorithms)
            }
        }
    }

    /// What a JWKS address answered. Secrets are never taken from there; keys that are not for signatures, that
    /// we cannot use or that should not be public are passed over.
    pub fn read_published(body: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeyError> {
        if body.len() > MAX_TEXT {
            return Err(KeyError::TooLong);
        }
        let Form::Json(text) = Form::of(body) else {
            return Err(KeyError::NoSet);
        };
        let texts = jwk::split(text)?.ok_or(KeyError::NoSet)?;
        let mut keys = Vec::new();
        for text in &texts {
            let Ok(Some(jwk)) = jwk::read(text) else {
                continue;
            };
            if matches!(jwk.material, Material::Secret(_)) {
                continue;
            }
            keys.extend(VerifyingKey::of_jwk(jwk, algorithms));
            if keys.len() > MAX_KEYS {
                return Err(KeyError::TooMany);
            }
        }
        Self::of(keys, texts.len())
    }

    /// A shared secret, byte for byte.
    pub fn secret(secret: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeyError> {
        if secret.is_empty() {
            return Err(KeyError::Empty);
        }
        if secret.len() > MAX_TEXT {
            return Err(KeyError::TooLong);
        }
        if let Some(what) = looks_public(secret) {
            return Err(KeyError::NotSecret(what));
        }
        let material = Material::Secret(secret.to_vec());
        let implied = &material.fitting()[..1];
        VerifyingKey::new(None, material, None, implied, algorithms).map(Self::one)
    }

    fn read_json(text: &str, algorithms: &[Algorithm]) -> Result<Self, KeyError> {
        let Some(texts) = jwk::split(text)? else {
            let jwk = jwk::read(text)?.ok_or(KeyError::NothingUsable(1))?;
            return VerifyingKey::of_jwk(jwk, algorithms).map(Self::one);
        };
        let mut keys = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let key = jwk::read(text)
                .and_then(|jwk| {
                    jwk.map(|jwk| VerifyingKey::of_jwk(jwk, algorithms))
                        .transpose()
                })
                .map_err(|why| KeyError::InSet {
                    number: index + 1,
                    why: Box::new(why),
                })?;
            keys.extend(key);
            if keys.len() > MAX_KEYS {
                return Err(KeyError::TooMany);
            }
        }
        Self::of(keys, texts.len())
    }

    fn of(keys: Vec<VerifyingKey>, there: usize) -> Result<Self, KeyError> {
        if keys.is_empty() {
            return Err(KeyError::NothingUsable(there));
        }
        Ok(Self { keys: keys.into() })
    }

    fn one(key: VerifyingKey) -> Self {
        Self {
            keys: Box::new([key]),
        }
    }

    pub fn keys(&self) -> &[VerifyingKey] {
        &self.keys
    }

    /// The keys that a token with this `kid` and algorithm may be checked with, at most `MAX_CANDIDATES`: those
    /// with exactly that `kid`, then those without any; for a token without one, all that fit.
    pub fn candidates<'a>(
        &'a self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a VerifyingKey> {
        let named = self
            .keys
            .iter()
            .filter(move |key| kid.is_some() && key.kid() == kid);
        let others = self
            .keys
            .iter()
            .filter(move |key| kid.is_none() || key.kid.is_none());
        named
            .chain(others)
            .filter(move |key| key.algorithms.contains(&algorithm))
            .take(MAX_CANDIDATES)
    }

    /// Whether looking for newer keys could bring nothing for this `kid`: there is a key of that name. Of tokens
    /// that name none, nobody can say, so they wait for the next fetch that is due.
    pub fn knows(&self, kid: Option<&str>) -> bool {
        kid.is_none() || self.keys.iter().any(|key| key.kid() == kid)
    }
}

/// How a text has to be read; nothing but `Bytes` can be a secret.
enum Form<'a> {
    Json(&'a str),
    Pem(&'a str),
    Bytes,
}

impl<'a> Form<'a> {
    fn of(text: &'a [u8]) -> Self {
        let Ok(text) = std::str::from_utf8(text) else {
            return Self::Bytes;
        };
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.starts_with('{') {
            Self::Json(text)
        } else if text.contains("-----BEGIN") {
            // RFC 7468 §2: there may be a text before it
            Self::Pem(text)
        } else {
            Self::Bytes
        }
    }
}

/// What may have been published, by its form: as a secret it would let everybody sign.
fn looks_public(secret: &[u8]) -> Option<&'static str> {
    // also if there is something before or after it that is no UTF-8
    let start = secret.trim_ascii_start();
    if start.starts_with(b"{") || matches!(Form::of(secret), Form::Json(_)) {
        return Some("JSON");
    }
    if secret.windows(10).any(|part| part == b"-----BEGIN") {
        return Some("a key or certificate in PEM");
    }
    if start.starts_with(b"ssh-") || start.starts_with(b"ecdsa-sha2-") {
        return Some("a public key of SSH");
    }
    let der = || {
        let dense: Vec<u8> = secret
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        STANDARD
            .decode(dense)
            .is_ok_and(|bytes| der::is_der(&bytes))
    };
    (der::is_der(secret) || der()).then_some("a key or certificate in DER")
}
