//! Structured logs on standard error: events with fields, no payloads, no secrets. Each line names the environment,
//! since lines of several end up in one place.

use std::fmt;
use std::io::{IsTerminal, stderr};

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{Log, LogFormat};

/// Libraries that tell at that level more than anybody wants to know: internals, or (actix) a line for each request
/// that is none, which anybody could fill a disk with. A filter that names them is heeded.
const TALKATIVE: [(&str, &str); 3] = [
    ("fjall", "warn"),
    ("lsm_tree", "warn"),
    ("actix_http", "off"),
];

/// Starts logging for the whole process; a second call changes nothing.
pub fn start(log: &Log, environment: &str) {
    let mut filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    for (library, level) in TALKATIVE {
        if !log.level.contains(library)
            && let Ok(quiet) = format!("{library}={level}").parse()
        {
            filter = filter.add_directive(quiet);
        }
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    let line = Format::default().with_target(false);
    let started = match log.format {
        LogFormat::Json => {
            let member = serde_json::json!({"environment": environment}).to_string();
            let line = JsonLine {
                line: line.json().flatten_event(true),
                begin: member.trim_end_matches('}').to_owned() + ",",
            };
            builder
                .fmt_fields(JsonFields::new())
                .event_format(line)
                .try_init()
        }
        LogFormat::Text => {
            let begin = format!("[{environment}] ");
            builder.event_format(TextLine { line, begin }).try_init()
        }
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging was started before");
    }
}

/// A line for people, behind the name of the environment.
struct TextLine<F> {
    line: F,
    begin: String,
}

impl<S, N, F> FormatEvent<S, N> for TextLine<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str(&self.begin)?;
        self.line.format_event(context, writer, event)
    }
}

/// An object whose first member is the environment.
struct JsonLine<F> {
    line: F,
    begin: String,
}

impl<S, N, F> FormatEvent<S, N> for JsonLine<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut object = String::with_capacity(256);
        self.line
            .format_event(context, Writer::new(&mut object), event)?;
        writer.write_str(&self.begin)?;
        writer.write_str(object.strip_prefix('{').unwrap_or(&object))
    }
}
