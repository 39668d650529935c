//! What settings take: decides how text is read, shown and documented.

/// The kind of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `IP:PORT`.
    Address,
    /// `true` or `false`.
    Switch,
    /// The name of an engine.
    Engine,
    /// The path of a directory, or nothing.
    Path,
    /// The path of a file, or nothing.
    File,
    /// 1 to 32 of `A-Za-z0-9_-`.
    Name,
    /// A `tracing_subscriber::EnvFilter`.
    Filter,
    /// `text` or `json`.
    LogFormat,
    /// `always` or `interval`.
    Sync,
    /// `durable` or `early`.
    Deliver,
    /// `x-forwarded-for` or `forwarded`.
    ForwardedHeader,
    /// `anyone`, `authenticated` or `grant`.
    Access,
    /// A list of web origins.
    Origins,
    /// A list of host names.
    Hosts,
    /// A list of IP addresses and networks.
    Networks,
    /// A list of names of JWS algorithms.
    Algorithms,
    /// A list of patterns of event types.
    Types,
    /// A list of paths and patterns of topics.
    Grants,
    /// A text that is shown nowhere.
    Secret,
    /// The name of an environment variable, or nothing.
    Variable,
    /// The address of a JWK Set, or nothing.
    JwksUrl,
    /// The address of an authorizer, or nothing.
    AuthorizerUrl,
    /// Any text, or nothing.
    Text,
    /// The name of a cookie, or nothing.
    Cookie,
    /// By which an API key is found.
    KeyId,
    /// By which an access key is found.
    AccessKeyId,
    /// `sha256:` and 64 hex digits.
    KeyHash,
    /// A date and time in UTC.
    Time,
    /// A whole number of what the unit says.
    Count(&'static str),
    /// Bytes, with a unit or bare.
    Size,
    /// A time with a unit.
    Duration,
}

impl Kind {
    /// Whether the value is a list: an array in the file, separated by commas elsewhere.
    pub fn is_list(self) -> bool {
        matches!(
            self,
            Self::Origins
                | Self::Hosts
                | Self::Networks
                | Self::Algorithms
                | Self::Types
                | Self::Grants
        )
    }

    /// Whether the empty text is a value, and says that there is none.
    pub fn is_optional(self) -> bool {
        matches!(
            self,
            Self::Path
                | Self::File
                | Self::Variable
                | Self::JwksUrl
                | Self::AuthorizerUrl
                | Self::Text
                | Self::Cookie
        )
    }

    /// Whether no output shows the value.
    pub fn is_secret(self) -> bool {
        self == Self::Secret
    }

    /// Whether an error does not repeat what was written: it is a secret, or a secret is what
    /// people put there by mistake (the key itself for its id or hash, a password in an address).
    pub fn is_unrepeated(self) -> bool {
        matches!(
            self,
            Self::Secret
                | Self::Variable
                | Self::JwksUrl
                | Self::AuthorizerUrl
                | Self::KeyId
                | Self::AccessKeyId
                | Self::KeyHash
        )
    }

    /// The unit or form, for help and documentation.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Address => "IP:PORT",
            Self::Switch => "true or false",
            Self::Engine => "memory or disk",
            Self::Path => "path of a directory",
            Self::File => "path of a file",
            Self::Name => "1 to 32 of A-Za-z0-9_-",
            Self::Filter => "level or filter",
            Self::LogFormat => "text or json",
            Self::Sync => "always or interval",
            Self::Deliver => "durable or early",
            Self::ForwardedHeader => "x-forwarded-for or forwarded",
            Self::Access => "anyone, authenticated or grant",
            Self::Origins => "list of scheme://host[:port]",
            Self::Hosts => "list of host names",
            Self::Networks => "list of IP addresses and networks",
            Self::Algorithms => "list of HS256, RS256, ES256, EdDSA …",
            Self::Types => "list of type patterns: a.b, a.* or *",
            Self::Grants => "list of paths and patterns",
            Self::Secret => "text of at least 32 bytes",
            Self::Variable => "name of a variable",
            Self::JwksUrl | Self::AuthorizerUrl => "https://…, or http:// to loopback",
            Self::Text => "text",
            Self::Cookie => "name of a cookie",
            Self::KeyId => "8 to 32 of a-z0-9",
            Self::AccessKeyId => "16 to 128 of A-Za-z0-9_",
            Self::KeyHash => "sha256: and 64 hex digits",
            Self::Time => "time in UTC, such as 2027-01-31T00:00:00Z",
            Self::Count(unit) => unit,
            Self::Size => "bytes, or KiB, MiB, GiB …",
            Self::Duration => "ms, s, m, h or d",
        }
    }

    /// A good value as the file would have it, where the default is none.
    pub fn example(self) -> Option<&'static str> {
        let example = match self {
            Self::Origins => "[\"https://app.example.com\"]",
            Self::Hosts => "[\"broker.example.com\"]",
            Self::Networks => "[\"10.0.0.0/8\"]",
            Self::Algorithms => "[\"RS256\"]",
            Self::Types => "[\"token.*\", \"message.completed\"]",
            Self::Grants => "[\"/chat/*\"]",
            Self::Path => "\"/var/lib/tidewire\"",
            Self::File => "\"/etc/tidewire/key.pem\"",
            Self::Secret => "\"…\", 32 bytes or more of random text",
            Self::Variable => "\"JWT_KEY\"",
            Self::JwksUrl => "\"https://login.example.com/.well-known/jwks.json\"",
            Self::AuthorizerUrl => "\"https://auth.example.com/events\"",
            Self::Text => "\"https://login.example.com\"",
            Self::Cookie => "\"tidewire_token\"",
            Self::KeyId => "\"k3y0fagent\"",
            Self::AccessKeyId => "\"AKIDEXAMPLE000001\"",
            Self::KeyHash => "\"sha256:…\", with 64 hex digits",
            Self::Time => "\"2027-01-31T00:00:00Z\"",
            _ => return None,
        };
        Some(example)
    }
}
