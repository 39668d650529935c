//! JSON Web Tokens: what is checked, in which order (RFC 7519, RFC 8725).
//!
//! Invariants:
//! - nothing in a token chooses how it is checked: its `kid` only looks up keys that are known already, its `alg`
//!   must be one that such a key is for, and `jwk`, `jku`, `x5u`, `x5c` are never looked at;
//! - a token that says for whom it is counts for nobody else: `client_id` and `azp` are looked at only where an
//!   audience was configured and the token has no `aud`;
//! - claims count only when the signature was good; before that, `iss` is read to find the issuer.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, dangerous};
use serde::{Deserialize, Deserializer};

use super::error::AuthError;
use super::grants::{GrantTexts, Grants};
use super::keys::VerifyingKey;
use super::principal::{Principal, TokenProof};
use crate::event::event_type::printable;

/// Bytes of a token; what proxies and browsers pass on in a header.
pub const MAX_BYTES: usize = 8 << 10;
/// Bytes of a `kid`.
const MAX_KID: usize = 256;
/// Bytes of a subject: it stands in every event as `source`.
const MAX_SUBJECT: usize = 256;

/// What a token says of itself before its signature is checked.
pub struct Opened<'a> {
    text: &'a str,
    pub algorithm: Algorithm,
    pub kid: Option<String>,
    pub issuer: Option<String>,
}

#[derive(Deserialize)]
struct Issued {
    #[serde(default)]
    iss: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    aud: Option<OneOrMany>,
    /// To whom it was issued (RFC 8693 §4.3).
    #[serde(default)]
    client_id: Option<String>,
    /// The same (OpenID Connect Core §2).
    #[serde(default)]
    azp: Option<String>,
    exp: NumericDate,
    #[serde(default)]
    iat: Option<NumericDate>,
    #[serde(default)]
    jti: Option<String>,
    #[serde(default)]
    tidewire: GrantTexts,
}

/// RFC 7519 §4.1.3.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Many(many) => many.iter().any(|one| one == name),
        }
    }
}

/// Seconds since 1970, whole or not (RFC 7519 §2).
struct NumericDate(u64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // a float saturates: what is later than u64 can say is never
        f64::deserialize(deserializer).map(|seconds| Self(seconds as u64))
    }
}

/// For whom tokens have to be.
pub struct Audience {
    pub name: String,
    /// A token without any audience is taken if it was issued to that client. Access tokens of Amazon Cognito say
    /// no more than that.
    pub or_client: bool,
}

impl Audience {
    fn admits(&self, claims: &Claims) -> Result<(), AuthError> {
        let is_it = |client: &Option<String>| client.as_ref() == Some(&self.name);
        match &claims.aud {
            Some(audience) if audience.has(&self.name) => Ok(()),
            Some(_) => Err(AuthError::Audience(self.name.clone())),
            None if !self.or_client => Err(AuthError::Claims("`aud` is missing".to_owned())),
            None if is_it(&claims.client_id) || is_it(&claims.azp) => Ok(()),
            None => Err(AuthError::Audience(self.name.clone())),
        }
    }
}

/// What every token of this broker has to say, whoever signed it.
pub struct Expected<'a> {
    pub audience: &'a Audience,
    pub issuer: Option<&'a str>,
    /// Seconds.
    pub leeway: u64,
    /// Unix seconds.
    pub now: u64,
}

impl<'a> Opened<'a> {
    pub fn read(text: &'a str) -> Result<Self, AuthError> {
        if text.len() > MAX_BYTES {
            return Err(AuthError::TooLarge(MAX_BYTES));
        }
        if text.split('.').count() != 3 {
            return Err(AuthError::Malformed);
        }
        let header = jsonwebtoken::decode_header(text).map_err(|_| AuthError::Malformed)?;
        check_type(header.typ.as_deref())?;
        // RFC 7515 §4.1.11: we understand no extension, so whoever insists on one is not understood
        if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
            return Err(AuthError::Malformed);
        }
        if header.kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID) {
            return Err(AuthError::UnknownKey);
        }
        let Issued { iss } =
            dangerous::insecure_decode_claims(text).map_err(|_| AuthError::Malformed)?;
        Ok(Self {
            text,
            algorithm: header.alg,
            kid: header.kid,
            issuer: iss,
        })
    }

    /// `Ok(None)`: another key may be the right one.
    pub fn check(
        &self,
        key: &VerifyingKey,
        expected: &Expected<'_>,
    ) -> Result<Option<Principal>, AuthError> {
        if !key.algorithms().contains(&self.algorithm) {
            return Ok(None);
        }
        let mut validation = Validation::new(self.algorithm);
        validation.leeway = expected.leeway;
        validation.validate_nbf = true;
        // looked at below, with the claims that may stand for it
        validation.validate_aud = false;
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = expected.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        match jsonwebtoken::decode::<Claims>(self.text, key.decoding_key(), &validation) {
            Ok(token) => {
                expected.audience.admits(&token.claims)?;
                self.principal(token.claims, expected).map(Some)
            }
            Err(error) => match error.kind() {
                ErrorKind::InvalidSignature => Ok(None),
                _ => Err(refused(error.kind())),
            },
        }
    }

    fn principal(&self, claims: Claims, expected: &Expected<'_>) -> Result<Principal, AuthError> {
        let Claims {
            sub,
            exp,
            iat,
            jti,
            tidewire,
            ..
        } = claims;
        if sub.is_empty() || sub.len() > MAX_SUBJECT || sub.contains(char::is_control) {
            let what = format!("`sub` is 1 to {MAX_SUBJECT} bytes without controls");
            return Err(AuthError::Claims(what));
        }
        let grants: Grants = tidewire.compile(&sub)?;
        // whoever came within the leeway has what is left of it
        let expires = match exp.0 > expected.now {
            true => exp.0,
            false => exp.0.saturating_add(expected.leeway),
        };
        let proof = TokenProof {
            subject: sub.into(),
            jti: jti.map(Into::into),
            issued_at: iat.map(|iat| iat.0),
            expires,
        };
        let issuer = self.issuer.as_deref().unwrap_or_default();
        Ok(Principal::of_token(issuer, proof, grants))
    }
}

/// RFC 8725 §3.11: what was made for another purpose (an ID token says `JWT` too, and has another audience).
fn check_type(name: Option<&str>) -> Result<(), AuthError> {
    let Some(name) = name else { return Ok(()) };
    let lower = name.to_ascii_lowercase();
    match lower.strip_prefix("application/").unwrap_or(&lower) {
        "jwt" | "at+jwt" => Ok(()),
        _ => Err(AuthError::Type(printable(name))),
    }
}

fn refused(kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::ExpiredSignature => AuthError::Expired,
        ErrorKind::ImmatureSignature => AuthError::NotYetValid,
        ErrorKind::InvalidIssuer => AuthError::Issuer,
        ErrorKind::InvalidAlgorithm => AuthError::Algorithm,
        ErrorKind::MissingRequiredClaim(claim) => {
            AuthError::Claims(format!("`{}` is missing", printable(claim)))
        }
        ErrorKind::Json(error) => AuthError::Claims(printable(&error.to_string())),
        _ => AuthError::Malformed,
    }
}
