//! The bytes waiting for one socket.
//!
//! Bound: `bound` plus one item for deliveries, and the same for answers. The next item is made only when
//! there is room, so nothing queues for a reader that does not read: it keeps its position in the log.
//! Answers (`published`, `error`, `pong`) go before deliveries that wait, but never into the middle of one.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

#[derive(Debug)]
pub struct Outbox {
    bound: usize,
    /// What is written next, or was begun to be. A delivery on an empty outbox stands here at once: most are alone,
    /// and touch no queue.
    current: Bytes,
    answers: VecDeque<Bytes>,
    answer_bytes: usize,
    deliveries: VecDeque<Bytes>,
    delivery_bytes: usize,
}

/// Capacity a drained queue may keep.
const KEPT_CAPACITY: usize = 8;

impl Outbox {
    /// `bound`: bytes over which nothing is added.
    pub fn new(bound: usize) -> Self {
        Self {
            bound,
            current: Bytes::new(),
            answers: VecDeque::new(),
            answer_bytes: 0,
            deliveries: VecDeque::new(),
            delivery_bytes: 0,
        }
    }

    /// Whether another delivery may be made.
    pub fn has_room(&self) -> bool {
        self.delivery_bytes + self.current.len() < self.bound
    }

    /// Whether another command may be read, since its answer would have a place.
    pub fn has_room_for_answers(&self) -> bool {
        self.answer_bytes < self.bound
    }

    pub fn push_answer(&mut self, bytes: Bytes) {
        self.answer_bytes += bytes.len();
        self.answers.push_back(bytes);
    }

    pub fn push_delivery(&mut self, bytes: Bytes) {
        if self.is_empty() {
            self.current = bytes;
            return;
        }
        self.delivery_bytes += bytes.len();
        self.deliveries.push_back(bytes);
    }

    pub fn bytes(&self) -> usize {
        self.current.len() + self.answer_bytes + self.delivery_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// All that is to be written, if that is one piece.
    pub fn only(&self) -> Option<&[u8]> {
        (self.answer_bytes == 0 && self.delivery_bytes == 0).then_some(&self.current)
    }

    /// What is to be written next, in order; answers with how many slices were filled.
    pub fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let current = std::iter::once(&self.current).filter(|bytes| !bytes.is_empty());
        let waiting = current.chain(&self.answers).chain(&self.deliveries);
        let mut filled = 0;
        for (slot, bytes) in out.iter_mut().zip(waiting) {
            *slot = IoSlice::new(bytes);
            filled += 1;
        }
        filled
    }

    /// `written` bytes of what `slices` gave are gone.
    pub fn advance(&mut self, mut written: usize) {
        while written > 0 {
            if self.current.is_empty() {
                match self.pop() {
                    Some(next) => self.current = next,
                    None => return,
                }
            }
            let n = written.min(self.current.len());
            self.current.advance(n);
            written -= n;
        }
        if self.current.is_empty() {
            self.current = Bytes::new();
        }
    }

    /// Takes the next whole piece.
    pub fn pop(&mut self) -> Option<Bytes> {
        if !self.current.is_empty() {
            return Some(std::mem::take(&mut self.current));
        }
        if let Some(answer) = self.answers.pop_front() {
            self.answer_bytes -= answer.len();
            return Some(answer);
        }
        let delivery = self.deliveries.pop_front()?;
        self.delivery_bytes -= delivery.len();
        Some(delivery)
    }

    /// Gives back the capacity of a burst.
    pub fn shrink(&mut self) {
        if self.deliveries.is_empty() && self.deliveries.capacity() > KEPT_CAPACITY {
            self.deliveries.shrink_to_fit();
        }
        if self.answers.is_empty() && self.answers.capacity() > KEPT_CAPACITY {
            self.answers.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); 2];
            let filled = outbox.slices(&mut slices);
            let all: Vec<u8> = slices[..filled]
                .iter()
                .flat_map(|slice| slice.to_vec())
                .collect();
            let n = step.min(all.len());
            out.extend_from_slice(&all[..n]);
            outbox.advance(n);
        }
        out
    }

    #[test]
    fn pieces_come_out_whole_and_answers_before_those_that_wait() {
        for step in 1..12 {
            let mut outbox = Outbox::new(8);
            outbox.push_delivery(Bytes::from_static(b"first"));
            outbox.push_delivery(Bytes::from_static(b"second"));
            outbox.push_answer(Bytes::from_static(b"answer"));
            assert_eq!(drained(&mut outbox, step), b"firstanswersecond");
        }
    }

    #[test]
    fn an_answer_never_lands_inside_a_delivery() {
        let mut outbox = Outbox::new(8);
        outbox.push_delivery(Bytes::from_static(b"delivery"));
        outbox.advance(3);
        outbox.push_answer(Bytes::from_static(b"answer"));
        assert_eq!(drained(&mut outbox, 4), b"iveryanswer");
    }

    #[test]
    fn room_ends_at_the_bound() {
        let mut outbox = Outbox::new(8);
        outbox.push_delivery(Bytes::from_static(b"1234567"));
        assert!(outbox.has_room());
        outbox.push_delivery(Bytes::from_static(b"89"));
        assert!(!outbox.has_room() && outbox.has_room_for_answers());
        outbox.advance(2);
        assert!(outbox.has_room());
        assert_eq!(outbox.bytes(), 7);
    }
}
