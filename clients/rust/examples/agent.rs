//! An agent that answers word by word, until it is done or a reader cancels it.

use serde_json::json;
use tidewire::client::{Attachment, Endpoint, NewEvent, Publisher, PublisherOptions, TextKind};

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("TIDEWIRE_URL").unwrap_or("http://127.0.0.1:7070".into());
    let token = std::env::var("TIDEWIRE_TOKEN").ok();
    let topic = "/chat/42";
    let options = PublisherOptions {
        attach: Some(Attachment::controlled_by(topic)),
        ..PublisherOptions::anonymous("writer")
    };
    let agent = Publisher::start(Endpoint::new(&url, token.as_deref())?, topic, options);
    let answer = async {
        agent
            .publish(NewEvent::started("m1", json!({ "role": "assistant" })))
            .await?;
        for word in ["Hello ", "from ", "Rust."] {
            agent
                .publish(NewEvent::delta("m1", TextKind::Text, word))
                .await?;
        }
        agent
            .publish(NewEvent::completed(
                "m1",
                json!({ "finish_reason": "stop" }),
            ))
            .await
    };
    tokio::select! {
        answered = answer => answered?,
        told = agent.control() => {
            agent.acknowledge(&told?);
            agent.publish(NewEvent::interrupted("m1", "cancelled")).await?;
        }
    }
    Ok(agent.finish().await?)
}
