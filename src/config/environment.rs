//! The environment: `TIDEWIRE_…` variables, and the ones among them that mean nothing.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use super::layers::Layers;
use super::problem::{Origin, Problem};
use super::settings::{CONFIG_VARIABLE, SETTINGS, Setting, VARIABLE_PREFIX};
use super::suggest;

/// Variables of the commands that are clients; a shell that runs both may have them set.
const CLIENT_VARIABLES: [&str; 2] = ["TIDEWIRE_URL", "TIDEWIRE_TOKEN"];

/// The variables whose names begin with `TIDEWIRE_`.
#[derive(Clone, Default)]
pub struct Environment {
    /// By name; `None` where the value is not UTF-8.
    variables: BTreeMap<String, Option<String>>,
}

/// The names only: values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Environment {
    /// Those of this process.
    pub fn process() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            // A name that is not UTF-8 is not ours.
            let name = name.into_string().ok()?;
            let ours = name.starts_with(VARIABLE_PREFIX);
            ours.then(|| (name, value.into_string().ok()))
        });
        Self {
            variables: variables.collect(),
        }
    }

    /// Those that `lookup` has, of the ones that exist.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let known = SETTINGS.iter().map(Setting::variable);
        let known = known.chain([CONFIG_VARIABLE.to_owned()]);
        known
            .filter_map(|name| lookup(&name).map(|value| (name, value)))
            .collect()
    }

    /// The value of `--config`'s variable, if it is set to text.
    pub(super) fn config_path(&self) -> Option<&str> {
        let value = self.variables.get(CONFIG_VARIABLE)?;
        value.as_deref()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables.into_iter();
        let variables = variables.map(|(name, value)| (name.into(), Some(value.into())));
        Self {
            variables: variables
                .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
                .collect(),
        }
    }
}

/// Lays the variables over `layers`.
pub(super) fn apply(env: &Environment, layers: &mut Layers) {
    for (name, value) in &env.variables {
        let origin = Origin::Variable(name.clone());
        let setting = SETTINGS.iter().find(|setting| setting.variable() == *name);
        match (setting, value) {
            (None, _) if name == CONFIG_VARIABLE && value.is_some() => {}
            (None, Some(value)) if is_foreign(name, value) => {}
            (None, Some(_)) => layers.problem(unknown(name, origin)),
            (_, None) => layers.problem(not_utf8(name, origin)),
            (Some(setting), Some(value)) => layers.offer_text(setting, value, origin),
        }
    }
}

fn unknown(name: &str, origin: Origin) -> Problem {
    let fix = match suggest::variable(name) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "unset it; `tidewire serve --help` lists every variable".to_owned(),
    };
    Problem::Unknown {
        origin,
        what: "variable",
        name: name.to_owned(),
        fix,
    }
}

fn not_utf8(name: &str, origin: Origin) -> Problem {
    Problem::BadValue {
        origin,
        key: name.to_owned(),
        value: "…".to_owned(),
        what: "it is not UTF-8".to_owned(),
        fix: "set it to plain text".to_owned(),
    }
}

/// Whether somebody else puts this variable there: our own clients, or Kubernetes, which gives
/// every pod `TIDEWIRE_SERVICE_HOST`, `TIDEWIRE_PORT=tcp://…` and more for a service called
/// `tidewire` (kubernetes.io, "Service", environment variables).
fn is_foreign(name: &str, value: &str) -> bool {
    if CLIENT_VARIABLES.contains(&name) {
        return true;
    }
    let is_link = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    let is_port = name.ends_with("_PORT") && is_link;
    let is_port_part = ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| {
        let part = name.rsplit_once(protocol).map(|(_, part)| part);
        let of_port = name.contains("_PORT_");
        match part {
            Some("") => of_port && is_link,
            Some("_PROTO" | "_PORT" | "_ADDR") => of_port,
            _ => false,
        }
    });
    name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || is_port || is_port_part
}
