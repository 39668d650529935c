//! What a key is made of, before it is one: checked here, whichever way it was written.
//!
//! `jsonwebtoken` looks at a key only when a signature is verified (RSA), or panics if it is short (Ed25519), so
//! everything that could fail then is refused here.
//!
//! Bounds: RSA keys of 2048 to 4096 bits. Fewer are not safe (RFC 7518 §3.3); with more the library refuses to
//! verify, and each token would cost as much as many.

use jsonwebtoken::{Algorithm, DecodingKey};

use super::KeyError;

/// Of RSA keys.
pub const MIN_RSA_BITS: usize = 2048;
/// Of RSA keys.
pub const MAX_RSA_BITS: usize = 4096;
/// The largest exponent with which the library verifies.
const MAX_RSA_EXPONENT: u64 = (1 << 33) - 1;

/// The bytes of a key.
pub enum Material {
    Secret(Vec<u8>),
    /// Big-endian, as they come.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point as SEC 1 writes it, §2.3.3.
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
    Ed25519(Vec<u8>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    P256,
    P384,
}

impl Curve {
    /// Bytes of a coordinate.
    pub fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }
}

impl Material {
    /// What it is, for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Secret(_) => "a secret",
            Self::Rsa { .. } => "an RSA key",
            Self::Ec {
                curve: Curve::P256, ..
            } => "an EC key on P-256",
            Self::Ec {
                curve: Curve::P384, ..
            } => "an EC key on P-384",
            Self::Ed25519(_) => "an Ed25519 key",
        }
    }

    /// All that it can be used with.
    pub fn fitting(&self) -> &'static [Algorithm] {
        use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, RS256, RS384, RS512};
        match self {
            Self::Secret(_) => &[HS256, HS384, HS512],
            Self::Rsa { .. } => &[RS256, RS384, RS512, PS256],
            Self::Ec {
                curve: Curve::P256, ..
            } => &[ES256],
            Self::Ec {
                curve: Curve::P384, ..
            } => &[ES384],
            Self::Ed25519(_) => &[EdDSA],
        }
    }

    /// A key that can be used with all of `algorithms`, which fit it.
    pub fn into_key(self, algorithms: &[Algorithm]) -> Result<DecodingKey, KeyError> {
        let key = match self {
            Self::Secret(secret) => {
                check_secret(secret.len(), algorithms)?;
                DecodingKey::from_secret(&secret)
            }
            Self::Rsa { n, e } => {
                let (n, e) = (without_zeros(&n), without_zeros(&e));
                check_rsa(n, e)?;
                DecodingKey::from_rsa_raw_components(n, e)
            }
            Self::Ec { curve, point } => {
                check_point(curve, &point)?;
                DecodingKey::from_ec_der(&point)
            }
            Self::Ed25519(x) => {
                check_ed25519(&x)?;
                DecodingKey::from_ed_der(&x)
            }
        };
        for algorithm in algorithms {
            // an empty signature is never good; what counts is whether the library takes the key
            jsonwebtoken::crypto::verify("", b"", &key, *algorithm)
                .map_err(|_| KeyError::Broken("it is no point of its curve"))?;
        }
        Ok(key)
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// RFC 7518 §3.2: as long as the hash, or longer.
fn check_secret(has: usize, algorithms: &[Algorithm]) -> Result<(), KeyError> {
    for &algorithm in algorithms {
        let needs = match algorithm {
            Algorithm::HS384 => 48,
            Algorithm::HS512 => 64,
            _ => 32,
        };
        if has < needs {
            return Err(KeyError::ShortSecret {
                algorithm,
                needs,
                has,
            });
        }
    }
    Ok(())
}

fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), KeyError> {
    let unused = n.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits = n.len() * 8 - unused;
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return Err(KeyError::RsaBits(bits));
    }
    let exponent = match e.len() {
        1..=8 => e.iter().fold(0, |e, byte| e << 8 | u64::from(*byte)),
        _ => return Err(KeyError::Broken("its exponent is none")),
    };
    // with an even one of either there is no private key
    if exponent.is_multiple_of(2) || !(3..=MAX_RSA_EXPONENT).contains(&exponent) {
        return Err(KeyError::Broken("its exponent is none"));
    }
    if n.last().is_some_and(|last| last.is_multiple_of(2)) {
        return Err(KeyError::Broken("its modulus is even"));
    }
    Ok(())
}

/// That it is on the curve is checked by the library.
fn check_point(curve: Curve, point: &[u8]) -> Result<(), KeyError> {
    let length = match point.first() {
        Some(0x04) => 1 + 2 * curve.bytes(),
        Some(0x02 | 0x03) => 1 + curve.bytes(),
        _ => 0,
    };
    if point.len() == length {
        Ok(())
    } else {
        Err(KeyError::Broken("it is no point of its curve"))
    }
}

fn check_ed25519(x: &[u8]) -> Result<(), KeyError> {
    // the library panics with less, and leaves out what is more
    let x: &[u8; 32] = x
        .try_into()
        .map_err(|_| KeyError::Broken("it has not 32 bytes"))?;
    let mut y = *x;
    y[31] &= 0x7f;
    if SMALL_ORDER.contains(&y) {
        return Err(KeyError::Broken("anybody could sign with it"));
    }
    Ok(())
}

/// The points of Ed25519 with whose help a signature can be made without a private key: those of small order
/// (RFC 8032 §5.1.7 lets them be), without the sign, also as numbers above the prime.
const SMALL_ORDER: [[u8; 32]; 7] = {
    const fn number(first: u8, middle: u8, last: u8) -> [u8; 32] {
        let mut bytes = [middle; 32];
        bytes[0] = first;
        bytes[31] = last;
        bytes
    }
    [
        number(0, 0, 0),
        number(1, 0, 0),
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
        number(0xec, 0xff, 0x7f),
        number(0xed, 0xff, 0x7f),
        number(0xee, 0xff, 0x7f),
    ]
};

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    /// The signature that is good for the identity, and for every point of small order with some messages.
    fn can_be_forged(x: &[u8]) -> bool {
        let mut signature = [0; 64];
        signature[0] = 1;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        let key = DecodingKey::from_ed_der(x);
        (0..=255_u8).any(|message| {
            let good = jsonwebtoken::crypto::verify(&signature, &[message], &key, Algorithm::EdDSA);
            good.unwrap_or(false)
        })
    }

    #[test]
    fn what_anybody_could_sign_with_is_no_key() {
        let mut forged = 0;
        for point in SMALL_ORDER {
            let mut negative = point;
            negative[31] |= 0x80;
            for x in [point, negative] {
                forged += usize::from(can_be_forged(&x));
                let refused = Material::Ed25519(x.to_vec()).into_key(&[Algorithm::EdDSA]);
                assert!(refused.is_err(), "{x:?}");
            }
        }
        assert!(forged >= 8, "the library lets such keys be: {forged}");
    }

    #[test]
    fn numbers_that_are_no_rsa_key() {
        let n = |bytes: usize, last: u8| {
            let mut n = vec![0xff; bytes];
            n[bytes - 1] = last;
            n
        };
        let key = |n: Vec<u8>, e: &[u8]| Material::Rsa { n, e: e.to_vec() }.into_key(&[]);
        let good = [1, 0, 1];
        assert!(key(n(256, 1), &good).is_ok());
        assert!(key(n(512, 1), &[3]).is_ok());
        assert!(key([&[0, 0], &n(256, 1)[..]].concat(), &[0, 0, 3]).is_ok());
        for (bytes, bits) in [(0, 0), (255, 2040), (513, 4104)] {
            let n = if bytes == 0 { vec![] } else { n(bytes, 1) };
            assert_eq!(key(n, &good).err(), Some(KeyError::RsaBits(bits)));
        }
        let padded = [vec![0; 256], n(128, 1)].concat();
        assert_eq!(key(padded, &good).err(), Some(KeyError::RsaBits(1024)));
        assert!(key(n(256, 2), &good).is_err());
        for e in [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[3; 5], &[1; 9]] {
            assert!(key(n(256, 1), e).is_err(), "{e:?}");
        }
    }
}
