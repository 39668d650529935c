//! JWK and JWK Set (RFC 7517), as far as signatures need them.
//!
//! Each key of a set is read for itself, so that one that is not understood takes no other with it. Errors carry
//! nothing of a key's values: a file may hold secrets.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::material::{Curve, Material};
use super::{KeyError, algorithm_name};
use crate::event::event_type::printable;

/// One key that is for verifying signatures.
pub struct Jwk {
    pub kid: Option<Box<str>>,
    pub algorithm: Option<Algorithm>,
    pub material: Material,
}

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Fields {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<Box<str>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    k: Option<String>,
    d: Option<IgnoredAny>,
}

/// The texts of the keys of a set; `None`: it has no `keys`.
pub fn split(text: &str) -> Result<Option<Vec<&str>>, KeyError> {
    let set: Set<'_> = serde_json::from_str(text).map_err(|error| KeyError::Json {
        line: error.line(),
        column: error.column(),
    })?;
    let keys = set.keys;
    Ok(keys.map(|keys| keys.into_iter().map(RawValue::get).collect()))
}

/// `None`: it is for something else than verifying.
pub fn read(text: &str) -> Result<Option<Jwk>, KeyError> {
    let fields: Fields =
        serde_json::from_str(text).map_err(|_| KeyError::Broken("it is no JWK"))?;
    // RFC 7517 §4.2 and §4.3
    let signs = fields.usage.as_deref().is_none_or(|usage| usage == "sig");
    let verifies = |operations: &Vec<String>| operations.iter().any(|one| one == "verify");
    if !signs || !fields.key_ops.as_ref().is_none_or(verifies) {
        return Ok(None);
    }
    if fields.d.is_some() {
        return Err(KeyError::Private);
    }
    let algorithm = match &fields.alg {
        None => None,
        Some(alg) => Some(named(alg)?),
    };
    Ok(Some(Jwk {
        material: fields.material()?,
        kid: fields.kid,
        algorithm,
    }))
}

fn named(alg: &str) -> Result<Algorithm, KeyError> {
    let found = super::ALGORITHMS
        .into_iter()
        .find(|algorithm| algorithm_name(*algorithm) == alg);
    found.ok_or_else(|| KeyError::Unsupported(format!("a key for `{}`", printable(alg))))
}

impl Fields {
    fn material(&self) -> Result<Material, KeyError> {
        let material = match (self.kty.as_str(), self.crv.as_deref()) {
            ("oct", _) => Material::Secret(bytes(&self.k)?),
            ("RSA", _) => Material::Rsa {
                n: bytes(&self.n)?,
                e: bytes(&self.e)?,
            },
            ("EC", Some("P-256")) => self.point(Curve::P256)?,
            ("EC", Some("P-384")) => self.point(Curve::P384)?,
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(&self.x)?),
            (kty, crv) => {
                let crv = crv.map(|crv| format!(" on {}", printable(crv)));
                let key = format!("a key `{}`{}", printable(kty), crv.unwrap_or_default());
                return Err(KeyError::Unsupported(key));
            }
        };
        Ok(material)
    }

    fn point(&self, curve: Curve) -> Result<Material, KeyError> {
        let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
        // RFC 7518 §6.2.1.2: in full, also with leading zeros; else the one could lend bytes to the other
        if x.len() != curve.bytes() || y.len() != curve.bytes() {
            return Err(KeyError::Broken("its coordinates are not of full length"));
        }
        let point = [&[0x04], &x[..], &y[..]].concat();
        Ok(Material::Ec { curve, point })
    }
}

fn bytes(value: &Option<String>) -> Result<Vec<u8>, KeyError> {
    let value = value
        .as_ref()
        .ok_or(KeyError::Broken("a part of it is missing"))?;
    URL_SAFE_NO_PAD
        .decode(value)
        .map_err(|_| KeyError::Broken("a part of it is not base64url"))
}
