//! Reads an export line by line, and checks that it is whole and in order.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::OfflineError;
use super::lines::{DoneLine, EndLine, EventLine, Header, Line, RunLine, TopicLine, VERSION};
use crate::engine::disk::record::Record;
use crate::event::{Epoch, Seq, TopicPath};
use crate::log::checkpoint::EndedParts;

/// A line that was found good.
pub enum Good<'a> {
    Run(RunLine),
    Topic(TopicPath, Box<TopicLine>),
    Event(Seq, Record, Option<&'a EndedParts>),
}

/// Reads the lines and hands over what they say.
pub fn read(
    input: &Path,
    mut take: impl FnMut(Good<'_>) -> Result<(), OfflineError>,
) -> Result<DoneLine, OfflineError> {
    let failed = OfflineError::file(input);
    let mut lines = BufReader::new(File::open(input).map_err(&failed)?);
    let mut order = Order::default();
    let mut line = String::new();
    loop {
        line.clear();
        let read = lines.read_line(&mut line);
        order.line += 1;
        match read {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(order.wrong("it is no text (UTF-8)"));
            }
            Err(error) => return Err(failed(error)),
            Ok(0) => return order.finish(),
            Ok(_) => {}
        }
        if !line.trim().is_empty()
            && let Some(error) = order.take(line.trim_end(), &mut take)?
        {
            return Err(error);
        }
    }
}

/// Lines come in the right order, and nothing is missing.
#[derive(Default)]
struct Order {
    line: u64,
    has_header: bool,
    seen: HashSet<TopicPath>,
    /// The topic that is being read, its last seq, and how many events came.
    topic: Option<(TopicPath, u64, u64)>,
    so_far: DoneLine,
    done: bool,
}

impl Order {
    fn wrong(&self, problem: impl Into<String>) -> OfflineError {
        OfflineError::Line {
            line: self.line,
            problem: problem.into(),
        }
    }

    /// Answers what is wrong with the line.
    fn take(
        &mut self,
        line: &str,
        take: &mut impl FnMut(Good<'_>) -> Result<(), OfflineError>,
    ) -> Result<Option<OfflineError>, OfflineError> {
        if !self.has_header {
            self.has_header = true;
            return Ok(match serde_json::from_str::<Header>(line) {
                Ok(header) if header.tidewire_log == VERSION => None,
                Ok(header) => Some(self.wrong(format!(
                    "it has the form {}, and this version only knows {VERSION}",
                    header.tidewire_log
                ))),
                Err(_) => Some(self.wrong("it is no export of `tidewire log export`")),
            });
        }
        if self.done {
            return Ok(Some(self.wrong("something follows the end")));
        }
        let line = match serde_json::from_str::<Line<'_>>(line) {
            Ok(line) => line,
            Err(error) => return Ok(Some(self.wrong(error.to_string()))),
        };
        let outcome = match line {
            Line::Run(run) => return take(Good::Run(run)).map(|()| None),
            Line::Topic(topic) => match self.topic(&topic) {
                Ok(path) => return take(Good::Topic(path, topic)).map(|()| None),
                Err(problem) => Err(problem),
            },
            Line::Event(event) => match self.event(&event) {
                Ok(record) => {
                    let seq = Seq(event.seq);
                    return take(Good::Event(seq, record, event.ended.as_ref())).map(|()| None);
                }
                Err(problem) => Err(problem),
            },
            Line::End(end) => self.end(&end),
            Line::Done(done) => self.all_done(done),
        };
        Ok(outcome.err().map(|problem| self.wrong(problem)))
    }

    fn topic(&mut self, topic: &TopicLine) -> Result<TopicPath, String> {
        if let Some((path, ..)) = &self.topic {
            return Err(format!("{path} has not ended"));
        }
        let path = TopicPath::parse(&topic.path).map_err(|error| error.to_string())?;
        if Epoch::parse(&topic.epoch).is_none() {
            return Err("`epoch` is none".to_owned());
        }
        if !self.seen.insert(path.clone()) {
            return Err(format!("{path} stands there twice"));
        }
        self.topic = Some((path.clone(), 0, 0));
        Ok(path)
    }

    fn event(&mut self, event: &EventLine<'_>) -> Result<Record, String> {
        let Some((_, last, events)) = &mut self.topic else {
            return Err("it is an event of no topic".to_owned());
        };
        if event.seq <= *last {
            return Err("events are not in order of `seq`".to_owned());
        }
        (*last, *events) = (event.seq, *events + 1);
        event.record()
    }

    fn end(&mut self, end: &EndLine) -> Result<(), String> {
        match self.topic.take() {
            Some((path, _, events)) if path.as_str() == end.path && events == end.events => {
                self.so_far.topics += 1;
                self.so_far.events += events;
                Ok(())
            }
            _ => Err(format!("events of {} are missing", end.path)),
        }
    }

    fn all_done(&mut self, done: DoneLine) -> Result<(), String> {
        self.done = true;
        match self.topic.is_none() && done == self.so_far {
            true => Ok(()),
            false => Err("topics or events are missing before it".to_owned()),
        }
    }

    fn finish(self) -> Result<DoneLine, OfflineError> {
        match self.done {
            true => Ok(self.so_far),
            false => Err(self.wrong("the input ends here, and is not whole")),
        }
    }
}
