//! Why somebody is not let in, for people and for the metrics. Says nothing of what the broker knows beyond
//! what the one who asked brought along.

use thiserror::Error;

use super::grants::InvalidGrant;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum AuthError {
    #[error(
        "show who you are: a token or key in `Authorization: Bearer …`, or as docs/protocol.md says"
    )]
    Missing,
    #[error("the credential is neither a JSON Web Token nor an API key of this broker")]
    Malformed,
    #[error("a token has at most {0} bytes")]
    TooLarge(usize),
    #[error("a token of type `{0}` is not taken: `JWT` and `at+jwt` are")]
    Type(String),
    #[error("the token is signed with an algorithm that no key of its issuer is for")]
    Algorithm,
    #[error("the token's issuer is not one of this broker's")]
    Issuer,
    #[error("the token names a key that its issuer does not have")]
    UnknownKey,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token is not for `{0}`")]
    Audience(String),
    #[error("the token's claims: {0}")]
    Claims(String),
    #[error("the token's claim `tidewire`: {0}")]
    Grant(#[from] InvalidGrant),
    #[error("the key is not known here")]
    KeyUnknown,
    #[error("the key has expired")]
    KeyExpired,
    #[error("it was revoked")]
    Revoked,
    #[error("the request's AWS signature: {0}")]
    Signed(&'static str),
    #[error("the request was signed more than 5 minutes ago, or its clock is that far ahead")]
    SignedTime,
    #[error("the request's AWS signature is wrong")]
    RequestSignature,
    /// By the authorizer.
    #[error("the authorizer of this broker does not admit it")]
    Denied,
    /// Coming back later may mend it.
    #[error("what this credential is checked with cannot be had at the moment; try again")]
    Unavailable,
}

impl AuthError {
    /// The label of the metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::TooLarge(_) => "too_large",
            Self::Type(_) => "type",
            Self::Algorithm => "algorithm",
            Self::Issuer => "issuer",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Audience(_) => "audience",
            Self::Claims(_) => "claims",
            Self::Grant(_) => "grant",
            Self::KeyUnknown => "key_unknown",
            Self::KeyExpired => "key_expired",
            Self::Revoked => "revoked",
            Self::Signed(_) => "signed",
            Self::SignedTime => "signed_time",
            Self::RequestSignature => "request_signature",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
        }
    }
}
