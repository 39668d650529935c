//! One request after the other on a connection that is kept; each waits for the answer of the one before.

use tokio::time::{sleep, timeout};

use super::{ANSWER_WITHIN, Job, PUBLISH, Sent, is_over};
use crate::cli::bench::clock::Alarm;
use crate::cli::bench::decode::said::Published;
use crate::cli::bench::failure::Failure;
use crate::cli::bench::http::{Answer, Http};
use crate::cli::bench::line;
use crate::cli::bench::run::Run;
use crate::client::Problem;

pub async fn publish(run: &Run, mut job: Job) -> Result<(), Failure> {
    let mut alarm = Alarm::new()?;
    let mut connection = None;
    while let Some(due) = job.cadence.peek(run.now_us()) {
        if is_over(run, due.at_us) {
            return Ok(());
        }
        // within reach: a schedule that ends early must not be waited for
        alarm.ring(run.clock.at(due.at_us)).await?;
        if is_over(run, run.now_us()) {
            return Ok(());
        }
        job.cadence.advance();
        // a raw peer takes one text a request
        let (requests, events) = match run.peer.is_native() {
            true => (1, job.burst),
            false => (job.burst, 1),
        };
        for _ in 0..requests {
            publish_one(run, &mut connection, due.topic, events, due.at_us).await?;
        }
    }
    Ok(())
}

async fn publish_one(
    run: &Run,
    connection: &mut Option<Http>,
    topic: u32,
    events: u64,
    due_us: u64,
) -> Result<(), Failure> {
    // a server closes what was silent for long
    let kept = connection.take().filter(Http::is_open);
    let is_kept = kept.is_some();
    let mut http = match kept {
        Some(http) => http,
        None => line::http(run).await?,
    };
    let (sent, content) = Sent::next(run, topic, events, due_us);
    let mut request = Vec::new();
    run.peer.publish_request(topic, &content, &mut request);
    match timeout(ANSWER_WITHIN, http.ask(&request)).await {
        Err(_) => {
            sent.unknown(run);
            Err(Failure::Silent(ANSWER_WITHIN, "a publish was not answered"))
        }
        Ok(Ok(answer)) => {
            *connection = Some(http);
            settle(run, &sent, &answer).await
        }
        // it was closed in the very moment: nobody knows, and the next one comes on another connection
        Ok(Err(_)) if is_kept => {
            sent.unknown(run);
            Ok(())
        }
        Ok(Err(error)) => {
            sent.unknown(run);
            Err(Failure::cut("a publisher's connection", &error))
        }
    }
}

async fn settle(run: &Run, sent: &Sent, answer: &Answer) -> Result<(), Failure> {
    if answer.is_good() {
        let published: Option<Published> = run
            .peer
            .is_native()
            .then(|| serde_json::from_slice(&answer.body).ok())
            .flatten();
        let epoch = published.as_ref().map(|published| published.epoch.as_str());
        let seqs = published
            .as_ref()
            .and_then(|published| published.first_seq.zip(published.last_seq));
        sent.accepted(run, epoch, seqs);
        return Ok(());
    }
    let problem: Problem = serde_json::from_slice(&answer.body).unwrap_or_default();
    if problem.code == "outcome_unknown" {
        sent.unknown(run);
        return Ok(());
    }
    let code = match problem.code.as_str() {
        "" => format!("status_{}", answer.status),
        code => code.to_owned(),
    };
    sent.refused(run, &code);
    let may_pass = problem.passes() || matches!(answer.status, 429 | 503);
    if !(may_pass && run.bears_refusals.get()) {
        return Err(line::refused(
            &run.peer,
            PUBLISH,
            answer.status,
            &answer.body,
        ));
    }
    sleep(problem.retry_after().unwrap_or_default()).await;
    Ok(())
}
