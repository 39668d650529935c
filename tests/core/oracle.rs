//! What was published, in one life of the topic.

use std::collections::BTreeMap;

/// Text by (part, kind).
pub type Texts = BTreeMap<(u64, String), String>;

#[derive(Default, Clone, Debug)]
pub struct Message {
    pub texts: Texts,
    pub ended: bool,
}

#[derive(Default)]
pub struct Oracle {
    pub messages: BTreeMap<String, Message>,
    /// Each generation of a message has its own id, because an ended one takes nothing more.
    generation: BTreeMap<u8, u32>,
    next_text: u32,
}

impl Oracle {
    /// The id under which message number `n` goes on.
    pub fn id(&mut self, n: u8) -> String {
        format!("m{n}.{}", self.generation.entry(n).or_default())
    }

    /// A text that stands nowhere else, with characters that need escapes and more than one byte.
    pub fn fresh_text(&mut self) -> String {
        self.next_text += 1;
        let odd = ["\n", "ü", "\"", "😀", "\\", ""][self.next_text as usize % 6];
        format!("<{}{odd}>", self.next_text)
    }

    pub fn append(&mut self, id: &str, part: u64, kind: &str, text: &str) {
        let message = self.messages.entry(id.to_owned()).or_default();
        message
            .texts
            .entry((part, kind.to_owned()))
            .or_default()
            .push_str(text);
    }

    pub fn start(&mut self, id: &str) {
        self.messages.entry(id.to_owned()).or_default();
    }

    pub fn end(&mut self, n: u8, id: &str, whole: Option<&str>) {
        let message = self.messages.entry(id.to_owned()).or_default();
        message.ended = true;
        if let Some(whole) = whole {
            message.texts.retain(|(_, kind), _| kind != "text");
            message.texts.insert((0, "text".into()), whole.to_owned());
        }
        *self.generation.entry(n).or_default() += 1;
    }
}
