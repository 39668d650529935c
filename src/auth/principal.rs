//! Somebody, with what they may do. Shared by everything that acts for them.

use std::sync::{Arc, LazyLock};

use super::grants::{Action, Grants};
use crate::config::{Access, Namespace, Quota};
use crate::event::{TopicPath, TopicPattern};

/// Who is at the other end of a connection or request. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Principal(Arc<Identity>);

#[derive(Debug)]
struct Identity {
    id: Arc<str>,
    name: Arc<str>,
    proof: Proof,
    grants: Grants,
}

/// How they showed who they are.
#[derive(Debug)]
pub enum Proof {
    /// Nobody asks: everybody may do everything.
    Open,
    /// They did not.
    Anonymous,
    Token(TokenProof),
    Key(KeyProof),
    /// They signed a request.
    AccessKey(AccessKeyProof),
    /// An authorizer was asked.
    Authorizer(AuthorizerProof),
}

impl Proof {
    /// The label of the metric.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Anonymous => "anonymous",
            Self::Token(_) => "token",
            Self::Key(_) => "key",
            Self::AccessKey(_) => "access_key",
            Self::Authorizer(_) => "authorizer",
        }
    }
}

/// What a token said beside its grants.
#[derive(Debug)]
pub struct TokenProof {
    pub subject: Box<str>,
    pub jti: Option<Box<str>>,
    /// Unix seconds.
    pub issued_at: Option<u64>,
    /// Unix seconds.
    pub expires: u64,
}

/// An API key as it is configured.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyProof {
    pub name: Box<str>,
    pub hash: [u8; 32],
    pub admin: bool,
    /// Unix seconds.
    pub expires: Option<u64>,
    pub quota: Quota,
}

/// An access key as it is configured, without its secret.
#[derive(Debug)]
pub struct AccessKeyProof {
    pub name: Box<str>,
    /// Unix seconds.
    pub expires: Option<u64>,
}

/// What an authorizer said beside yes.
#[derive(Debug)]
pub struct AuthorizerProof {
    pub subject: Option<Box<str>>,
}

/// Those of whom nothing is known are one and the same, and share what is said of them.
static OPEN: LazyLock<Principal> =
    LazyLock::new(|| Principal::new("", "", Proof::Open, Grants::default()));
static ANONYMOUS: LazyLock<Principal> =
    LazyLock::new(|| Principal::new("", "", Proof::Anonymous, Grants::default()));

impl Principal {
    /// Who may do everything, because nobody asks.
    pub fn open() -> Self {
        OPEN.clone()
    }

    /// Who did not say who they are: what anyone may do.
    pub fn anonymous() -> Self {
        ANONYMOUS.clone()
    }

    /// `issuer` keeps the subjects of different issuers apart.
    pub fn of_token(issuer: &str, proof: TokenProof, grants: Grants) -> Self {
        // neither can say something that would be read as part of the other
        let (length, subject) = (proof.subject.len(), &proof.subject);
        let id = format!("token:{length}:{subject}:{issuer}");
        let name = proof.subject.clone();
        Self::new(&id, &name, Proof::Token(proof), grants)
    }

    pub fn of_key(proof: KeyProof, grants: Grants) -> Self {
        let id = format!("key:{}", proof.name);
        let name = proof.name.clone();
        Self::new(&id, &name, Proof::Key(proof), grants)
    }

    pub fn of_access_key(proof: AccessKeyProof, grants: Grants) -> Self {
        let id = format!("iam:{}", proof.name);
        let name = proof.name.clone();
        Self::new(&id, &name, Proof::AccessKey(proof), grants)
    }

    /// `token`: what stands for the token where the authorizer named no subject.
    pub fn of_authorizer(token: &str, proof: AuthorizerProof, grants: Grants) -> Self {
        let (id, name) = match &proof.subject {
            // one that came with a newer token is the same one
            Some(subject) => (format!("authorizer-sub:{subject}"), subject.clone()),
            None => (format!("authorizer:{token}"), "authorizer".into()),
        };
        Self::new(&id, &name, Proof::Authorizer(proof), grants)
    }

    fn new(id: &str, name: &str, proof: Proof, grants: Grants) -> Self {
        Self(Arc::new(Identity {
            id: id.into(),
            name: name.into(),
            proof,
            grants,
        }))
    }

    /// What owns messages and producers: no two that are different have the same (`key:NAME`, `iam:NAME`,
    /// `authorizer-sub:SUBJECT`, `authorizer:HASH` or `token:LENGTH:SUBJECT:ISSUER`); empty for who is not known.
    pub fn id(&self) -> &Arc<str> {
        &self.0.id
    }

    /// What readers are shown as `source`: the subject, the name of the key, or `authorizer`; empty for who is not known.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    pub fn proof(&self) -> &Proof {
        &self.0.proof
    }

    pub fn grants(&self) -> &Grants {
        &self.0.grants
    }

    pub fn is_known(&self) -> bool {
        match self.0.proof {
            Proof::Open | Proof::Anonymous => false,
            Proof::Token(_) | Proof::Key(_) | Proof::AccessKey(_) | Proof::Authorizer(_) => true,
        }
    }

    /// Whether it may revoke and read metrics.
    pub fn is_admin(&self) -> bool {
        match &self.0.proof {
            Proof::Open => true,
            Proof::Key(key) => key.admin,
            Proof::Anonymous | Proof::Token(_) | Proof::AccessKey(_) | Proof::Authorizer(_) => {
                false
            }
        }
    }

    /// When its rights end, in Unix seconds.
    pub fn expires(&self) -> Option<u64> {
        match &self.0.proof {
            Proof::Token(token) => Some(token.expires),
            Proof::Key(key) => key.expires,
            Proof::AccessKey(key) => key.expires,
            // it is asked again when somebody comes again
            Proof::Open | Proof::Anonymous | Proof::Authorizer(_) => None,
        }
    }

    /// Whether it was shown this very key, with the same terms.
    pub fn proof_is(&self, other: &KeyProof) -> bool {
        matches!(&self.0.proof, Proof::Key(key) if key == other)
    }

    /// Whether it may do that in a topic of this namespace.
    pub fn may(&self, action: Action, topic: &TopicPath, namespace: &Namespace) -> bool {
        matches!(self.0.proof, Proof::Open)
            || self.has_access(namespace.access(action))
            || self.0.grants.allow(action, topic)
    }

    /// Whether it might do that in a topic that matches. `namespace`: that of all topics that match, if they have
    /// one in common; `any`: whether there is any namespace that lets it.
    pub fn might(&self, action: Action, pattern: &TopicPattern, access: Access) -> bool {
        matches!(self.0.proof, Proof::Open)
            || self.has_access(access)
            || self.0.grants.touch(action, pattern)
    }

    pub fn has_access(&self, access: Access) -> bool {
        match access {
            Access::Anyone => true,
            Access::Authenticated => self.is_known(),
            Access::Grant => false,
        }
    }
}

impl Namespace {
    /// Who may do that without a grant.
    pub fn access(&self, action: Action) -> Access {
        match action {
            Action::Subscribe => self.read,
            Action::Publish => self.write,
            Action::Control => self.control,
            Action::Delete => Access::Grant,
        }
    }
}
