use proptest::prelude::*;

use super::frames::Frames;
use super::view::Visibility;

fn message(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&((4 + content.len()) as u32).to_be_bytes());
    bytes.extend_from_slice(content);
    bytes
}

fn ready(state: u8) -> Vec<u8> {
    message(b'Z', &[state])
}

fn started() -> Visibility {
    let mut session = Visibility::plain(&[]);
    session.server_said(&message(b'R', &[0; 4]));
    session.server_said(&ready(b'I'));
    session
}

#[test]
fn idle_only_after_every_answer_and_outside_a_transaction() {
    let mut session = Visibility::plain(&[]);
    assert!(!session.is_idle(), "not before the first ReadyForQuery");
    session.server_said(&message(b'R', &[0; 4]));
    session.client_said(&message(b'p', b"secret\0"));
    session.server_said(&ready(b'I'));
    assert!(session.is_idle());
    session.client_said(&message(b'Q', b"begin\0"));
    assert!(!session.is_idle());
    session.server_said(&message(b'C', b"BEGIN\0"));
    session.server_said(&ready(b'T'));
    assert!(!session.is_idle(), "in a transaction");
    session.client_said(&message(b'Q', b"commit\0"));
    session.server_said(&ready(b'I'));
    assert!(session.is_idle());
}

#[test]
fn a_pipeline_is_idle_when_its_last_request_is_answered() {
    let mut session = started();
    let mut two = message(b'Q', b"select 1\0");
    two.extend(message(b'Q', b"insert\0"));
    session.client_said(&two);
    session.server_said(&ready(b'I'));
    assert!(
        !session.is_idle(),
        "the second request is still being worked on"
    );
    session.server_said(&ready(b'I'));
    assert!(session.is_idle());
}

#[test]
fn a_request_without_its_sync_is_not_idle() {
    let mut session = started();
    session.client_said(&message(b'P', b"\0vacuum\0\0\0"));
    assert!(!session.is_idle());
    session.client_said(&message(b'S', b""));
    session.server_said(&ready(b'I'));
    assert!(session.is_idle());
}

#[test]
fn data_that_looks_like_ready_for_query_is_data() {
    let mut session = started();
    session.client_said(&message(b'Q', b"select\0"));
    session.server_said(&message(b'D', b"Z\0\0\0\x05I"));
    assert!(!session.is_idle());
    let mut half = message(b'D', &[b'x'; 100]);
    half.truncate(50);
    half.extend(ready(b'I'));
    session.server_said(&half);
    assert!(!session.is_idle());
}

#[test]
fn what_is_not_the_protocol_is_hidden_for_good() {
    let mut session = started();
    session.server_said(b"Q\0\0\0\x03");
    session.server_said(&ready(b'I'));
    assert!(!session.is_idle());
    assert!(!Visibility::Hidden.is_idle());
    let mut session = started();
    session.server_said(b"Z\0\0\0\x04IIIII");
    assert!(!session.is_idle());
}

proptest! {
    /// The same messages are found however the stream is cut.
    #[test]
    fn cuts_do_not_matter(
        messages in prop::collection::vec(
            (prop_oneof![Just(b'Z'), any::<u8>()], prop::collection::vec(any::<u8>(), 1..40)),
            1..20,
        ),
        cuts in prop::collection::vec(1_usize..30, 1..200),
    ) {
        let stream: Vec<u8> =
            messages.iter().flat_map(|(kind, content)| message(*kind, content)).collect();
        let expected: Vec<_> = messages
            .iter()
            .map(|(kind, content)| (*kind, if *kind == b'Z' { content[0] } else { 0 }))
            .collect();
        let mut frames = Frames::default();
        let mut found = Vec::new();
        let mut rest = stream.as_slice();
        for cut in cuts.iter().cycle() {
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            frames.scan(chunk, |kind, content| found.push((kind, content))).unwrap();
            rest = after;
            if rest.is_empty() {
                break;
            }
            }
        prop_assert_eq!(found, expected);
        prop_assert!(frames.at_border());
    }
}
