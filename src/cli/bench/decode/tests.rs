use super::*;

/// What was heard, with the content joined, however the bytes are split.
fn heard(mut decoder: Decoder, pieces: &[&[u8]]) -> (String, Vec<String>, u64) {
    let (mut content, mut said) = (Vec::new(), Vec::new());
    for piece in pieces {
        decoder
            .feed(piece, &mut |heard| match heard {
                Heard::Content(bytes, _) => content.extend_from_slice(bytes),
                Heard::Said(Said::Welcome(limits)) => {
                    said.push(format!("welcome {}", limits.window_events));
                }
                Heard::Said(Said::Gone { topic, events }) => {
                    said.push(format!("gone {topic} {events}"));
                }
                Heard::Said(other) => said.push(format!("{other:?}")),
                Heard::Ping(payload) => said.push(format!("ping {}", payload.len())),
                Heard::Closed { code, .. } => said.push(format!("closed {code}")),
            })
            .expect("the protocol");
    }
    let content = String::from_utf8(content).expect("text");
    (content, said, decoder.messages)
}

fn served(payload: &str) -> Vec<u8> {
    let mut out = vec![0x81];
    match payload.len() {
        len @ 0..126 => out.push(len as u8),
        len => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(payload.as_bytes());
    out
}

const WELCOME: &str = r#"{"op":"welcome","session":"s12","limits":{"max_frame_bytes":1048576,"max_event_bytes":262144,"max_batch_events":1000,"max_subscriptions":1000,"window_events":1024,"window_bytes":4194304},"ping_ms":25000}"#;
const EVENT: &str =
    r#"{"op":"events","topic":"/a","epoch":"e","after":0,"upto":1,"events":[{"seq":1}]}"#;

#[test]
fn events_are_content_and_the_rest_is_said() {
    let mut bytes = served(WELCOME);
    bytes.extend(served(r#"{"op":"subscribed","id":1,"topic":"/a"}"#));
    bytes.extend(served(EVENT));
    bytes.extend([0x89, 0x02, b'h', b'i']);
    bytes.extend(served(
        r#"{"op":"gap","topic":"/a","from":2,"to":7,"reason":"retention"}"#,
    ));
    bytes.extend(served(EVENT));
    bytes.extend([0x88, 0x02, 0x11, 0x97]);
    let wanted = (
        EVENT.repeat(2),
        vec![
            "welcome 1024".to_owned(),
            "Reading(1)".to_owned(),
            "ping 2".to_owned(),
            "gone /a 6".to_owned(),
            "closed 4503".to_owned(),
        ],
        5,
    );
    for split in 0..bytes.len() {
        let pieces = [&bytes[..split], &bytes[split..]];
        assert_eq!(
            heard(Decoder::websocket(true), &pieces),
            wanted,
            "split at {split}"
        );
    }
}

#[test]
fn lines_of_events_are_content_and_notices_are_said() {
    let stream = "retry: 1472\n\nevent: tidewire.ready\ndata: {\"type\":\"tidewire.ready\",\"topics\":[{},{}]}\nid: e:0\n\n\
                  event: token.delta\ndata: {\"topic\":\"/a\",\"seq\":1}\nid: e:1\n\n:\n\n\
                  event: tidewire.gap\ndata: {\"type\":\"tidewire.gap\",\"topic\":\"/a\",\"from\":2,\"to\":2,\"reason\":\"memory\"}\nid: e:2~\n\n";
    let said = vec!["Reading(2)".to_owned(), "gone /a 1".to_owned()];
    for split in 0..stream.len() {
        let (first, second) = stream.as_bytes().split_at(split);
        let (content, heard_said, messages) = heard(Decoder::stream(true, false), &[first, second]);
        assert_eq!((&heard_said, messages), (&said, 3), "split at {split}");
        assert!(content.contains("data: {\"topic\":\"/a\",\"seq\":1}"));
        assert!(!content.contains("from"), "{content}");
    }
}

#[test]
fn of_an_unknown_peer_everything_is_content() {
    let (content, said, _) = heard(Decoder::websocket(false), &[&served(EVENT), &served("x")]);
    assert_eq!((content, said), (format!("{EVENT}x"), vec![]));
    let (content, said, _) = heard(Decoder::stream(false, true), &[b"3\r\nabc\r\n0\r\n\r\n"]);
    assert_eq!(
        (content.as_str(), said),
        ("abc", vec!["closed 1000".to_owned()])
    );
}

#[test]
fn what_is_not_the_protocol_is_told() {
    let mut decoder = Decoder::websocket(true);
    assert!(decoder.feed(&served("hello"), &mut |_| {}).is_err());
    let mut decoder = Decoder::websocket(true);
    assert!(decoder.feed(b"<html>", &mut |_| {}).is_err());
}
