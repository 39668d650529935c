//! The text of one message: one entry per (part, kind), in the order in which they first appeared.

use super::wire::{PartText, TextKind};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts(Vec<PartText>);

impl Parts {
    /// In order of first appearance.
    pub fn iter(&self) -> std::slice::Iter<'_, PartText> {
        self.0.iter()
    }

    /// There is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a delta.
    pub fn append(&mut self, part: u16, kind: TextKind, text: &str) {
        // the one that grows is nearly always the last
        match self
            .0
            .iter_mut()
            .rev()
            .find(|p| p.part == part && p.kind == kind)
        {
            Some(held) => held.text.push_str(text),
            None => self.0.push(PartText {
                part,
                kind,
                text: text.into(),
                omitted: 0,
            }),
        }
    }

    /// The text of one kind, its parts joined.
    pub fn text_of(&self, kind: TextKind) -> String {
        self.0
            .iter()
            .filter(|p| p.kind == kind)
            .map(|p| p.text.as_str())
            .collect()
    }

    /// UTF-8 bytes held.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|p| p.text.len()).sum()
    }

    /// What a snapshot or a compact end event says, replacing all but the beginnings that it omits and
    /// that are held here.
    pub fn replaced_by(&self, snapshot: &[PartText]) -> Self {
        let joined = |new: &PartText| {
            let kept = self.beginning(new.part, new.kind, new.omitted);
            match kept {
                Some((omitted, kept)) => PartText {
                    text: format!("{kept}{}", new.text),
                    omitted,
                    ..*new
                },
                None => new.clone(),
            }
        };
        Self(snapshot.iter().map(joined).collect())
    }

    /// The held text of (part, kind) up to byte `upto` of the whole, and how much is missing before it.
    fn beginning(&self, part: u16, kind: TextKind, upto: u64) -> Option<(u64, &str)> {
        let held = self.0.iter().find(|p| p.part == part && p.kind == kind)?;
        let length = usize::try_from(upto.checked_sub(held.omitted)?).ok()?;
        Some((held.omitted, held.text.get(..length)?))
    }

    /// `message.completed` with `text`: the whole answer replaces the parts of kind `text`.
    pub fn complete_with(&mut self, text: &str) {
        let place = self.0.iter().position(|p| p.kind == TextKind::Text);
        let part = place.map_or(0, |at| self.0[at].part);
        self.0.retain(|p| p.kind != TextKind::Text);
        let whole = PartText {
            part,
            kind: TextKind::Text,
            text: text.into(),
            omitted: 0,
        };
        // only other kinds stand before the first of kind text, so its place is still right
        self.0.insert(place.unwrap_or(self.0.len()), whole);
    }

    /// Drops text from the beginning until at least `bytes` are gone; says how many went.
    pub fn drop_beginning(&mut self, bytes: usize) -> usize {
        let mut gone = 0;
        for part in &mut self.0 {
            if gone >= bytes {
                break;
            }
            let mut cut = (bytes - gone).min(part.text.len());
            while !part.text.is_char_boundary(cut) {
                cut += 1;
            }
            part.text.drain(..cut);
            part.omitted += cut as u64;
            gone += cut;
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(part: u16, kind: TextKind, text: &str, omitted: u64) -> PartText {
        PartText {
            part,
            kind,
            text: text.into(),
            omitted,
        }
    }

    #[test]
    fn parts_stand_in_order_of_first_appearance() {
        let mut parts = Parts::default();
        parts.append(0, TextKind::Reasoning, "hm");
        parts.append(0, TextKind::Text, "a");
        parts.append(1, TextKind::Text, "c");
        parts.append(0, TextKind::Text, "b");
        let order: Vec<_> = parts
            .iter()
            .map(|p| (p.part, p.kind, p.text.as_str()))
            .collect();
        assert_eq!(
            order,
            [
                (0, TextKind::Reasoning, "hm"),
                (0, TextKind::Text, "ab"),
                (1, TextKind::Text, "c")
            ]
        );
        assert_eq!(parts.text_of(TextKind::Text), "abc");
    }

    #[test]
    fn a_snapshot_replaces_all_but_what_it_omits() {
        let mut held = Parts::default();
        held.append(0, TextKind::Text, "h\u{e9}llo wor");
        held.append(3, TextKind::Text, "old");
        let new = held.replaced_by(&[part(0, TextKind::Text, "lo world", 4)]);
        assert_eq!(new.text_of(TextKind::Text), "h\u{e9}llo world");
        assert_eq!(new.iter().next().map(|p| p.omitted), Some(0));
    }

    #[test]
    fn a_beginning_that_is_not_held_stays_missing() {
        let mut held = Parts::default();
        held.append(0, TextKind::Text, "abc");
        let too_short = held.replaced_by(&[part(0, TextKind::Text, "xyz", 9)]);
        assert_eq!(
            too_short.iter().next(),
            Some(&part(0, TextKind::Text, "xyz", 9))
        );

        let lacking = Parts(vec![part(0, TextKind::Text, "cdef", 2)]);
        let joined = lacking.replaced_by(&[part(0, TextKind::Text, "efgh", 4)]);
        assert_eq!(
            joined.iter().next(),
            Some(&part(0, TextKind::Text, "cdefgh", 2))
        );
        let before = lacking.replaced_by(&[part(0, TextKind::Text, "bcd", 1)]);
        assert_eq!(
            before.iter().next(),
            Some(&part(0, TextKind::Text, "bcd", 1))
        );
    }

    #[test]
    fn the_whole_answer_replaces_kind_text_and_nothing_else() {
        let mut parts = Parts::default();
        parts.append(0, TextKind::Reasoning, "hm");
        parts.append(2, TextKind::Text, "dra");
        parts.append(0, TextKind::ToolInput, "{}");
        parts.append(3, TextKind::Text, "ft");
        parts.complete_with("final");
        let all: Vec<_> = parts
            .iter()
            .map(|p| (p.part, p.kind, p.text.as_str()))
            .collect();
        let expected = [
            (0, TextKind::Reasoning, "hm"),
            (2, TextKind::Text, "final"),
            (0, TextKind::ToolInput, "{}"),
        ];
        assert_eq!(all, expected);
        let mut empty = Parts::default();
        empty.complete_with("all");
        assert_eq!(empty.text_of(TextKind::Text), "all");
    }

    #[test]
    fn a_beginning_goes_at_character_borders() {
        let mut parts = Parts::default();
        parts.append(0, TextKind::Text, "\u{e9}\u{e9}\u{e9}");
        assert_eq!(parts.drop_beginning(3), 4);
        assert_eq!(
            parts.iter().next(),
            Some(&part(0, TextKind::Text, "\u{e9}", 4))
        );
    }
}
