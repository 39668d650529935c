//! `POST /v1/publish`: one body or an array of them.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use std::time::Instant;

use super::http::{Edge, caller, encoded, problem, read_body};
use super::media;
use crate::broker::problem::Problem;
use crate::dialect::native_json::decode::{PublishBodies, PublishLimits};
use crate::event::TopicPath;
use crate::ops::metrics::{Transport, TransportLabel};

/// What a publish is answered over HTTP.
#[derive(Serialize)]
struct Published<'a> {
    topic: &'a str,
    epoch: &'a str,
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    duplicate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

pub async fn publish(
    edge: web::Data<Edge>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let started = Instant::now();
    let response = match publish_body(&edge, &request, payload).await {
        Ok(response) => response,
        Err(refused) => problem(&refused),
    };
    let label = Transport {
        transport: TransportLabel::http,
    };
    edge.broker
        .metrics
        .publish_latency
        .get_or_create(&label)
        .observe(started.elapsed().as_secs_f64());
    response
}

async fn publish_body(
    edge: &Edge,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let caller = caller(request)?;
    let encoding = media::of_body(request)?;
    let answer_encoding = media::of_answer(request, encoding);
    let limits = &edge.broker.config.limits;
    let body = read_body(
        request,
        payload,
        limits.max_body_bytes,
        limits.stall_timeout,
    )
    .await?;
    if edge.broker.is_draining() {
        return Err(Problem::draining(1000));
    }
    // the body may have taken its time
    let caller = edge.broker.still(&caller)?;
    let publish_limits = PublishLimits {
        max_event_bytes: limits.max_event_bytes,
        max_batch_events: limits.max_batch_events,
    };
    let count = |refused: &Problem| edge.broker.count_refused(refused);
    let bodies = encoding.publish_bodies(&body, publish_limits);
    match bodies.inspect_err(count)? {
        PublishBodies::One(request) => {
            let topic = request.topic.clone();
            let answer = edge.broker.publish(request, &caller).await;
            let appended = answer.map_err(|refused| refused.about(topic.as_str()))?;
            let answer = to_vec(&published(&topic, &appended, None));
            Ok(encoded(answer, answer_encoding))
        }
        PublishBodies::Many(bodies) => {
            // all are on their way before the first is answered, one after the other: those of one topic in order
            let mut under_way = Vec::with_capacity(bodies.len());
            for body in bodies {
                under_way.push(match body.inspect_err(count) {
                    Ok(request) => {
                        let topic = request.topic.clone();
                        match edge.broker.begin_publish(request, &caller).await {
                            Ok(publish) => Ok((topic, publish)),
                            Err(refused) => Err((Some(topic), refused)),
                        }
                    }
                    Err(refused) => Err((None, refused)),
                });
            }
            let mut answers = Vec::with_capacity(under_way.len());
            for publish in under_way {
                answers.push(match publish {
                    Ok((topic, publish)) => match publish.wait().await {
                        Ok(appended) => Ok((topic, appended)),
                        Err(refused) => Err((Some(topic), refused)),
                    },
                    Err(refused) => Err(refused),
                });
            }
            Ok(encoded(each_answer(answers), answer_encoding))
        }
    }
}

type EachAnswer = Result<(TopicPath, crate::log::Appended), (Option<TopicPath>, Problem)>;

fn each_answer(answers: Vec<EachAnswer>) -> Vec<u8> {
    let mut out = Vec::with_capacity(answers.len() * 128);
    out.push(b'[');
    for (at, answer) in answers.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match answer {
            Ok((topic, appended)) => {
                out.extend_from_slice(&to_vec(&published(&topic, &appended, Some(200))))
            }
            Err((Some(topic), refused)) => {
                out.extend_from_slice(&refused.about(topic.as_str()).to_json())
            }
            Err((None, refused)) => out.extend_from_slice(&refused.to_json()),
        }
    }
    out.push(b']');
    out
}

fn published<'a>(
    topic: &'a TopicPath,
    appended: &'a crate::log::Appended,
    status: Option<u16>,
) -> Published<'a> {
    Published {
        topic: topic.as_str(),
        epoch: appended.epoch.as_str(),
        first_seq: appended.range.map(|(first, _)| first.0),
        last_seq: appended.range.map(|(_, last)| last.0),
        duplicate: appended.duplicate,
        status,
    }
}

fn to_vec(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a plain struct can always be written")
}
