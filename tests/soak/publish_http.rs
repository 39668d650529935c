//! Publishers over HTTP: one request at a time, with one publish for each of many topics or a single one;
//! some sent again, some cut off before the answer and then sent again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::value::RawValue;

use crate::control::Control;
use crate::heard::{self, Frame};
use crate::oracle::Topic;
use crate::publish_ws::check_answer;
use crate::script::{Batch, Script};
use crate::support::Http;
use crate::tally::{Checked, Fault, Tally, Wrong, must};

/// Rest when every topic had to wait for its readers.
const PAUSE: Duration = Duration::from_millis(1);

struct Poster<'a> {
    addr: SocketAddr,
    http: Http,
    rng: Rng,
    tally: Tally,
    control: &'a Control,
}

/// Publishes until told to end, and says farewell.
pub fn run(
    addr: SocketAddr,
    topics: Vec<Arc<Topic>>,
    mut rng: Rng,
    control: &Control,
) -> Checked<Tally> {
    let mut scripts: Vec<Script> = topics
        .into_iter()
        .map(|topic| Script::new(topic, rng.fork()))
        .collect();
    let (http, tally) = (Http::connect(addr), Tally::default());
    let mut poster = Poster {
        addr,
        http,
        rng,
        tally,
        control,
    };
    poster
        .publish(&mut scripts)
        .map_err(|fault| fault.of("a publisher over HTTP"))?;
    control.say_farewell();
    Ok(poster.tally)
}

impl Poster<'_> {
    fn publish(&mut self, scripts: &mut [Script]) -> Checked {
        while !self.control.is_over() && !self.control.is_ending() {
            let mut batches = Vec::new();
            for script in scripts.iter_mut() {
                if script.is_due() {
                    batches.push((script.topic.clone(), script.next()));
                }
            }
            if batches.is_empty() {
                std::thread::sleep(PAUSE);
                continue;
            }
            if self.rng.u8(0..20) == 0 {
                for single in batches {
                    self.post(std::slice::from_ref(&single))?;
                }
            } else {
                self.post(&batches)?;
            }
        }
        for script in scripts.iter_mut().filter(|_| !self.control.is_over()) {
            for batch in script.farewell() {
                self.post(&[(script.topic.clone(), batch)])?;
            }
        }
        Ok(())
    }

    fn post(&mut self, batches: &[(Arc<Topic>, Batch)]) -> Checked {
        let each: Vec<String> = batches
            .iter()
            .map(|(_, batch)| format!("{{{}}}", batch.members))
            .collect();
        let body = match &each[..] {
            [single] => single.clone(),
            many => format!("[{}]", many.join(",")),
        };
        self.tally.publishes += batches.len() as u64;
        self.tally.published += batches
            .iter()
            .map(|(_, batch)| batch.last + 1 - batch.first)
            .sum::<u64>();
        self.control
            .posted
            .store(self.tally.published, std::sync::atomic::Ordering::Relaxed);
        match self.rng.u8(0..60) {
            0 => {
                // nobody knows what became of it, so it is sent again
                self.send_and_cut(&body);
                self.tally.publisher_cuts += 1;
                self.tally.retried += batches.len() as u64;
                self.send(&body, batches, None)
            }
            1 => {
                self.send(&body, batches, Some(false))?;
                self.tally.retried += batches.len() as u64;
                self.send(&body, batches, Some(true))
            }
            _ => self.send(&body, batches, Some(false)),
        }
    }

    fn send_and_cut(&mut self, body: &str) {
        let http = std::mem::replace(&mut self.http, Http::connect(self.addr));
        let length = body.len().to_string();
        let headers = [
            ("content-type", "application/json"),
            ("content-length", &length),
        ];
        let request = http.head("POST", "/v1/publish", &headers) + body;
        let until = if self.rng.bool() {
            request.len()
        } else {
            self.rng.usize(0..request.len())
        };
        let mut wire = http.wire;
        let _ = wire.try_send(&request.as_bytes()[..until]);
        if self.rng.bool() {
            std::thread::sleep(Duration::from_millis(self.rng.u64(0..4)));
        }
        wire.cut();
    }

    /// `duplicate`: whether the broker must have had it; `None`: nobody knows.
    fn send(
        &mut self,
        body: &str,
        batches: &[(Arc<Topic>, Batch)],
        duplicate: Option<bool>,
    ) -> Checked {
        let response = self.http.post("/v1/publish", body);
        let text = response.text();
        if response.status == 408 {
            // too busy to hear all of it in time: nobody knows, so it is sent again
            self.http = Http::connect(self.addr);
            self.tally.turned_away += 1;
            return self.send(body, batches, None);
        }
        must(response.status == 200, Wrong::Unexplained, || text.clone())?;
        let altered = |why| Fault::new(Wrong::Altered, why);
        let answers: Vec<&RawValue> = match batches {
            [_] => vec![heard::parse(&text).map_err(altered)?],
            _ => heard::parse(&text).map_err(altered)?,
        };
        must(answers.len() == batches.len(), Wrong::Lost, || text.clone())?;
        for ((topic, batch), answer) in batches.iter().zip(answers) {
            let text = answer.get();
            // the answer of a WebSocket with the topic instead of the op
            let told: Frame<'_> = heard::parse(text).map_err(altered)?;
            must(
                told.topic.as_deref() == Some(&*topic.path),
                Wrong::OutOfOrder,
                || text.to_owned(),
            )?;
            check_answer(topic, batch, &told, text)?;
            let was = told.duplicate.unwrap_or_default();
            self.tally.duplicates += u64::from(was);
            let wrong = if was { Wrong::Lost } else { Wrong::Repeated };
            must(
                duplicate.is_none_or(|expected| expected == was),
                wrong,
                || text.to_owned(),
            )?;
        }
        Ok(())
    }
}
