//! Public keys as `openssl` writes them: PEM (RFC 7468) around SubjectPublicKeyInfo (RFC 5280 §4.1) or
//! PKCS#1 (RFC 8017 appendix A.1.1).
//!
//! Reads what a public key needs of DER and nothing else: definite lengths in their shortest form, no
//! recursion, no bytes left over. What is in a key is checked by `material`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::KeyError;
use super::material::{Curve, Material};
use crate::event::event_type::printable;

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// rsaEncryption, 1.2.840.113549.1.1.1
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// id-RSASSA-PSS, 1.2.840.113549.1.1.10
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
/// id-ecPublicKey, 1.2.840.10045.2.1
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// prime256v1, 1.2.840.10045.3.1.7
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// secp384r1, 1.3.132.0.34
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// id-Ed25519, 1.3.101.112 (RFC 8410)
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const NULL: &[u8] = &[0x05, 0x00];

/// The one public key in a PEM text.
pub fn read_pem(text: &str) -> Result<Material, KeyError> {
    let mut labels = text.split(BEGIN).skip(1).map(label);
    if labels.clone().any(|label| label.ends_with("PRIVATE KEY")) {
        return Err(KeyError::Private);
    }
    let found = labels.next().ok_or(KeyError::Pem)?;
    if found.ends_with("CERTIFICATE") {
        return Err(KeyError::Certificate);
    }
    if labels.next().is_some() {
        return Err(KeyError::SeveralPem);
    }
    let read = match found {
        "PUBLIC KEY" => public_key,
        "RSA PUBLIC KEY" => rsa_public_key,
        other => return Err(KeyError::Unsupported(format!("`{}`", printable(other)))),
    };
    read(&inside(text, found).ok_or(KeyError::Pem)?)
}

/// Whether this is the DER of a key or a certificate: nothing secret, whatever it is taken for.
pub fn is_der(bytes: &[u8]) -> bool {
    let mut outer = Der(bytes);
    let Some(mut content) = outer.take(SEQUENCE) else {
        return false;
    };
    outer.is_empty() && (Der(content.0).take(SEQUENCE).is_some() || content.take(INTEGER).is_some())
}

fn label(after_begin: &str) -> &str {
    after_begin.split(DASHES).next().unwrap_or_default()
}

/// What stands between the lines of the label.
fn inside(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("{BEGIN}{label}{DASHES}"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}{DASHES}"))?;
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(body).ok()
}

fn public_key(der: &[u8]) -> Result<Material, KeyError> {
    let (algorithm, parameters, key) = parts(der).ok_or(KeyError::Pem)?;
    match algorithm {
        RSA if parameters.is_empty() || parameters == NULL => rsa_public_key(key),
        EC => {
            let mut parameters = Der(parameters);
            let curve = match parameters.take(OID) {
                Some(Der(P256)) => Curve::P256,
                Some(Der(P384)) => Curve::P384,
                _ => {
                    return Err(KeyError::Unsupported(
                        "an EC key that is on neither P-256 nor P-384".into(),
                    ));
                }
            };
            Ok(Material::Ec {
                curve,
                point: key.to_vec(),
            })
        }
        ED25519 if parameters.is_empty() => Ok(Material::Ed25519(key.to_vec())),
        RSA_PSS => Err(KeyError::Unsupported(
            "an RSA key that says it is for PSS only".into(),
        )),
        _ => Err(KeyError::Unsupported(
            "a key that is neither RSA, EC nor Ed25519".into(),
        )),
    }
}

/// The algorithm, its parameters and the key's own bytes.
fn parts(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut outer = Der(der);
    let mut info = outer.take(SEQUENCE)?;
    let mut identifier = info.take(SEQUENCE)?;
    let algorithm = identifier.take(OID)?;
    let bits = info.take(BIT_STRING)?;
    // the first byte counts the bits that are not used
    let key = bits.0.strip_prefix(&[0])?;
    (outer.is_empty() && info.is_empty()).then_some((algorithm.0, identifier.0, key))
}

fn rsa_public_key(der: &[u8]) -> Result<Material, KeyError> {
    let read = || {
        let mut outer = Der(der);
        let mut numbers = outer.take(SEQUENCE)?;
        let n = numbers.positive()?.to_vec();
        let e = numbers.positive()?.to_vec();
        (outer.is_empty() && numbers.is_empty()).then_some(Material::Rsa { n, e })
    };
    read().ok_or(KeyError::Pem)
}

/// What is left to read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The content of what comes next, if it is that.
    fn take(&mut self, tag: u8) -> Option<Der<'a>> {
        let (&found, rest) = self.0.split_first()?;
        let (&short, rest) = rest.split_first()?;
        let (length, rest) = match short {
            0..=0x7f => (usize::from(short), rest),
            // no key has more than 64 KiB
            0x81 | 0x82 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
                let length = bytes
                    .iter()
                    .fold(0, |length, byte| length << 8 | usize::from(*byte));
                let shortest = length >= if short == 0x81 { 0x80 } else { 0x100 };
                shortest.then_some((length, rest))?
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        if found != tag {
            return None;
        }
        self.0 = rest;
        Some(Der(content))
    }

    /// A positive INTEGER, without its leading zero.
    fn positive(&mut self) -> Option<&'a [u8]> {
        let Der(bytes) = self.take(INTEGER)?;
        match bytes {
            [] | [0x80..=0xff, ..] => None,
            [0, rest @ ..] => Some(rest),
            all => Some(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_definite_and_short() {
        for good in [&[0x30, 0x02, 0x30, 0x00][..], &[0x30, 0x03, 0x02, 1, 5]] {
            assert!(is_der(good), "{good:?}");
        }
        for bad in [
            &[][..],
            &[0x30],
            &[0x30, 0x80, 0x30, 0x00, 0, 0],
            &[0x30, 0x81, 0x02, 0x30, 0x00],
            &[0x30, 0x82, 0x00, 0x02, 0x30, 0x00],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0x02, 0x30, 0x00, 0x00],
            &[0x30, 0x03, 0x30, 0x02],
        ] {
            assert!(!is_der(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_key_that_is_cut_anywhere_is_none() {
        let pem = include_str!("../testdata/rsa.public.test.pem");
        let der = inside(pem, "PUBLIC KEY").expect("base64");
        assert!(public_key(&der).is_ok());
        for end in 0..der.len() {
            assert!(public_key(&der[..end]).is_err(), "{end}");
        }
        let longer = [&der[..], &[0]].concat();
        assert!(public_key(&longer).is_err());
    }
}
