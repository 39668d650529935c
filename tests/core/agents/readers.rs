//! Readers among all this: their text is what was acknowledged, and every message they see ends.

use std::rc::Rc;
use std::sync::Arc;

use tidewire::broker::command::ReadOptions;
use tidewire::broker::session::{Pumped, Session, Terms};
use tidewire::dialect::{Wire, sse};
use tidewire::event::TypeFilter;
use tidewire::log::{ReadFrom, Replay};

use super::world::{ENCODING, Member, Who, World};
use crate::client::{Client, State};
use crate::world::{payload, read_blocks};

#[derive(Default)]
pub struct Reader {
    topic: usize,
    client: Client,
    connection: Option<Connection>,
}

struct Connection {
    session: Session<Member>,
    wire: Wire,
    /// Bytes of an SSE stream that are no whole block yet.
    rest: String,
}

impl Reader {
    pub fn session(&mut self) -> Option<&mut Session<Member>> {
        self.connection
            .as_mut()
            .map(|connection| &mut connection.session)
    }
}

impl World {
    /// `from`: up to 3 it resumes, where it has been there before.
    pub(super) fn join(&mut self, at: usize, topic: usize, from: u8, view: u8) {
        self.cut(at);
        let resumed = self.readers[at].client.position().filter(|_| from <= 3);
        let reader = &mut self.readers[at];
        let from = match resumed {
            Some(position) => ReadFrom::parse(&position).expect("a position"),
            None => {
                reader.client = Client::default();
                reader.topic = topic;
                if from == 4 {
                    ReadFrom::Snapshot
                } else {
                    ReadFrom::Start
                }
            }
        };
        let topic = &self.topics[reader.topic];
        let options = ReadOptions {
            replay: Replay::Raw,
            coalesce_ms: if view == 1 { 40 } else { 0 },
            filter: TypeFilter::everything(),
        };
        let wire = if view == 2 {
            Wire::Sse {
                named: true,
                single: true,
            }
        } else {
            Wire::Native(ENCODING)
        };
        let mut session = Session::new(wire, 300, 8, Arc::default());
        let attach = session.subscribe(
            topic.path.clone(),
            topic.hub.clone(),
            &from,
            Terms::unnamed(Rc::new(options), false),
            |key| (Who::Reader(at), key),
        );
        match wire {
            Wire::Native(_) => session.tell_subscribed(&None, &topic.path, &attach),
            Wire::Sse { named, .. } => {
                let mut ready = sse::ready([(&topic.path, &attach)].into_iter(), named).to_vec();
                sse::push_end(&mut ready, session.current_id().as_deref());
                session.notice(ready.into());
            }
            Wire::AppSync => unreachable!("it has tests of its own"),
        }
        let rest = String::new();
        reader.connection = Some(Connection {
            session,
            wire,
            rest,
        });
        self.pump_reader(at);
    }

    pub(super) fn cut(&mut self, at: usize) {
        if let Some(mut connection) = self.readers[at].connection.take() {
            connection.session.end();
        }
    }

    pub(super) fn pump_reader(&mut self, at: usize) {
        if let Some(session) = self.readers[at].session() {
            while session.pump(&mut Vec::new()) == Pumped::More {}
        }
    }

    pub(super) fn read(&mut self, at: usize, pieces: usize) {
        for _ in 0..pieces {
            let Reader {
                client, connection, ..
            } = &mut self.readers[at];
            let Some(connection) = connection else { return };
            let Some(piece) = connection.session.outbox.pop() else {
                return;
            };
            match connection.wire {
                Wire::Native(encoding) => client.on_frame(&payload(&piece, encoding)),
                Wire::Sse { .. } => read_blocks(client, &mut connection.rest, &piece),
                Wire::AppSync => unreachable!("it has tests of its own"),
            }
            self.pump_reader(at);
        }
    }

    pub(super) fn come_back_and_check(&mut self) {
        for at in 0..self.readers.len() {
            if self.readers[at].connection.is_none() && self.readers[at].client.position().is_some()
            {
                self.join(at, 0, 0, 0);
            }
        }
        self.show_all();
        for at in 0..self.readers.len() {
            self.read(at, usize::MAX);
            if let Some(session) = self.readers[at].session() {
                session.tell_positions();
            }
            self.read(at, usize::MAX);
            self.check_reader(at);
        }
    }

    fn check_reader(&self, at: usize) {
        let Reader {
            topic,
            client,
            connection,
        } = &self.readers[at];
        let model = &self.topics[*topic].model;
        if connection.is_none() {
            return;
        }
        assert_eq!(client.seq, model.head, "reader {at} reached the head");
        for (id, message) in &client.messages {
            let said = &model.messages[id];
            assert_eq!(message.texts, said.texts, "reader {at}, message {id}");
            assert_eq!(message.state, State::Ended, "reader {at}, message {id}");
            assert!(said.ended);
        }
    }
}
