//! `post`: a handler as anybody would write it: actix-web, one worker, the body of a publish parsed into types.

use std::net::TcpListener;

use actix_web::{App, HttpResponse, HttpServer, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Deserialize)]
struct Publish {
    topic: String,
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    data: Value,
}

#[derive(Serialize)]
struct Answer {
    ok: bool,
}

async fn publish(body: web::Json<Publish>) -> HttpResponse {
    let Publish { topic, events } = body.into_inner();
    let ok = !topic.is_empty()
        && events
            .iter()
            .all(|event| !event.kind.is_empty() && !event.data.is_null());
    HttpResponse::Ok().json(Answer { ok })
}

pub fn run(listener: TcpListener) -> std::io::Result<()> {
    actix_web::rt::System::new().block_on(async {
        let app = || App::new().route("/v1/publish", web::post().to(publish));
        HttpServer::new(app)
            .workers(1)
            .listen(listener)?
            .run()
            .await
    })
}
