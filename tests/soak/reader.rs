//! One reader: what it asks for, its connection of the moment, and its view of each topic.
//!
//! Over a WebSocket a reader resumes with the positions it holds. Over SSE it may also resume with the last
//! `id`; what came after that is provisional and forgotten, as a careful client does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::content::Carrier;
use crate::filter::Filter;
use crate::framing::{Stream, next_frame, parse_block, take_head};
use crate::heard::{self, Event, Frame, Own};
use crate::line::Line;
use crate::oracle::Topic;
use crate::support::reader::split_position;
use crate::support::ws::{ACCEPT, FIN_CLOSE, FIN_PING, FIN_PONG, FIN_TEXT, KEY, masked};
use crate::tally::{Checked, Fault, Tally, Wrong, must};
use crate::view::{Asked, Beginning, View};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    Sse,
}

#[derive(Clone)]
pub struct Wants {
    pub transport: Transport,
    pub topics: Vec<Arc<Topic>>,
    pub filter: Filter,
    pub coalesce_ms: u64,
    pub from: Asked,
    /// Told the past as compact, the first time and whenever it comes back.
    pub compact: bool,
    /// Bytes that the kernel takes for it.
    pub receive_buffer: Option<usize>,
}

/// With what a reader comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// The positions of its views.
    Positions,
    /// The last `id` of its stream, where there is one.
    Cursor,
}

/// How a connection ended that the reader did not end itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this close code.
    Closed(u16),
    /// Without a word.
    Cut,
    /// The broker was too busy to hear the request in time.
    TurnedAway,
}

enum Phase {
    /// The answer to the request is still to come.
    Handshake,
    WebSocket {
        welcomed: bool,
    },
    Sse(Stream),
}

/// How a topic stands on a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Out,
    Asked(Asked),
    In,
    Leaving,
}

/// One topic of a reader.
#[derive(Clone)]
struct Seat {
    view: View,
    standing: Standing,
    /// What was acknowledged when this reading was asked for.
    acknowledged: u64,
}

pub struct Reader {
    pub number: u64,
    pub wants: Wants,
    seats: Vec<Seat>,
    /// The views at the last `id`, where something came after it without one.
    provisional: Option<Vec<View>>,
    last_id: Option<String>,
    connection: Option<(Line, Phase)>,
    /// `draining` was announced.
    pub draining: bool,
}

impl Reader {
    pub fn new(number: u64, wants: Wants) -> Reader {
        let merges = wants.coalesce_ms > 0;
        let view = |topic: &Arc<Topic>| View::new(topic.clone(), wants.filter, merges);
        let seat = |topic| Seat {
            view: view(topic),
            standing: Standing::Out,
            acknowledged: 0,
        };
        Reader {
            number,
            seats: wants.topics.iter().map(seat).collect(),
            wants,
            provisional: None,
            last_id: None,
            connection: None,
            draining: false,
        }
    }

    pub fn views(&self) -> impl Iterator<Item = &View> {
        self.seats.iter().map(|seat| &seat.view)
    }

    /// Connected, and every topic's reading has begun.
    pub fn is_reading(&self) -> bool {
        self.is_connected() && self.seats.iter().all(|seat| seat.standing == Standing::In)
    }

    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// It stepped out of a topic.
    pub fn is_out(&self) -> bool {
        let out = |seat: &Seat| matches!(seat.standing, Standing::Out | Standing::Leaving);
        self.is_connected() && self.seats.iter().any(out)
    }

    pub fn has_cursor(&self) -> bool {
        self.last_id.is_some()
    }

    /// A reloaded page keeps positions and forgets text.
    pub fn forget_text(&mut self) {
        for seat in self.seats.iter_mut().filter(|seat| seat.view.begun) {
            seat.view.forget_text();
        }
        self.last_id = None;
        self.provisional = None;
    }

    pub fn connect(&mut self, addr: SocketAddr, with: Return, tally: &mut Tally) -> Checked {
        let line = Line::connect(addr, self.wants.receive_buffer);
        let mut line =
            line.map_err(|why| Fault::new(Wrong::Stuck, format!("no connection: {why}")))?;
        tally.connections += 1;
        let by_cursor = with == Return::Cursor && self.last_id.is_some();
        if by_cursor {
            tally.by_cursor += 1;
            for (seat, view) in self
                .seats
                .iter_mut()
                .zip(self.provisional.take().into_iter().flatten())
            {
                seat.view = view;
            }
        } else {
            self.last_id = None;
        }
        self.provisional = None;
        let several = self.seats.len() > 1;
        let sse = self.wants.transport == Transport::Sse;
        for seat in &mut self.seats {
            seat.view.disconnect();
            if !by_cursor && !seat.view.knows_position() {
                let View {
                    topic,
                    filter,
                    merges,
                    ..
                } = &seat.view;
                seat.view = View::new(topic.clone(), *filter, *merges);
            }
            seat.view.carrier = if sse {
                Carrier::Sse
            } else {
                Carrier::WebSocket
            };
            seat.view.tells_whole = !(sse && several);
            seat.ask(self.wants.from);
        }
        let request = match self.wants.transport {
            Transport::WebSocket => handshake(addr),
            Transport::Sse => self.stream_request(addr),
        };
        line.send(request.as_bytes());
        self.connection = Some((line, Phase::Handshake));
        Ok(())
    }

    /// `cut`: with a reset; otherwise as a client that closes politely.
    pub fn disconnect(&mut self, cut: bool) {
        if let Some((mut line, phase)) = self.connection.take() {
            if cut {
                line.cut();
            } else if matches!(phase, Phase::WebSocket { .. }) {
                line.send(&masked(FIN_CLOSE, &1000u16.to_be_bytes()));
            }
        }
        for seat in &mut self.seats {
            seat.standing = Standing::Out;
        }
    }

    /// Leaves one of its topics for a while; `false` where that makes no sense.
    pub fn step_out(&mut self, at: usize) -> bool {
        let Some((line, Phase::WebSocket { welcomed: true })) = &mut self.connection else {
            return false;
        };
        let seat = &mut self.seats[at];
        if seat.standing != Standing::In {
            return false;
        }
        seat.standing = Standing::Leaving;
        let command = json!({ "op": "unsubscribe", "topic": seat.view.topic.path });
        line.send(&masked(FIN_TEXT, command.to_string().as_bytes()));
        true
    }

    /// Comes back to every topic it stepped out of.
    pub fn step_in(&mut self) {
        let out = |seat: &&mut Seat| seat.standing == Standing::Out;
        if let Some((line, Phase::WebSocket { welcomed: true })) = &mut self.connection {
            for seat in self.seats.iter_mut().filter(out) {
                seat.view.disconnect();
                seat.ask(self.wants.from);
                let topics = vec![seat.listed()];
                let command = subscribe(&self.wants, topics, None);
                line.send(&masked(FIN_TEXT, command.to_string().as_bytes()));
            }
        }
    }

    /// Writes what fits, reads at most as much as `scratch` holds, and checks all of it: how many bytes
    /// came, and how the connection ended if it did.
    pub fn turn(
        &mut self,
        scratch: &mut [u8],
        tally: &mut Tally,
    ) -> Checked<(usize, Option<Ending>)> {
        let Some((mut line, mut phase)) = self.connection.take() else {
            return Ok((0, None));
        };
        line.write();
        let count = line.read(scratch);
        tally.bytes += count as u64;
        let ending = if count > 0 || line.ended {
            self.digest(&mut line, &mut phase, tally)?
        } else {
            None
        };
        let ending = ending.or(line.ended.then_some(Ending::Cut));
        if ending.is_none() {
            line.tidy();
            self.connection = Some((line, phase));
        } else {
            self.disconnect(false);
        }
        Ok((count, ending))
    }

    fn digest(
        &mut self,
        line: &mut Line,
        phase: &mut Phase,
        tally: &mut Tally,
    ) -> Checked<Option<Ending>> {
        if let Phase::Handshake = phase {
            match take_head(line) {
                Some((408, _)) => return Ok(Some(Ending::TurnedAway)),
                Some(head) => *phase = self.shake_hands(&head)?,
                None => return Ok(None),
            }
        }
        match phase {
            Phase::Handshake => Ok(None),
            Phase::WebSocket { welcomed } => self.frames(line, welcomed, tally),
            Phase::Sse(stream) => self.blocks(line, stream, tally),
        }
    }

    fn shake_hands(&self, (status, head): &(u16, String)) -> Checked<Phase> {
        let lower = head.to_ascii_lowercase();
        match (self.wants.transport, status) {
            (Transport::WebSocket, 101) if head.contains(ACCEPT) => {
                Ok(Phase::WebSocket { welcomed: false })
            }
            (Transport::Sse, 200)
                if lower.contains("text/event-stream") && lower.contains("chunked") =>
            {
                Ok(Phase::Sse(Stream::default()))
            }
            _ => Err(Fault::new(Wrong::Unexplained, format!("refused: {head}"))),
        }
    }

    fn frames(
        &mut self,
        line: &mut Line,
        welcomed: &mut bool,
        tally: &mut Tally,
    ) -> Checked<Option<Ending>> {
        let mut commands = Vec::new();
        let mut ending = None;
        while let Some((first, header, length)) = next_frame(line.waiting()) {
            let payload = &line.waiting()[header..header + length];
            match first {
                FIN_TEXT => {
                    let text = std::str::from_utf8(payload);
                    let text =
                        text.map_err(|_| Fault::new(Wrong::Altered, "a frame that is not UTF-8"))?;
                    let frame: Frame<'_> =
                        heard::parse(text).map_err(|why| Fault::new(Wrong::Altered, why))?;
                    if frame.op == "welcome" && !*welcomed {
                        *welcomed = true;
                        commands
                            .extend(masked(FIN_TEXT, self.subscription().to_string().as_bytes()));
                        // from here on the positions move without it
                        self.last_id = None;
                    } else {
                        must(*welcomed, Wrong::OutOfOrder, || {
                            format!("before the welcome: {text}")
                        })?;
                        self.frame(&frame, text, tally)?;
                    }
                }
                FIN_PING => commands.extend(masked(FIN_PONG, payload)),
                FIN_CLOSE if length >= 2 => {
                    ending = Some(Ending::Closed(u16::from_be_bytes([payload[0], payload[1]])));
                }
                FIN_PONG => {}
                other => {
                    return Err(Fault::new(
                        Wrong::Unexplained,
                        format!("a frame that begins with {other:#x}"),
                    ));
                }
            }
            line.take(header + length);
        }
        if !commands.is_empty() {
            line.send(&commands);
        }
        Ok(ending)
    }

    fn frame(&mut self, frame: &Frame<'_>, text: &str, tally: &mut Tally) -> Checked {
        let incomplete = || Fault::new(Wrong::Altered, format!("not a whole frame: {text:.300}"));
        if frame.op == "draining" {
            self.draining = true;
            return Ok(());
        }
        let topic = frame
            .topic
            .as_deref()
            .ok_or_else(|| Fault::new(Wrong::Unexplained, format!("{text:.300}")))?;
        let seat = seat_of(&mut self.seats, topic)?;
        if let ("subscribed", Standing::Asked(asked)) = (&*frame.op, seat.standing) {
            let told = Beginning {
                epoch: frame.epoch.as_deref().ok_or_else(incomplete)?,
                position: frame.position.as_deref(),
                head: frame.head.ok_or_else(incomplete)?,
                resumed: frame.resumed.ok_or_else(incomplete)?,
            };
            return seat.begin(asked, self.wants.compact, &told, tally);
        }
        let here = matches!(seat.standing, Standing::In | Standing::Leaving);
        must(here, Wrong::Unexplained, || {
            format!("not subscribed: {text:.300}")
        })?;
        match &*frame.op {
            "events" => {
                let (after, upto) = (
                    frame.after.ok_or_else(incomplete)?,
                    frame.upto.ok_or_else(incomplete)?,
                );
                let epoch = frame.epoch.as_deref().ok_or_else(incomplete)?;
                let view = &mut seat.view;
                view.begins_at(epoch, after)?;
                let topic = view.topic.clone();
                let plan = topic.plan();
                for event in &frame.events {
                    must(event.topic.is_none(), Wrong::Unexplained, || {
                        format!("a topic in {text:.300}")
                    })?;
                    view.event(&plan, event, tally)?;
                }
                view.told_position(&plan, (epoch, upto, frame.partial), tally)
            }
            "gap" => {
                let (from, to) = (
                    frame.from.ok_or_else(incomplete)?,
                    frame.to.ok_or_else(incomplete)?,
                );
                seat.view.gap(from, to, tally)
            }
            "unsubscribed" if seat.standing == Standing::Leaving => {
                seat.standing = Standing::Out;
                Ok(())
            }
            _ => Err(Fault::new(Wrong::Unexplained, format!("{text:.300}"))),
        }
    }

    fn blocks(
        &mut self,
        line: &mut Line,
        stream: &mut Stream,
        tally: &mut Tally,
    ) -> Checked<Option<Ending>> {
        let altered = |why| Fault::new(Wrong::Altered, why);
        stream.unchunk(line).map_err(altered)?;
        while let Some(length) = stream.next_block() {
            let raw = stream.block(length);
            if let Some(block) = parse_block(raw).map_err(altered)? {
                let is_draining = block.event == Some("tidewire.draining");
                if block.id.is_none() && !is_draining && self.provisional.is_none() {
                    self.provisional = Some(self.views().cloned().collect());
                }
                self.block(block.event, block.data, block.id, tally)?;
                if let Some(id) = block.id {
                    self.last_id = Some(id.to_owned());
                    self.provisional = None;
                }
            }
            stream.take(length);
        }
        Ok(stream.finished.then_some(Ending::Cut))
    }

    fn block(
        &mut self,
        name: Option<&str>,
        data: &str,
        id: Option<&str>,
        tally: &mut Tally,
    ) -> Checked {
        let altered = |why| Fault::new(Wrong::Altered, why);
        let name = name.unwrap_or_default();
        if name.starts_with("tidewire.") {
            let own: Own<'_> = heard::parse(data).map_err(altered)?;
            must(own.kind == name, Wrong::Altered, || {
                format!("{name} is {data:.300}")
            })?;
            self.own_block(&own, data, tally)?;
        } else {
            let event: Event<'_> = heard::parse(data).map_err(altered)?;
            must(event.kind == name, Wrong::Altered, || {
                format!("{name} is {data:.300}")
            })?;
            let topic = event.topic.as_deref().unwrap_or_default();
            let seat = seat_of(&mut self.seats, topic)?;
            must(seat.standing == Standing::In, Wrong::OutOfOrder, || {
                format!("before ready: {data:.300}")
            })?;
            let topic = seat.view.topic.clone();
            seat.view.event(&topic.plan(), &event, tally)?;
        }
        // with one topic the id is its position
        if let (Some(id), [seat]) = (id, &mut self.seats[..]) {
            let topic = seat.view.topic.clone();
            seat.view
                .told_position(&topic.plan(), split_position(id), tally)?;
        }
        Ok(())
    }

    fn own_block(&mut self, own: &Own<'_>, data: &str, tally: &mut Tally) -> Checked {
        let incomplete = || Fault::new(Wrong::Altered, format!("not a whole block: {data:.300}"));
        match &*own.kind {
            "tidewire.ready" => {
                for begun in &own.topics {
                    let seat = seat_of(&mut self.seats, &begun.topic)?;
                    let Standing::Asked(asked) = seat.standing else {
                        return Err(Fault::new(
                            Wrong::Repeated,
                            format!("ready again: {data:.300}"),
                        ));
                    };
                    let told = Beginning {
                        epoch: &begun.epoch,
                        position: begun.position.as_deref(),
                        head: begun.head,
                        resumed: begun.resumed,
                    };
                    seat.begin(asked, self.wants.compact, &told, tally)?;
                }
                must(
                    self.seats.iter().all(|seat| seat.standing == Standing::In),
                    Wrong::Lost,
                    || format!("a topic is missing in {data:.300}"),
                )
            }
            "tidewire.gap" => {
                let seat = seat_of(
                    &mut self.seats,
                    own.topic.as_deref().ok_or_else(incomplete)?,
                )?;
                let (from, to) = (
                    own.from.ok_or_else(incomplete)?,
                    own.to.ok_or_else(incomplete)?,
                );
                seat.view.gap(from, to, tally)
            }
            "tidewire.position" => {
                let seat = seat_of(
                    &mut self.seats,
                    own.topic.as_deref().ok_or_else(incomplete)?,
                )?;
                let position = own.position.as_deref().ok_or_else(incomplete)?;
                let topic = seat.view.topic.clone();
                seat.view
                    .told_position(&topic.plan(), split_position(position), tally)
            }
            "tidewire.draining" => {
                self.draining = true;
                Ok(())
            }
            _ => Err(Fault::new(Wrong::Unexplained, format!("{data:.300}"))),
        }
    }

    fn subscription(&self) -> Value {
        match &self.last_id {
            Some(cursor) => {
                let topics = self
                    .seats
                    .iter()
                    .map(|seat| json!({ "topic": seat.view.topic.path }));
                subscribe(&self.wants, topics.collect(), Some(cursor))
            }
            None => subscribe(
                &self.wants,
                self.seats.iter().map(Seat::listed).collect(),
                None,
            ),
        }
    }

    fn stream_request(&self, addr: SocketAddr) -> String {
        let head = format!("host: {addr}\r\naccept: text/event-stream\r\n");
        let mut query = query(&self.wants);
        if let Some(id) = &self.last_id {
            for topic in &self.wants.topics {
                query.push(format!("topic={}", topic.path));
            }
            return format!(
                "GET /v1/sse?{} HTTP/1.1\r\n{head}last-event-id: {id}\r\n\r\n",
                query.join("&")
            );
        }
        if let [seat] = &self.seats[..] {
            query.push(format!(
                "topic={}&from={}",
                seat.view.topic.path,
                seat.start_text()
            ));
            return format!("GET /v1/sse?{} HTTP/1.1\r\n{head}\r\n", query.join("&"));
        }
        let body = json!({ "topics": self.seats.iter().map(Seat::listed).collect::<Vec<_>>() })
            .to_string();
        let length = body.len();
        format!(
            "POST /v1/sse?{} HTTP/1.1\r\n{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}",
            query.join("&")
        )
    }
}

impl Seat {
    /// A position that was told is resumed.
    fn ask(&mut self, from: Asked) {
        let asked = if self.view.begun { Asked::Held } else { from };
        self.standing = Standing::Asked(asked);
        self.acknowledged = self.view.topic.acknowledged.load(Ordering::Relaxed);
    }

    fn start_text(&self) -> String {
        match self.standing {
            Standing::Asked(Asked::Live) => "live".to_owned(),
            Standing::Asked(Asked::Start) => "start".to_owned(),
            Standing::Asked(Asked::Last(n)) => format!("last:{n}"),
            Standing::Asked(Asked::Held) => self.view.position(),
            _ => "snapshot".to_owned(),
        }
    }

    fn listed(&self) -> Value {
        json!({ "topic": self.view.topic.path, "from": self.start_text() })
    }

    fn begin(
        &mut self,
        asked: Asked,
        compact: bool,
        told: &Beginning<'_>,
        tally: &mut Tally,
    ) -> Checked {
        self.standing = Standing::In;
        self.view
            .begin(asked, compact, told, self.acknowledged, tally)
    }
}

fn seat_of<'a>(seats: &'a mut [Seat], topic: &str) -> Checked<&'a mut Seat> {
    let found = seats.iter_mut().find(|seat| seat.view.topic.path == topic);
    found.ok_or_else(|| Fault::new(Wrong::Unexplained, format!("{topic:?} was never asked for")))
}

fn handshake(addr: SocketAddr) -> String {
    format!(
        "GET /v1/ws HTTP/1.1\r\nhost: {addr}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n\
         sec-websocket-protocol: tidewire.v1.json\r\n\r\n"
    )
}

fn subscribe(wants: &Wants, topics: Vec<Value>, cursor: Option<&str>) -> Value {
    let mut command = json!({ "op": "subscribe", "topics": topics });
    if let Some(cursor) = cursor {
        command["cursor"] = json!(cursor);
    }
    if wants.compact {
        command["replay"] = json!("compact");
    }
    if wants.coalesce_ms > 0 {
        command["coalesce_ms"] = json!(wants.coalesce_ms);
    }
    if !wants.filter.patterns.is_empty() {
        command["types"] = json!(wants.filter.patterns);
    }
    command
}

fn query(wants: &Wants) -> Vec<String> {
    let mut query = Vec::new();
    if wants.compact {
        query.push("replay=compact".to_owned());
    }
    if wants.coalesce_ms > 0 {
        query.push(format!("coalesce_ms={}", wants.coalesce_ms));
    }
    if !wants.filter.patterns.is_empty() {
        query.push(format!("types={}", wants.filter.patterns.join(",")));
    }
    query
}
