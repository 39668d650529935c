//! What a run found, for people and for programs: one list of names and values behind both.

use serde_json::{Map, Value, json};

use super::peer::Transport;
use super::run::Run;
use super::window::Window;

/// The generator was the limit if it used more than this of a core.
const BUSY_PERCENT: f64 = 90.0;

/// Figures of a scenario's own, in the order in which they are shown.
#[derive(Default)]
pub struct Report {
    pub settings: Vec<(&'static str, Value)>,
    figures: Vec<(String, Value)>,
    pub warnings: Vec<String>,
    pub version: Option<String>,
    pub is_one_host: bool,
}

impl Report {
    pub fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.push((name.to_owned(), value.into()));
    }
}

/// How a run ended.
pub enum Ended {
    Done,
    Stopped,
    Failed(String),
}

pub struct Outcome {
    pub json: Value,
    pub table: String,
    /// Whether what the broker promised was kept; None: nobody can tell, since the run ended early.
    pub is_kept: Option<bool>,
}

type Figures = Vec<(String, Value)>;

pub fn rounded(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}

pub fn ms(us: u64) -> Value {
    rounded(us as f64 / 1000.0)
}

pub fn outcome(run: &Run, scenario: &str, ended: &Ended) -> Outcome {
    run.close_window();
    let mut warnings = std::mem::take(&mut run.report.borrow_mut().warnings);
    let (figures, phases, is_kept) = found(run, &mut warnings);
    let report = run.report.borrow();
    let settings: Map<_, _> = report
        .settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    let ended = match ended {
        Ended::Done => "done".to_owned(),
        Ended::Stopped => "stopped".to_owned(),
        Ended::Failed(why) => format!("failed: {why}"),
    };
    let transport = match run.peer.transport {
        Transport::Ws => "ws",
        Transport::Sse => "sse",
    };
    let json = json!({
        "scenario": scenario,
        "against": if run.peer.is_native() { "tidewire" } else { "raw" },
        "address": run.peer.authority,
        "version": report.version,
        "hosts": if report.is_one_host { "one" } else { "two" },
        "transport": transport,
        "settings": settings,
        "figures": object(&figures),
        "phases": phases.iter().map(|(name, figures)| {
            let mut phase = object(figures);
            phase.insert("name".into(), json!(name));
            Value::Object(phase)
        }).collect::<Vec<_>>(),
        "kept": is_kept,
        "ended": ended,
        "warnings": warnings,
    });
    let title = title(run, scenario, &report, transport, &ended);
    let table = table(
        &title,
        &report.settings,
        &figures,
        &phases,
        &warnings,
        is_kept,
    );
    Outcome {
        json,
        table,
        is_kept,
    }
}

fn object(figures: &Figures) -> Map<String, Value> {
    figures.iter().cloned().collect()
}

fn found(run: &Run, warnings: &mut Vec<String>) -> (Figures, Vec<(String, Figures)>, Option<bool>) {
    let mut figures = std::mem::take(&mut run.report.borrow_mut().figures);
    let windows = run.windows.borrow();
    let mut phases: Vec<(String, Figures)> = windows
        .0
        .iter()
        .map(|window| (window.name.clone(), of_window(run, window, warnings)))
        .collect();
    if phases.len() == 1 {
        figures.extend(phases.remove(0).1);
    }
    let peak = run.peak_rss_kib.get();
    if peak > 0 {
        figures.push(("broker_rss_peak_mb".into(), rounded(peak as f64 / 1024.0)));
    }
    let counts = &run.counts;
    let verdict = run.verdict();
    let refused: u64 = run.refusals.borrow().values().sum();
    let unknown: u64 = run.ledgers.borrow().iter().map(|l| l.unknown).sum();
    let mut count = |name: &str, value: u64| figures.push((name.into(), json!(value)));
    count("acknowledged", counts.accepted.get());
    count("refused", refused);
    if unknown > 0 {
        count("unanswered", unknown);
    }
    count("delivered", verdict.delivered);
    let is_settled = run.is_settled.get();
    if is_settled {
        count("missing", verdict.missing);
    }
    count("repeated", verdict.repeated);
    count("out_of_order", verdict.reordered);
    for (name, value) in [
        ("told_gone", verdict.told_gone),
        ("refused_but_delivered", verdict.unpromised),
        ("seq_breaks", verdict.seq_breaks),
        ("pings_answered", counts.pings.get()),
        ("readers_came_back", counts.came_back.get()),
    ] {
        if value > 0 {
            count(name, value);
        }
    }
    for (code, events) in run.refusals.borrow().iter() {
        figures.push((format!("refused_{code}"), json!(events)));
    }
    let unsettled_fault = verdict.repeated + verdict.reordered + verdict.seq_breaks > 0;
    let is_kept = match is_settled {
        true => Some(verdict.is_kept()),
        false => unsettled_fault.then_some(false),
    };
    (figures, phases, is_kept)
}

fn of_window(run: &Run, window: &Window, warnings: &mut Vec<String>) -> Figures {
    let (begin, end) = (window.begin, window.end.unwrap_or(window.begin));
    let seconds = (end.at_us - begin.at_us) as f64 / 1e6;
    let per_s = |count: u64| rounded(count as f64 / seconds.max(1e-6));
    let (delivered, accepted) = (
        end.delivered - begin.delivered,
        end.accepted - begin.accepted,
    );
    let mut figures: Figures = vec![("seconds".into(), rounded(seconds))];
    let mut add = |name: &str, value: Value| figures.push((name.into(), value));
    if accepted > 0 {
        add("acknowledged_per_s", per_s(accepted));
    }
    if delivered > 0 {
        add("deliveries_per_s", per_s(delivered));
        let bytes = end.bytes_in - begin.bytes_in;
        let each = bytes as f64 / delivered.max(1) as f64;
        add("bytes_per_delivery", rounded(each));
    }
    for (name, histogram) in [
        ("latency", &window.latency),
        ("acknowledged", &window.acknowledged),
    ] {
        if !histogram.is_empty() {
            for (quantile, of) in [("p50", 0.5), ("p99", 0.99)] {
                let value = ms(histogram.value_at_quantile(of));
                add(&format!("{name}_{quantile}_ms"), value);
            }
            add(&format!("{name}_max_ms"), ms(histogram.max()));
        }
    }
    let percent = |cpu: f64| 100.0 * cpu / seconds.max(1e-6);
    if !run.pids.is_empty() {
        let cpu = end.broker_cpu_s - begin.broker_cpu_s;
        add("broker_cpu_percent", rounded(percent(cpu)));
        // what costs is the delivery; where there is none, the publish
        if delivered > 0 {
            let each = cpu * 1e6 / delivered as f64;
            add("broker_cpu_us_per_delivery", rounded(each));
        }
        if accepted > 0 {
            let each = cpu * 1e6 / accepted as f64;
            add("broker_cpu_us_per_event", rounded(each));
        }
        let mb = end.broker_rss_kib as f64 / 1024.0;
        add("broker_rss_mb", rounded(mb));
    }
    let own = percent(end.own_cpu_s - begin.own_cpu_s);
    add("bench_cpu_percent", rounded(own));
    if own > BUSY_PERCENT && seconds > 0.5 {
        warnings.push(format!(
            "in \"{}\" this generator used {own:.0} % of a core: it was the limit, or near it; ask for less, or run it \
             on a machine of its own",
            window.name
        ));
    }
    figures
}

fn title(run: &Run, scenario: &str, report: &Report, transport: &str, ended: &str) -> String {
    let who = match (&report.version, run.peer.is_native()) {
        (Some(version), _) => format!("Tidewire {version}"),
        (None, true) => "Tidewire".into(),
        (None, false) => "a raw peer".into(),
    };
    let host = match report.is_one_host {
        true => "on this host",
        false => "on another host",
    };
    let address = &run.peer.authority;
    format!("{scenario}: {who} at {address} ({host}), {transport}, {ended}")
}

fn table(
    title: &str,
    settings: &[(&'static str, Value)],
    figures: &Figures,
    phases: &[(String, Figures)],
    warnings: &[String],
    is_kept: Option<bool>,
) -> String {
    let settings: Vec<String> = settings
        .iter()
        .map(|(name, value)| format!("{name} {}", shown(value)))
        .collect();
    let mut out = format!("{title}\n{}\n\n", settings.join(", "));
    out += &phase_table(phases);
    for (name, value) in figures {
        out += &format!("  {name:<28} {:>14}\n", shown(value));
    }
    for warning in warnings {
        out += &format!("\nwarning: {warning}\n");
    }
    out += match is_kept {
        Some(true) => "\nkept: every acknowledged event came once, in order\n",
        Some(false) => "\nBROKEN: events were lost, repeated or out of order\n",
        None => "\nit ended early: what was still under way is not judged\n",
    };
    out
}

/// A column for each phase.
fn phase_table(phases: &[(String, Figures)]) -> String {
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in phases.iter().flat_map(|(_, figures)| figures) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return String::new();
    }
    let mut out = format!("  {:<28}", "");
    phases
        .iter()
        .for_each(|(name, _)| out += &format!(" {name:>14}"));
    out += "\n";
    for name in names {
        out += &format!("  {name:<28}");
        for (_, figures) in phases {
            let value = figures.iter().find(|(known, _)| known == name);
            let value = value.map(|(_, value)| shown(value)).unwrap_or_default();
            out += &format!(" {value:>14}");
        }
        out += "\n";
    }
    out + "\n"
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_u64() {
            Some(whole) => grouped(whole),
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// 1234567 as 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let groups: Vec<String> = [0, 999, 1000, 1_234_567].into_iter().map(grouped).collect();
        assert_eq!(groups, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn phases_stand_side_by_side() {
        let phase = |name: &str, figures: &[(&str, u64)]| {
            let figures = figures.iter().map(|&(n, v)| (n.to_owned(), json!(v)));
            (name.to_owned(), figures.collect::<Figures>())
        };
        let phases = [
            phase("first", &[("a", 1), ("b", 2000)]),
            phase("second", &[("b", 3)]),
        ];
        let lines: Vec<String> = phase_table(&phases)
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(lines, ["first second", "a 1", "b 2,000 3", ""]);
    }
}
