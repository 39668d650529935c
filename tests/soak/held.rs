//! The text of one message as a reader holds it, made of nothing but what the reader was sent.

use crate::heard::PartOf;
use crate::oracle::Part;
use crate::tally::{Checked, Fault, Wrong};
use crate::wording::KINDS;

#[derive(Clone, Debug, Default)]
pub struct Held {
    parts: Vec<Part>,
    /// The reader came into the middle of it without a snapshot (`from=live`): its beginning is unknown.
    pub late: bool,
}

impl Held {
    pub fn late() -> Held {
        Held {
            late: true,
            ..Held::default()
        }
    }

    /// What a snapshot or a compact end event says.
    pub fn told(parts: &[PartOf<'_>]) -> Checked<Held> {
        let parts = parts.iter().map(part_of).collect::<Checked<Vec<Part>>>()?;
        Ok(Held { parts, late: false })
    }

    pub fn append(&mut self, (part, kind): (u8, u8), text: &str) {
        let known = self
            .parts
            .iter_mut()
            .rfind(|p| (p.part, p.kind) == (part, kind));
        match known {
            Some(known) => known.text.push_str(text),
            None => self.parts.push(Part {
                part,
                kind,
                text: text.to_owned(),
            }),
        }
    }

    /// Byte for byte.
    pub fn must_be(&self, expected: &[Part], of: impl FnOnce() -> String) -> Checked {
        if self.late || self.parts == expected {
            return Ok(());
        }
        let (has, should) = (joined(&self.parts), joined(expected));
        let at = has
            .bytes()
            .zip(should.bytes())
            .take_while(|(a, b)| a == b)
            .count();
        let excerpt = |text: &str| {
            let from = (0..=at.saturating_sub(30).min(text.len()))
                .rev()
                .find(|at| text.is_char_boundary(*at));
            text[from.unwrap_or(0)..]
                .chars()
                .take(80)
                .collect::<String>()
        };
        let what = format!(
            "the text of {}: {} bytes instead of {}, different from byte {at}: {:?} instead of {:?}",
            of(),
            has.len(),
            should.len(),
            excerpt(&has),
            excerpt(&should),
        );
        Err(Fault::new(Wrong::Altered, what))
    }
}

fn joined(parts: &[Part]) -> String {
    let tell = |part: &Part| {
        format!(
            "[{} {}]{}",
            part.part,
            KINDS[usize::from(part.kind)],
            part.text
        )
    };
    parts.iter().map(tell).collect()
}

fn part_of(told: &PartOf<'_>) -> Checked<Part> {
    let kind = KINDS.iter().position(|kind| *kind == told.kind);
    match (kind, u8::try_from(told.part), told.omitted) {
        (Some(kind), Ok(part), 0) => Ok(Part {
            part,
            kind: kind as u8,
            text: told.text.clone().into_owned(),
        }),
        _ => Err(Fault::new(
            Wrong::Altered,
            format!("no part of a message here: {told:?}"),
        )),
    }
}
