//! A reader: opens its connection, counts what comes, answers pings, and comes back when the broker sends it away.

mod account;
mod reins;

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{sleep, timeout};

use super::content::Shape;
use super::decode::frames;
use super::failure::Failure;
use super::line::{self, Line, OPEN_WITHIN, Wanted};
use super::marker::Scanner;
use super::peer::{From, Transport};
use super::run::{Run, add};
use account::{Upshot, take};
pub use reins::{Order, Reins};

const READER: &str = "a reader's connection";
/// The receive buffer of a reader that is going to stall: small, so that it soon holds up the broker.
const STALLED_BUFFER: u32 = 4096;
/// A good-bye is not waited for longer.
const GOOD_BYE: Duration = Duration::from_secs(1);

/// Opens a reader's connection; returns when its topics are being read.
pub async fn open(run: &Run, reader: usize, from: &From, stalls: bool) -> Result<Line, Failure> {
    let opening = timeout(OPEN_WITHIN, try_open(run, reader, from, stalls));
    opening.await.unwrap_or(Err(Failure::Silent(
        OPEN_WITHIN,
        "a reader's connection did not open",
    )))
}

async fn try_open(run: &Run, reader: usize, from: &From, stalls: bool) -> Result<Line, Failure> {
    let topics = run.topics_of(reader);
    let stream = line::connect_with(run, stalls.then_some(STALLED_BUFFER)).await?;
    let request = run.peer.reader_request(reader, &topics, from);
    let wanted = match run.peer.transport {
        Transport::Ws => Wanted::WebSocket,
        Transport::Sse => Wanted::EventStream,
    };
    let (mut stream, head, early) = line::open(&run.peer, stream, &request, wanted, READER).await?;
    let messages = run.peer.reader_messages(reader, &topics, from);
    let cut = |error: io::Error| Failure::cut(READER, &error);
    stream.write_all(&messages).await.map_err(cut)?;
    let mut line = Line {
        stream,
        decoder: run.peer.reader_decoder(head.is_chunked),
        scanner: Scanner::default(),
    };
    let mut upshot = Upshot::default();
    take(
        run,
        reader,
        &mut line.decoder,
        &mut line.scanner,
        &early,
        &mut upshot,
    );
    // a peer that is no Tidewire broker does not say when it reads
    while run.peer.is_native() && upshot.reading < topics.len() {
        if upshot.come_back_after.is_some() {
            return Err(Failure::Refused {
                who: run.peer.who(),
                what: READER,
                status: 503,
                problem: "it is draining, or full".into(),
            });
        }
        settle(run, &mut line, &mut upshot).await?;
        let count = read(run, reader, &mut line, None, &mut upshot).await;
        if count.map_err(cut)? == Some(0) {
            return Err(cut(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    settle(run, &mut line, &mut upshot).await?;
    Ok(line)
}

/// One read; None: there is another order.
async fn read(
    run: &Run,
    reader: usize,
    line: &mut Line,
    reins: Option<&Reins>,
    upshot: &mut Upshot,
) -> io::Result<Option<usize>> {
    poll_fn(|cx| {
        if reins.is_some_and(|reins| reins.listen(cx) != Order::Read) {
            return Poll::Ready(Ok(None));
        }
        line.poll_take(cx, |decoder, scanner, bytes| {
            take(run, reader, decoder, scanner, bytes, upshot);
        })
        .map_ok(Some)
    })
    .await
}

/// Answers pings; tells what ends a reader for good.
async fn settle(run: &Run, line: &mut Line, upshot: &mut Upshot) -> Result<(), Failure> {
    if let Some(garbled) = upshot.garbled.take() {
        return Err(Failure::NotThePeer {
            address: run.peer.authority.clone(),
            wanted: "what it was",
            said: garbled.to_string(),
        });
    }
    if let Some(problem) = upshot.refused.take() {
        return Err(Failure::Refused {
            who: run.peer.who(),
            what: "a reader",
            status: 0,
            problem,
        });
    }
    if !upshot.pongs.is_empty() {
        let pongs = std::mem::take(&mut upshot.pongs);
        let written = line.stream.write_all(&pongs).await;
        written.map_err(|error| Failure::cut(READER, &error))?;
        add(&run.counts.pings, 1);
    }
    Ok(())
}

/// Why a connection is no more.
enum Ended {
    /// As it was told to.
    Told,
    SentAway(Duration),
    Failed(Failure),
}

/// Reads until told to go; a failure ends the run.
pub async fn follow(run: Rc<Run>, reader: usize, mut line: Line, reins: Rc<Reins>) {
    run.counts.open.set(run.counts.open.get() + 1);
    let failure = loop {
        match follow_line(&run, reader, &mut line, &reins).await {
            Ended::Told => break None,
            Ended::Failed(failure) => break Some(failure),
            Ended::SentAway(pause) => {
                sleep(pause).await;
                let from = From::Position(run.position(reader));
                match open(&run, reader, &from, false).await {
                    Ok(opened) => line = opened,
                    Err(failure) => break Some(failure),
                }
                add(&run.counts.came_back, 1);
            }
        }
    };
    run.counts.open.set(run.counts.open.get() - 1);
    if let Some(failure) = failure {
        run.fail(failure);
    }
}

async fn follow_line(run: &Run, reader: usize, line: &mut Line, reins: &Reins) -> Ended {
    let mut upshot = Upshot::default();
    let mut was_held = false;
    loop {
        let count = read(run, reader, line, Some(reins), &mut upshot).await;
        if let Err(failure) = settle(run, line, &mut upshot).await {
            return Ended::Failed(failure);
        }
        let end = match count {
            Ok(None) => match obey(run, line, reins).await {
                true => {
                    was_held = true;
                    continue;
                }
                false => return Ended::Told,
            },
            Ok(Some(0)) => Failure::cut(READER, &io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Failure::cut(READER, &error),
            Ok(Some(_)) => match upshot.closed.take() {
                None => continue,
                Some((code, reason)) => Failure::Closed {
                    what: READER,
                    code,
                    reason,
                },
            },
        };
        // 4503: draining or old; 4408, or a cut: it took nothing for too long. Both are told to come back
        let is_sent_away = match &end {
            Failure::Closed { code, .. } => matches!(code, 4503 | 4408),
            _ => was_held,
        } || upshot.come_back_after.is_some();
        let can_resume =
            run.peer.is_native() && run.size.per_reader == 1 && run.size.shape == Shape::Plain;
        return match is_sent_away && can_resume {
            true => Ended::SentAway(upshot.come_back_after.unwrap_or_default()),
            false => Ended::Failed(end),
        };
    }
}

/// True: it may read again.
async fn obey(run: &Run, line: &mut Line, reins: &Reins) -> bool {
    loop {
        match reins.order() {
            Order::Read => return true,
            Order::Hold => {
                reins.other_than(Order::Hold).await;
            }
            Order::Cut => {
                // a reset instead of a good-bye, and no port that waits for a minute
                let _ = SockRef::from(&line.stream).set_linger(Some(Duration::ZERO));
                return false;
            }
            Order::Leave => {
                let mut good_bye = Vec::new();
                if run.peer.transport == Transport::Ws {
                    frames::close(&mut good_bye);
                }
                let _ = timeout(GOOD_BYE, line.stream.write_all(&good_bye)).await;
                let _ = timeout(GOOD_BYE, line.stream.shutdown()).await;
                return false;
            }
        }
    }
}
