//! Reads a topic from its beginning, and prints its first whole answer.

use tidewire::client::{Endpoint, Fold, Item, MessageState, Subscriber, SubscriberOptions};

#[actix_rt::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("TIDEWIRE_URL").unwrap_or("http://127.0.0.1:7070".into());
    let token = std::env::var("TIDEWIRE_TOKEN").ok();
    let options = SubscriberOptions {
        topics: vec![("/chat/42".into(), "start".into())],
        ..SubscriberOptions::default()
    };
    let mut reader = Subscriber::new(Endpoint::new(&url, token.as_deref())?, options);
    let mut view = Fold::default();
    loop {
        match reader.next().await? {
            Item::Events {
                events, position, ..
            } => {
                for event in &events {
                    view.apply(event);
                }
                view.at(&position);
            }
            Item::Gap { .. } => view.gap(),
            Item::Reset { .. } => view.reset(),
            Item::Refused { problem, .. } => return Err(problem.to_string().into()),
            Item::Subscribed { .. } | Item::Disconnected { .. } => {}
        }
        if let Some(answer) = view
            .messages()
            .find(|message| message.state == MessageState::Completed)
        {
            println!("{}", answer.text());
            return Ok(());
        }
    }
}
