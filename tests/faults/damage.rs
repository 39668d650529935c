//! Damaged files: bits that flipped, files that were cut. What is served of a topic afterwards is what was
//! there, or an error, or stands under a new epoch; and the rest is served.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::setup::{chance, on_disk, rounds, stop};
use crate::support::agent::{metric, produced};
use crate::support::reader::NOWHERE;
use crate::support::{Broker, completed, delta, eventually, note, started};

/// One topic is trimmed, so that there is a checkpoint, and texts beside it.
const CONFIG: &str = "
limits.max_batch_events = 1000
limits.compact_after = '1h'
defaults.retention_bytes = '64MiB'
[namespace.trimmed]
retention_events = 2000
";
/// What the log says when acknowledged writes are gone.
const LOST: &str = "begins a new epoch";
/// Fewer bytes than that may hold anything; in larger files most is payload.
const SMALL: u64 = 16 << 10;

/// How a batch ends in a journal of fjall.
const END: &[u8] = b"FJL\x03";

/// All pages of each topic as bytes.
type Pages = BTreeMap<String, Result<Vec<Value>, String>>;

struct Original {
    dir: TempDir,
    pages: Pages,
}

enum Harm {
    Flip { file: PathBuf, at: u64, bit: u8 },
    Cut { file: PathBuf, to: u64 },
}

impl Harm {
    fn apply(&self, dir: &Path) {
        match self {
            Harm::Flip { file, at, bit } => {
                let file = File::options()
                    .read(true)
                    .write(true)
                    .open(dir.join(file))
                    .unwrap();
                let mut byte = [0];
                file.read_exact_at(&mut byte, *at).unwrap();
                file.write_all_at(&[byte[0] ^ (1 << bit)], *at).unwrap();
            }
            Harm::Cut { file, to } => {
                let file = File::options().write(true).open(dir.join(file)).unwrap();
                file.set_len(*to).unwrap();
            }
        }
    }

    fn file(&self) -> &Path {
        match self {
            Harm::Flip { file, .. } | Harm::Cut { file, .. } => file,
        }
    }

    fn told(&self) -> String {
        match self {
            Harm::Flip { file, at, bit } => format!("bit {bit} of byte {at} of {}", file.display()),
            Harm::Cut { file, to } => format!("{} cut to {to} bytes", file.display()),
        }
    }
}

#[test]
fn damage_is_told_and_never_taken_for_the_whole() {
    let mut rng = chance("damage");
    let original = original(&mut rng);
    let harms = harms(original.dir.path(), &mut rng);
    let mut tally: BTreeMap<&str, u64> = BTreeMap::new();
    let mut faults = Vec::new();
    for harm in &harms {
        match suffer(&original, harm) {
            Ok(outcome) => *tally.entry(outcome).or_default() += 1,
            Err(fault) => {
                println!("FAULT {}: {fault}", harm.told());
                faults.push(format!("{}: {fault}", harm.told()));
            }
        }
    }
    println!("{} harms: {tally:?}", harms.len());
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// Tables, a sealed journal and one in use; topics that stand in one of them only.
fn original(rng: &mut Rng) -> Original {
    let dir = in_memory();
    let mut broker = Broker::set_up(on_disk(dir.path(), CONFIG, &[]));
    let mut text = |bytes: usize| -> String {
        std::iter::repeat_with(|| rng.alphanumeric())
            .take(bytes)
            .collect()
    };
    let noise = |broker: &Broker, topic: &str, count: u64, payload: String| {
        for n in 1..=count {
            let data = json!({ "n": n, "payload": payload });
            let events = json!([{ "type": "note.taken", "data": data }]);
            broker.publish(topic, events);
        }
    };
    let talk = |broker: &Broker, topic: &str, first: u64| {
        for n in first..first + 5 {
            let message = format!("m{n}");
            let mut events = vec![started(&message), delta(&message, "some text"), note(n)];
            if n % 2 == 0 {
                events.push(completed(&message));
            }
            let body = produced(topic, "agent", (1, n), json!(events));
            broker.http().publish_body(&body);
        }
    };
    talk(&broker, "/damage/early", 1);
    talk(&broker, "/damage/both", 1);
    for round in 0..5u64 {
        let events: Vec<Value> = (0..990).map(|n| note(round * 990 + n)).collect();
        let body = json!([
            started(&format!("t{round}")),
            completed(&format!("t{round}"))
        ]);
        broker.publish("/trimmed/topic", body);
        broker.publish("/trimmed/topic", json!(events));
    }
    // every publish was a step: one more is the checkpoint
    let steps = metric(&broker, "tidewire_store_writes_total");
    eventually("what was trimmed to leave the disk", || {
        (metric(&broker, "tidewire_store_writes_total") > steps).then_some(())
    });
    let payload = text(200 << 10);
    noise(&broker, "/damage/large-1", 170, payload);
    talk(&broker, "/damage/middle", 1);
    // a journal is sealed at 64 MB, when a memtable of 16 MiB is full
    let payload = text(200 << 10);
    noise(&broker, "/damage/large-2", 170, payload);
    talk(&broker, "/damage/sealed", 1);
    let payload = text(200 << 10);
    noise(&broker, "/damage/large-3", 90, payload);
    talk(&broker, "/damage/both", 6);
    talk(&broker, "/damage/late", 1);
    let pages = pages(&broker, None);
    stop(&mut broker);
    // a start would put what is in the sealed journal into tables
    let journals = files(dir.path()).into_iter();
    let journals = journals.filter(|(file, _)| is_journal(file)).count();
    assert_eq!(journals, 2, "one is sealed");
    cut_room(&dir.path().join("store/1.jnl"));
    for (file, bytes) in files(dir.path()) {
        println!("{bytes:>10} {}", file.display());
    }
    Original { dir, pages }
}

/// A journal is made with room for more. Without it, it is copied faster.
fn cut_room(journal: &Path) {
    let bytes = fs::read(journal).unwrap();
    let end = bytes.windows(END.len()).rposition(|window| window == END);
    let end = end.expect("a batch") + END.len();
    assert!(bytes[end..].iter().all(|byte| *byte == 0));
    let file = File::options().write(true).open(journal).unwrap();
    file.set_len(end as u64).unwrap();
}

/// Everything each topic serves, or the code with which it is refused.
fn pages(broker: &Broker, known: Option<&Pages>) -> Pages {
    let mut topics: Vec<String> = match known {
        Some(known) => known.keys().cloned().collect(),
        None => Vec::new(),
    };
    if known.is_none() {
        let listed = broker.read("/v1/topics?limit=1000");
        let listed = listed["topics"].as_array().expect("topics").clone();
        topics.extend(
            listed
                .iter()
                .map(|topic| topic.as_str().unwrap().to_owned()),
        );
    }
    let each = topics.into_iter().map(|topic| {
        let all = pages_of(broker, &topic);
        (topic, all)
    });
    each.collect()
}

fn pages_of(broker: &Broker, topic: &str) -> Result<Vec<Value>, String> {
    let mut http = broker.http();
    let mut from = "start".to_owned();
    let mut all = Vec::new();
    loop {
        let target = format!("/v1/events?topic={topic}&from={from}&limit=1000");
        let response = http.get(&target);
        if response.status != 200 {
            let problem = response.problem();
            return Err(format!("{} {problem}", problem["code"].as_str().unwrap()));
        }
        let page = response.json();
        let more = page["more"] == true;
        from = page["position"].as_str().expect("a position").to_owned();
        all.push(page);
        if !more {
            return Ok(all);
        }
    }
}

/// What may happen to each file: several flips and cuts, more in what is not payload.
fn harms(dir: &Path, rng: &mut Rng) -> Vec<Harm> {
    let mut harms = Vec::new();
    let times = rounds().div_ceil(10);
    for (file, bytes) in files(dir) {
        if bytes == 0 || file.ends_with("lock") {
            continue;
        }
        let flip = |at: u64, bit: u8| Harm::Flip {
            file: file.clone(),
            at,
            bit,
        };
        let cut = |to: u64| Harm::Cut {
            file: file.clone(),
            to,
        };
        for _ in 0..times {
            // there are many small ones, and all alike
            let is_flip = rng.bool();
            if is_flip || bytes > SMALL {
                harms.push(flip(rng.u64(..bytes), rng.u8(..8)));
            }
            if !is_flip || bytes > SMALL {
                harms.push(cut(rng.u64(..bytes)));
            }
            if bytes > SMALL {
                harms.push(flip(rng.u64(..bytes), rng.u8(..8)));
                harms.push(flip(rng.u64(..SMALL), rng.u8(..8)));
                harms.push(flip(bytes - 1 - rng.u64(..SMALL), rng.u8(..8)));
                harms.push(cut(bytes - 1 - rng.u64(..SMALL)));
            }
        }
        if bytes > SMALL || rng.u8(..4) == 0 {
            harms.push(cut(0));
        }
        if is_journal(&file) {
            harms.extend(between_batches(dir, &file, times, rng));
        }
    }
    harms
}

fn is_journal(file: &Path) -> bool {
    file.extension().is_some_and(|end| end == "jnl")
}

/// A journal that is whole up to a batch, and a batch that says it is another: no checksum tells.
fn between_batches(dir: &Path, file: &Path, times: u64, rng: &mut Rng) -> Vec<Harm> {
    let bytes = fs::read(dir.join(file)).unwrap();
    let ends = bytes.windows(END.len()).enumerate();
    let ends = ends
        .filter(|(_, window)| *window == END)
        .map(|(at, _)| (at + END.len()) as u64);
    let ends: Vec<u64> = ends.collect();
    let mut harms = Vec::new();
    for _ in 0..times * 3 {
        let to = ends[rng.usize(..ends.len())];
        harms.push(Harm::Cut {
            file: file.to_owned(),
            to,
        });
        // begins with a tag and a count; then comes its number, little end first
        let batch = ends[rng.usize(..ends.len() - 1)];
        let (at, bit) = (batch + 5 + rng.u64(..2), rng.u8(..8));
        harms.push(Harm::Flip {
            file: file.to_owned(),
            at,
            bit,
        });
        let at = batch + 5 + rng.u64(..8);
        harms.push(Harm::Flip {
            file: file.to_owned(),
            at,
            bit,
        });
    }
    harms
}

/// All files below, with their sizes.
pub fn files(dir: &Path) -> Vec<(PathBuf, u64)> {
    fn walk(root: &Path, below: &Path, found: &mut Vec<(PathBuf, u64)>) {
        for entry in fs::read_dir(root.join(below)).into_iter().flatten() {
            let entry = entry.unwrap();
            let path = below.join(entry.file_name());
            // what goes meanwhile is not there
            match entry.metadata() {
                Ok(about) if about.is_dir() => walk(root, &path, found),
                Ok(about) => found.push((path, about.len())),
                Err(_) => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, Path::new(""), &mut found);
    found.sort();
    found
}

/// Starts on a copy that was harmed. Err: what the broker did that it must not.
fn suffer(original: &Original, harm: &Harm) -> Result<&'static str, String> {
    let copy = copy_of(original.dir.path(), harm.file());
    let dir = copy.path().join("data");
    harm.apply(&dir);
    let mut broker = match Broker::attempt(on_disk(&dir, CONFIG, &[])) {
        Ok(broker) => broker,
        Err(refusal) => {
            let named = refusal.stderr.contains(dir.to_str().unwrap());
            let code = refusal.status.code();
            let good = named && code.is_some_and(|code| code != 0 && code != 101);
            return match good && !refusal.stderr.contains("panicked") {
                true => Ok("refused to start"),
                false => Err(format!("a bad end: {refusal}")),
            };
        }
    };
    let found = pages(&broker, Some(&original.pages));
    let lives = broker.post(
        "/v1/publish",
        r#"{"topic":"/damage/new","events":[{"type":"a.b","data":1}]}"#,
    );
    if lives.status != 200 && lives.problem()["code"] != "storage_unavailable" {
        return Err(format!(
            "a publish elsewhere: {} {}",
            lives.status,
            lives.text()
        ));
    }
    if !broker.is_running() {
        return Err(format!("it ended: {}", broker.stderr()));
    }
    let mut outcome = "nothing to be noticed";
    for (topic, was) in &original.pages {
        outcome = judge(topic, was, &found[topic], &broker, outcome)?;
    }
    Ok(outcome)
}

fn judge(
    topic: &str,
    was: &Result<Vec<Value>, String>,
    is: &Result<Vec<Value>, String>,
    broker: &Broker,
    outcome: &'static str,
) -> Result<&'static str, String> {
    if was == is {
        return Ok(outcome);
    }
    let log = broker.stderr();
    let pages = match is {
        Err(problem) if problem.starts_with("storage_unavailable") => {
            return match log.contains(topic) {
                true => Ok("an error"),
                false => Err(format!(
                    "{topic}: {problem}, and the log does not say so: {log}"
                )),
            };
        }
        Err(problem) => return Err(format!("{topic}: {problem}")),
        Ok(pages) => pages,
    };
    let was = was.as_ref().expect("it was served before");
    let epoch = &pages[0]["epoch"];
    match *epoch != was[0]["epoch"] && log.contains(LOST) {
        true => Ok("a new epoch"),
        false if epoch == NOWHERE => Err(format!("{topic}: gone without a word; {log}")),
        false => Err(format!(
            "{topic}: head {} instead of {} in epoch {epoch}, {} instead of {} events; {log}",
            pages[0]["head"],
            was[0]["head"],
            count(pages),
            count(was),
        )),
    }
}

fn count(pages: &[Value]) -> usize {
    pages
        .iter()
        .map(|page| page["events"].as_array().map_or(0, Vec::len))
        .sum()
}

/// A folder that is quick to copy, if there is a place for such.
fn in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    }
    .unwrap()
}

fn copy_of(dir: &Path, harmed: &Path) -> TempDir {
    let copy = in_memory();
    let into = copy.path().join("data");
    // folders that hold nothing belong to a store as well
    for folder in folders(dir) {
        fs::create_dir_all(into.join(folder)).unwrap();
    }
    for (file, _) in files(dir) {
        let (from, to) = (dir.join(&file), into.join(&file));
        // a table is never written again
        let may_share =
            file != harmed && file.components().any(|part| part.as_os_str() == "tables");
        match may_share {
            true => fs::hard_link(from, to).unwrap(),
            false => drop(fs::copy(from, to).unwrap()),
        }
    }
    copy
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.push(path.strip_prefix(dir).unwrap().to_owned());
                waiting.push(path);
            }
        }
    }
    found
}
