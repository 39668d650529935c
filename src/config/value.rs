//! Text to checked values, by the kind of the setting.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use jsonwebtoken::Algorithm;

use super::settings::{Kind, Setting};
use super::suggest::closest;
use super::{
    Access, Deliver, EngineKind, ForwardedHeader, LogFormat, Secret, Sync, access, units, web,
};
use crate::event::TypeFilter;

/// A value that its setting takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Address(SocketAddr),
    Switch(bool),
    Engine(EngineKind),
    LogFormat(LogFormat),
    Sync(Sync),
    Deliver(Deliver),
    ForwardedHeader(ForwardedHeader),
    Access(Access),
    /// Empty: none.
    Secret(Secret),
    /// A count, or bytes.
    Number(u64),
    Duration(Duration),
    Text(String),
    List(Vec<String>),
}

/// Why a text is not taken, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub what: String,
    pub fix: String,
}

impl Rejection {
    pub fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fix: fix.into(),
        }
    }
}

/// Types that a [`Value`] holds.
pub trait FromValue: Sized {
    /// The content, if the value is of this type and fits into it.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($target:ty: $pattern:pat => $content:expr;)*) => {$(
        impl FromValue for $target {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    $pattern => $content,
                    _ => None,
                }
            }
        }
    )*};
}

from_value! {
    SocketAddr: Value::Address(address) => Some(*address);
    bool: Value::Switch(on) => Some(*on);
    EngineKind: Value::Engine(engine) => Some(*engine);
    LogFormat: Value::LogFormat(format) => Some(*format);
    Sync: Value::Sync(sync) => Some(*sync);
    Deliver: Value::Deliver(deliver) => Some(*deliver);
    ForwardedHeader: Value::ForwardedHeader(header) => Some(*header);
    Access: Value::Access(access) => Some(*access);
    Secret: Value::Secret(secret) => Some(secret.clone());
    u64: Value::Number(number) => Some(*number);
    usize: Value::Number(number) => usize::try_from(*number).ok();
    Duration: Value::Duration(duration) => Some(*duration);
    String: Value::Text(text) => Some(text.clone());
    PathBuf: Value::Text(text) => Some(PathBuf::from(text));
    Option<PathBuf>: Value::Text(text) => Some((!text.is_empty()).then(|| PathBuf::from(text)));
    Option<String>: Value::Text(text) => Some((!text.is_empty()).then(|| text.clone()));
    Vec<String>: Value::List(items) => Some(items.clone());
    Vec<IpNet>: Value::List(items) => items.iter().map(|item| access::network(item)).collect();
    Vec<Algorithm>: Value::List(items) => items.iter().map(|item| access::algorithm(item)).collect();
    TypeFilter: Value::List(items) => TypeFilter::parse(items).ok();
    [u8; 32]: Value::Text(text) => crate::auth::api_key::parse_hash(text);
}

impl Value {
    /// The value as the file would have it: quoted where TOML wants it. A secret is not shown.
    pub fn to_toml(&self, kind: Kind) -> String {
        match self {
            Self::Switch(on) => on.to_string(),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Number(number) if kind == Kind::Size => {
                let size = units::format_size(*number);
                let is_bare = size.bytes().all(|byte| byte.is_ascii_digit());
                if is_bare { size } else { quoted(&size) }
            }
            Self::Number(number) => number.to_string(),
            Self::Address(address) => quoted(&address.to_string()),
            Self::Engine(engine) => quoted(engine.as_str()),
            Self::LogFormat(format) => quoted(format.as_str()),
            Self::Sync(sync) => quoted(sync.as_str()),
            Self::Deliver(deliver) => quoted(deliver.as_str()),
            Self::ForwardedHeader(header) => quoted(header.as_str()),
            Self::Access(access) => quoted(access.as_str()),
            Self::Secret(_) => quoted("(not shown)"),
            Self::Duration(duration) => quoted(&units::format_duration(*duration)),
            Self::Text(text) => quoted(text),
        }
    }

    /// Whether it says anything: an empty text, list or secret stands for none.
    pub fn is_set(&self) -> bool {
        match self {
            Self::Text(text) | Self::Secret(Secret(text)) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            _ => true,
        }
    }

    /// The value for sentences: without quotes, bare bytes named, and nothing called none.
    pub fn in_words(&self, kind: Kind) -> String {
        let toml = self.to_toml(kind);
        match (kind, toml.strip_prefix('"')) {
            _ if !self.is_set() => "none".to_owned(),
            (_, Some(text)) => text.trim_end_matches('"').to_owned(),
            (Kind::Size, None) => format!("{toml} bytes"),
            (_, None) => toml,
        }
    }

    /// Whatever it counts, milliseconds for a duration; `None` for what has no size.
    pub fn magnitude(&self) -> Option<u128> {
        match self {
            Self::Number(number) => Some(u128::from(*number)),
            Self::Duration(duration) => Some(duration.as_millis()),
            _ => None,
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

impl Setting {
    /// What holds where nobody says anything.
    pub fn default_value(&self) -> Value {
        if self.kind.is_secret() {
            // Only here: an empty secret that somebody wrote is a mistake.
            return Value::Secret(Secret(String::new()));
        }
        let value = self.read_text(self.default);
        value.expect("the table's defaults are good values")
    }

    /// Reads what a variable or a flag says. A list is separated by commas, and each bad item is
    /// a rejection of its own.
    pub fn read_text(&self, text: &str) -> Result<Value, Vec<Rejection>> {
        if !self.kind.is_list() {
            return self.read_scalar(text).map_err(|rejection| vec![rejection]);
        }
        let mut items = Vec::new();
        let mut rejections = Vec::new();
        let parts = text.split(',').map(str::trim);
        for part in parts.filter(|_| !text.trim().is_empty()) {
            match self.read_item(part) {
                Ok(item) => items.push(item),
                Err(rejection) => rejections.push(rejection),
            }
        }
        if !rejections.is_empty() {
            return Err(rejections);
        }
        match self.check_count(items.len()) {
            Ok(()) => Ok(Value::List(items)),
            Err(rejection) => Err(vec![rejection]),
        }
    }

    /// Checks how many items a list has.
    pub fn check_count(&self, items: usize) -> Result<(), Rejection> {
        match self.kind {
            Kind::Types => access::check_types(items),
            Kind::Grants => access::check_grants(items),
            _ => Ok(()),
        }
    }

    /// Reads one item of a list. Grants are checked where the name of their key is known.
    pub fn read_item(&self, text: &str) -> Result<String, Rejection> {
        match self.kind {
            Kind::Hosts => web::check_host(text),
            Kind::Networks => access::check_network(text),
            Kind::Algorithms => access::check_algorithm(text),
            Kind::Types => access::check_type(text),
            Kind::Grants => Ok(()),
            _ => web::check_origin(text),
        }
        .map(|()| text.to_owned())
    }

    /// Reads a value that is no list, within its bounds.
    pub fn read_scalar(&self, text: &str) -> Result<Value, Rejection> {
        let value = self.read_kind(text)?;
        self.check_bounds(&value)?;
        Ok(value)
    }

    /// An example of what to write, for a fix.
    pub fn example(&self) -> String {
        let written = match (self.kind, self.kind.example()) {
            (_, Some(example)) => example.to_owned(),
            (Kind::Count(_) | Kind::Switch, _) => self.default.to_owned(),
            _ => quoted(self.default),
        };
        format!("{} = {written}", self.leaf())
    }

    fn read_kind(&self, text: &str) -> Result<Value, Rejection> {
        match self.kind {
            kind if kind.is_optional() && text.is_empty() => Ok(Value::Text(String::new())),
            Kind::Address => read_address(text),
            Kind::Switch => read_switch(text),
            Kind::Engine => read_engine(text),
            Kind::Path => read_path(text, "write the whole path, such as \"/var/lib/tidewire\""),
            Kind::File => read_path(
                text,
                "write the whole path, such as \"/etc/tidewire/key.pem\"",
            ),
            Kind::Name => read_name(text),
            Kind::Filter => read_filter(text),
            Kind::LogFormat => read_log_format(text),
            Kind::Sync => read_sync(text),
            Kind::Deliver => read_deliver(text),
            Kind::ForwardedHeader => access::read_forwarded_header(text),
            Kind::Access => access::read_access(text),
            Kind::Secret => access::read_secret(text),
            Kind::Variable => access::read_variable(text),
            Kind::JwksUrl => access::read_jwks_url(text),
            Kind::AuthorizerUrl => access::read_authorizer_url(text),
            Kind::Text => access::read_text(text),
            Kind::Cookie => access::read_cookie(text),
            Kind::KeyId => access::read_key_id(text),
            Kind::AccessKeyId => access::read_access_key_id(text),
            Kind::KeyHash => access::read_key_hash(text),
            Kind::Time => access::read_time(text),
            Kind::Count(unit) => {
                let count = units::parse_count(text).map_err(|error| {
                    Rejection::new(error.to_string(), format!("write a whole number of {unit}"))
                })?;
                addressable(count)
            }
            Kind::Size => {
                let size = units::parse_size(text).map_err(|error| {
                    let fix = "write a whole number and a unit such as \"64KiB\" (1024s) or \
                               \"900kB\" (1000s), or bytes without a unit";
                    Rejection::new(error.to_string(), fix)
                })?;
                addressable(size)
            }
            Kind::Duration => units::parse_duration(text)
                .map(Value::Duration)
                .map_err(|error| duration_rejection(text, &error)),
            Kind::Origins
            | Kind::Hosts
            | Kind::Networks
            | Kind::Algorithms
            | Kind::Types
            | Kind::Grants => unreachable!("lists are read item by item"),
        }
    }

    fn check_bounds(&self, value: &Value) -> Result<(), Rejection> {
        let Some(magnitude) = value.magnitude() else {
            return Ok(());
        };
        if magnitude == 0 && self.zero.is_none() {
            return Err(Rejection::new(
                "zero makes no sense here",
                format!("write more than zero, for example {}", self.example()),
            ));
        }
        let Some(bound) = self.at_most else {
            return Ok(());
        };
        let most = self.read_kind(bound).ok();
        let most = most.and_then(|most| most.magnitude());
        if magnitude > most.expect("the table writes bounds as values of their setting") {
            return Err(Rejection::new(
                format!("the most is {bound}"),
                format!("write {bound} or less"),
            ));
        }
        Ok(())
    }
}

/// A number that memory can hold as many of: `usize`, on every platform.
fn addressable(number: u64) -> Result<Value, Rejection> {
    match usize::try_from(number) {
        Ok(_) => Ok(Value::Number(number)),
        Err(_) => Err(Rejection::new(
            "it is more than this platform can address",
            format!("write {} or less", usize::MAX),
        )),
    }
}

fn duration_rejection(text: &str, error: &units::UnitError) -> Rejection {
    let example = match error {
        units::UnitError::MissingUnit { .. } => format!("{}s", text.trim()),
        _ => "30s".to_owned(),
    };
    let fix = format!("write one whole number and its unit, such as \"{example}\"");
    Rejection::new(error.to_string(), fix)
}

fn read_address(text: &str) -> Result<Value, Rejection> {
    text.parse().map(Value::Address).map_err(|_| {
        let port = text.rsplit_once(':').map(|(_, port)| port);
        let port = port.and_then(|port| port.parse::<u16>().ok());
        let port = port.unwrap_or(7070);
        Rejection::new(
            "it is not an IP address and a port",
            format!("write for example 127.0.0.1:{port} or [::1]:{port} (names are not looked up)"),
        )
    })
}

fn read_switch(text: &str) -> Result<Value, Rejection> {
    match text {
        "true" => Ok(Value::Switch(true)),
        "false" => Ok(Value::Switch(false)),
        _ => Err(Rejection::new(
            "it is neither true nor false",
            "write true or false",
        )),
    }
}

fn read_engine(text: &str) -> Result<Value, Rejection> {
    match text {
        "memory" => Ok(Value::Engine(EngineKind::Memory)),
        "disk" => Ok(Value::Engine(EngineKind::Disk)),
        "redis" => Err(Rejection::new(
            "this build has the engines memory and disk",
            "write \"memory\" or \"disk\"",
        )),
        _ => Err(Rejection::new(
            "there is no such engine",
            "write \"memory\" or \"disk\"",
        )),
    }
}

/// Only what nobody means is refused: whether it can be used, whoever opens it finds out.
fn read_path(text: &str, fix: &str) -> Result<Value, Rejection> {
    if text.contains(char::is_control) || text.trim() != text {
        let what = "it has a control character, or white space around it";
        return Err(Rejection::new(what, fix));
    }
    if text.starts_with('~') {
        // It would be taken for a name in the working directory.
        let what = "`~` is the shell's, and not expanded here";
        return Err(Rejection::new(what, fix));
    }
    Ok(Value::Text(text.to_owned()))
}

fn read_name(text: &str) -> Result<Value, Rejection> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(Value::Text(text.to_owned()));
    }
    Err(Rejection::new(
        "it is not a name",
        "write 1 to 32 of A-Z a-z 0-9 _ -, such as \"production\"",
    ))
}

fn read_log_format(text: &str) -> Result<Value, Rejection> {
    match text {
        "text" => Ok(Value::LogFormat(LogFormat::Text)),
        "json" => Ok(Value::LogFormat(LogFormat::Json)),
        _ => Err(Rejection::new(
            "there is no such format",
            "write \"text\" or \"json\"",
        )),
    }
}

fn read_sync(text: &str) -> Result<Value, Rejection> {
    match text {
        "always" => Ok(Value::Sync(Sync::Always)),
        "interval" => Ok(Value::Sync(Sync::Interval)),
        _ => Err(Rejection::new(
            "it is neither always nor interval",
            "write \"always\", or \"interval\" and how long it is in disk.sync_interval",
        )),
    }
}

fn read_deliver(text: &str) -> Result<Value, Rejection> {
    match text {
        "durable" => Ok(Value::Deliver(Deliver::Durable)),
        "early" => Ok(Value::Deliver(Deliver::Early)),
        _ => Err(Rejection::new(
            "it is neither durable nor early",
            "write \"durable\" or \"early\"",
        )),
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// `EnvFilter` takes a misspelt level for the name of a module, and then logs nothing or
/// everything; so a bare word has to be a level.
fn read_filter(text: &str) -> Result<Value, Rejection> {
    const FIX: &str = "write off, error, warn, info, debug or trace, or a list such as \
                       \"info,tidewire::broker=debug\"";
    if text.trim().is_empty() {
        return Err(Rejection::new("it is empty", FIX));
    }
    let has_spans = text.contains(['[', '{']);
    let words = text.split(',').map(str::trim).filter(|_| !has_spans);
    for word in words {
        let level = word.split_once('=').map_or(word, |(_, level)| level).trim();
        let is_level = LEVELS.iter().any(|name| name.eq_ignore_ascii_case(level));
        if !is_level {
            let hint = closest(level, LEVELS).map(|near| format!("; did you mean `{near}`?"));
            let what = format!("`{level}` is no level{}", hint.unwrap_or_default());
            return Err(Rejection::new(what, FIX));
        }
    }
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(Value::Text(text.to_owned())),
        Err(error) => Err(Rejection::new(error.to_string(), FIX)),
    }
}
