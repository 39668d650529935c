//! `POST /v1/publish/stream`: one event a line, for as long as the request lasts.
//!
//! What came is published before more is read, so a publisher that is too fast is slowed down, not refused.
//! Each line stands or falls by itself, in order: the first that is refused ends the request, and those
//! before it are kept. While the request is open, the lease of its producer does not run.

use std::time::{Duration, Instant};

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::http::{Edge, Query, caller, json, problem};
use crate::auth::Principal;
use crate::broker::agent::runs::MAX_EPOCH;
use crate::broker::agent::{AttachRequest, Lease, StreamHold};
use crate::broker::caller::Caller;
use crate::broker::command::PublishRequest;
use crate::broker::directory::OpenGuard;
use crate::broker::problem::{Code, Problem};
use crate::broker::quota::ConnectionGuard;
use crate::dialect::ndjson::{Line, Lines};
use crate::event::incoming::is_valid_id;
use crate::event::{Epoch, NewEvent, TopicPath};
use crate::log::Appended;
use crate::log::idempotency::Producer;

/// How often a silent stream is looked after.
const LOOK: Duration = Duration::from_secs(1);
/// White space a line may have around its event.
const LINE_SLACK: usize = 1024;

pub async fn publish(
    edge: web::Data<Edge>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let mut stream = match Stream::open(&edge, &request).await {
        Ok(stream) => stream,
        Err(refused) => return problem(&refused),
    };
    match stream.run(payload).await {
        Ok(dropped) => json(stream.summary(dropped)),
        Err(refused) => problem(&stream.told(refused)),
    }
}

/// One request.
struct Stream {
    edge: web::Data<Edge>,
    caller: Caller,
    topic: TopicPath,
    run: Option<Run>,
    kept: u64,
    first: Option<Appended>,
    last: Option<Appended>,
    _open: OpenGuard,
    _counted: ConnectionGuard,
}

/// Who publishes, where the query says it.
struct Run {
    producer: Producer,
    _hold: StreamHold,
}

/// Why the request ends early, and at which line.
struct Refused {
    line: Option<u64>,
    problem: Problem,
}

impl Stream {
    async fn open(edge: &web::Data<Edge>, request: &HttpRequest) -> Result<Self, Problem> {
        let caller = caller(request)?;
        check_type(request)?;
        let broker = &edge.broker;
        if broker.is_draining() || broker.is_full() {
            return Err(Problem::draining(1000));
        }
        let query = Query::of(request)?;
        let topic = query.topic()?;
        broker.check_publish(&caller.principal, &topic, &[])?;
        let (caller, counted) = caller.connect(broker)?;
        let run = Run::of(edge, &caller.principal, &query).await?;
        Ok(Self {
            edge: edge.clone(),
            caller,
            topic,
            run,
            kept: 0,
            first: None,
            last: None,
            _open: broker.count_open(),
            _counted: counted,
        })
    }

    /// To the end of the body; answers how many bytes of a cut-off last line were dropped.
    async fn run(&mut self, mut payload: web::Payload) -> Result<usize, Refused> {
        let limits = self.edge.broker.config.limits.clone();
        let mut lines = Lines::new(limits.max_event_bytes + LINE_SLACK);
        let mut last_heard = Instant::now();
        loop {
            match timeout(LOOK, payload.next()).await {
                Err(_) if self.edge.broker.is_draining() => {
                    return Err(Problem::draining(1000).into());
                }
                Err(_) if last_heard.elapsed() < limits.stream_idle => {
                    let broker = &self.edge.broker;
                    broker.still(&self.caller)?;
                }
                Err(_) => {
                    let message = format!(
                        "nothing came for {} s; an empty line now and then keeps the stream open",
                        limits.stream_idle.as_secs()
                    );
                    return Err(Problem::new(Code::InvalidRequest, message).into());
                }
                Ok(Some(Ok(piece))) => {
                    last_heard = Instant::now();
                    lines.push(&piece);
                    self.publish_lines(&mut lines).await?;
                    if self.edge.broker.is_draining() {
                        return Err(Problem::draining(1000).into());
                    }
                }
                // whoever sent it is gone: what was cut off is dropped
                Ok(Some(Err(_))) => {
                    let message = "the body was cut off";
                    return Err(Problem::new(Code::InvalidRequest, message).into());
                }
                Ok(None) => return self.publish_rest(lines).await,
            }
        }
    }

    /// Publishes every whole line, in as few batches as may be.
    async fn publish_lines(&mut self, lines: &mut Lines) -> Result<(), Refused> {
        let max = self.edge.broker.config.limits.max_batch_events;
        let mut batch = Vec::new();
        loop {
            match lines.take() {
                Ok(Some(line)) => batch.push(line),
                Ok(None) => return self.publish_batch(&batch).await,
                Err(too_long) => {
                    self.publish_batch(&batch).await?;
                    let limit = self.edge.broker.config.limits.max_event_bytes;
                    let message = format!("an event has at most {limit} bytes");
                    return Err(Refused {
                        line: Some(too_long.number),
                        problem: Problem::new(Code::TooLarge, message),
                    });
                }
            }
            if batch.len() >= max {
                self.publish_batch(&batch).await?;
                batch.clear();
            }
        }
    }

    /// A last line without a newline counts if it is an event; else it was cut off.
    async fn publish_rest(&mut self, lines: Lines) -> Result<usize, Refused> {
        let Some(rest) = lines.rest() else {
            return Ok(0);
        };
        if serde_json::from_slice::<&RawValue>(&rest.text).is_err() {
            return Ok(rest.text.len());
        }
        self.publish_batch(&[rest]).await.map(|()| 0)
    }

    /// A batch goes in whole or not at all: where one of its lines is refused, those before it go in without it.
    async fn publish_batch(&mut self, mut batch: &[Line]) -> Result<(), Refused> {
        while !batch.is_empty() {
            let (events, bad) = self.parse(batch);
            let good = events.len();
            let bytes = batch[..good].iter().map(|line| line.text.len()).sum();
            let answer = match good {
                0 => Ok(()),
                _ => self.append(events, bytes).await,
            };
            match (answer, bad) {
                (Ok(()), None) => return Ok(()),
                (Ok(()), Some(refused)) => return Err(refused),
                // a line that is known is a retry of its own, whatever stands beside it
                (Err(problem), _) if problem.code == Code::IdConflict && good > 1 => {
                    for line in &batch[..good] {
                        Box::pin(self.publish_batch(std::slice::from_ref(line))).await?;
                    }
                    batch = &batch[good..];
                }
                (Err(problem), _) => {
                    let at = refused_index(&problem);
                    if at > 0 {
                        // once more without it, which then comes first
                        Box::pin(self.publish_batch(&batch[..at])).await?;
                        batch = &batch[at..];
                    } else {
                        return Err(Refused {
                            line: Some(batch[0].number),
                            problem,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// The events of the lines up to the first that is none, and why that one is none.
    fn parse(&self, batch: &[Line]) -> (Vec<NewEvent>, Option<Refused>) {
        let max = self.edge.broker.config.limits.max_event_bytes;
        let mut events = Vec::with_capacity(batch.len());
        for line in batch {
            match parse_line(&line.text, max) {
                Ok(event) => events.push(event),
                Err(problem) => {
                    self.edge.broker.count_refused(&problem);
                    let line = Some(line.number);
                    return (events, Some(Refused { line, problem }));
                }
            }
        }
        (events, None)
    }

    async fn append(&mut self, events: Vec<NewEvent>, bytes: usize) -> Result<(), Problem> {
        let count = events.len() as u64;
        let request = PublishRequest {
            topic: self.topic.clone(),
            events,
            producer: self.run.as_ref().map(|run| run.producer.clone()),
            lease: None,
            bytes,
        };
        let broker = &self.edge.broker;
        let appended = broker.publish_paced(request, &self.caller).await?;
        self.kept += count;
        self.first.get_or_insert_with(|| appended.clone());
        self.last = Some(appended);
        Ok(())
    }

    fn last_seq(&self) -> Option<u64> {
        let (_, last) = self.last.as_ref()?.range?;
        Some(last.0)
    }

    fn summary(&self, dropped: usize) -> Vec<u8> {
        #[derive(Serialize)]
        struct Summary<'a> {
            topic: &'a str,
            epoch: &'a str,
            kept: u64,
            first_seq: Option<u64>,
            last_seq: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            producer_epoch: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            dropped_bytes: Option<usize>,
        }
        let none = Epoch::none();
        let epoch = self.last.as_ref().map_or(&none, |last| &last.epoch);
        let first = self.first.as_ref().and_then(|first| first.range);
        let summary = Summary {
            topic: self.topic.as_str(),
            epoch: epoch.as_str(),
            kept: self.kept,
            first_seq: first.map(|(first, _)| first.0),
            last_seq: self.last_seq(),
            producer_epoch: self.run.as_ref().map(|run| run.producer.epoch),
            dropped_bytes: (dropped > 0).then_some(dropped),
        };
        serde_json::to_vec(&summary).expect("a plain struct can always be written")
    }

    /// What the publisher needs to go on from there.
    fn told(&self, refused: Refused) -> Problem {
        let Refused { line, problem } = refused;
        let mut problem = problem.about(self.topic.as_str());
        problem.details.index = None;
        problem.details.indexes = None;
        problem.details.line = line;
        problem.details.kept = Some(self.kept);
        problem.details.last_seq = Some(self.last_seq());
        problem
    }
}

impl Run {
    /// Without an epoch it is the producer's next run, and replaces the one before.
    async fn of(
        edge: &web::Data<Edge>,
        principal: &Principal,
        query: &Query,
    ) -> Result<Option<Self>, Problem> {
        let epoch = query.number("producer_epoch")?;
        if epoch.is_some_and(|epoch| epoch > MAX_EPOCH) {
            let message = format!("`producer_epoch` is at most {MAX_EPOCH}");
            return Err(Problem::invalid_request("producer_epoch", message));
        }
        let lease_ms = query.number("lease_ms")?;
        let Some(id) = query.get("producer_id") else {
            let lonely = [("producer_epoch", epoch), ("lease_ms", lease_ms)];
            return match lonely.into_iter().find(|(_, value)| value.is_some()) {
                None => Ok(None),
                Some((field, _)) => {
                    let message = format!("`{field}` needs a `producer_id`");
                    Err(Problem::invalid_request(field, message))
                }
            };
        };
        if !is_valid_id(id) {
            let message = "`producer_id` is 1 to 128 characters without controls";
            return Err(Problem::invalid_request("producer_id", message));
        }
        let lease = lease_of(lease_ms)?;
        let broker = &edge.broker;
        broker.check_agent(principal)?;
        let id = id.into();
        let epoch = match epoch {
            Some(epoch) => epoch,
            None => {
                let request = AttachRequest {
                    epoch: None,
                    lease: lease.unwrap_or(Lease::PUBLISHING),
                    holder: None,
                };
                let agents = &broker.agents;
                let attached = agents.attach(broker, principal.id(), &id, request);
                attached.await?.epoch
            }
        };
        let hold = broker
            .agents
            .open_stream(broker, principal.id(), &id, epoch, lease)?;
        let producer = Producer {
            id,
            epoch,
            seq: None,
        };
        Ok(Some(Self {
            producer,
            _hold: hold,
        }))
    }
}

fn lease_of(ms: Option<u64>) -> Result<Option<Lease>, Problem> {
    let out_of_range = || {
        let message = format!("`lease_ms` is {} to {}", Lease::MIN_MS, Lease::MAX_MS);
        Problem::invalid_request("lease_ms", message)
    };
    ms.map(|ms| Lease::from_ms(ms).ok_or_else(out_of_range))
        .transpose()
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self {
            line: None,
            problem,
        }
    }
}

/// Which event of the batch was refused.
fn refused_index(problem: &Problem) -> usize {
    let details = &problem.details;
    let known = details.indexes.as_ref().and_then(|all| all.iter().min());
    details.index.or(known.copied()).unwrap_or(0)
}

fn parse_line(text: &Bytes, max_bytes: usize) -> Result<NewEvent, Problem> {
    let raw: &RawValue = serde_json::from_slice(text).map_err(|error| {
        let message = format!("the line is not valid JSON: {error}");
        Problem::new(Code::InvalidJson, message)
    })?;
    NewEvent::parse(raw, text, max_bytes).map_err(|why| Problem::invalid_event(0, why))
}

/// What `curl` and the usual clients send with such a body; a type that says something else is refused.
fn check_type(request: &HttpRequest) -> Result<(), Problem> {
    let essence = match request.headers().get(header::CONTENT_TYPE) {
        None => return Ok(()),
        Some(value) => value.to_str().unwrap_or_default().split(';').next(),
    };
    match essence
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
        .as_str()
    {
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/x-jsonlines"
        | "application/json"
        | "application/octet-stream"
        | "text/plain" => Ok(()),
        _ => Err(Problem::new(
            Code::UnsupportedMediaType,
            "send `Content-Type: application/x-ndjson`: one event a line",
        )),
    }
}
