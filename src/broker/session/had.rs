//! What readers have for certain that never say so themselves: of each labelled subscription the position that was
//! reached when something was sent which the peer has answered since.

use std::collections::HashMap;
use std::rc::Rc;

use super::Session;
use crate::event::{Epoch, Position, Seq, TopicPath};
use crate::log::ReadState;

/// Of one subscription.
#[derive(Debug)]
pub struct Had {
    /// Where it stood at the last mark,
    marked: Position,
    /// and at the last mark that was answered.
    confirmed: Position,
}

impl Had {
    /// `None`: it begins with a reset, until which it has nothing.
    pub fn new(position: Option<Position>) -> Self {
        let position = position.unwrap_or(Position {
            epoch: Epoch::none(),
            seq: Seq::ZERO,
            partial: false,
        });
        Self {
            marked: position.clone(),
            confirmed: position,
        }
    }
}

impl<M: Clone> Session<M> {
    /// Notes where every labelled subscription stands. `true`: some stand elsewhere than the reader is known to;
    /// send something that it answers, behind what was delivered.
    pub fn mark(&mut self) -> bool {
        let mut moved = false;
        for sub in self.subs.iter_mut().flatten() {
            let (Some(had), None) = (&mut sub.had, sub.reset) else {
                continue;
            };
            let ReadState { seq, partial } = sub.state;
            let marked = &had.marked;
            if marked.seq != seq || marked.partial != partial || marked.epoch != sub.epoch {
                had.marked = Position {
                    epoch: sub.epoch.clone(),
                    seq,
                    partial,
                };
            }
            moved |= had.marked != had.confirmed;
        }
        moved
    }

    /// The last mark was answered: whatever was delivered before it has arrived. Gives the labels under which
    /// anything moved, each with all of its topics.
    pub fn confirm(&mut self) -> HashMap<Rc<str>, Vec<(TopicPath, Position)>> {
        let mut moved = HashMap::new();
        for sub in self.subs.iter_mut().flatten() {
            if let (Some(had), Some(label)) = (&mut sub.had, &sub.label)
                && had.confirmed != had.marked
            {
                had.confirmed = had.marked.clone();
                moved.entry(label.clone()).or_insert_with(Vec::new);
            }
        }
        if moved.is_empty() {
            return moved;
        }
        for sub in self.subs.iter().flatten() {
            if let (Some(had), Some(label)) = (&sub.had, &sub.label)
                && let Some(positions) = moved.get_mut(label)
            {
                positions.push((sub.topic.clone(), had.confirmed.clone()));
            }
        }
        moved
    }

    /// What the reader has for certain of each topic under this label.
    pub fn had_under(&self, label: &Rc<str>) -> Vec<(TopicPath, Position)> {
        let subs = self.subs.iter().flatten();
        let under = subs.filter(|sub| sub.label.as_ref() == Some(label));
        under
            .filter_map(|sub| Some((sub.topic.clone(), sub.had.as_ref()?.confirmed.clone())))
            .collect()
    }
}
