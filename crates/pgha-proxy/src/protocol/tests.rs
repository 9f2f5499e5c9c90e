use pgha_core::{ClusterId, Epoch};
use proptest::prelude::*;

use super::*;
use crate::preamble::{ClusterTag, ForwardKind};

fn packet(code: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = ((8 + content.len()) as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&code.to_be_bytes());
    bytes.extend_from_slice(content);
    bytes
}

fn preamble(epoch: u64, kind: ForwardKind) -> Preamble {
    Preamble {
        epoch: Epoch(epoch),
        kind,
        cluster: ClusterTag::of(&ClusterId::from("c")),
    }
}

#[test]
fn knows_each_first_packet() {
    let said = preamble(7, ForwardKind::ReadOnly);
    let mut hello = vec![22, 3, 1, 0, 3];
    hello.extend_from_slice(b"abc");
    let cases = [
        (packet(196_608, b"user\0x\0\0"), FirstPacket::Startup),
        (packet(CANCEL_REQUEST, &[0; 8]), FirstPacket::Cancel),
        (packet(CANCEL_REQUEST, &[0; 36]), FirstPacket::Cancel),
        (packet(SSL_REQUEST, &[]), FirstPacket::Ssl),
        (packet(GSSENC_REQUEST, &[]), FirstPacket::GssEncryption),
        (said.encode().to_vec(), FirstPacket::Forward(said)),
        (hello, FirstPacket::DirectTls),
    ];
    for (bytes, expected) in cases {
        assert_eq!(
            parse_first_packet(&bytes),
            Ok(Some((expected, bytes.len())))
        );
    }
}

#[test]
fn bad_lengths_are_refused_at_once() {
    for length in [0, 7, 10_001, 0x4745_5420, u32::MAX] {
        let refused = Err(ProtocolError::Length(length));
        assert_eq!(parse_first_packet(&length.to_be_bytes()), refused);
    }
    assert!(
        parse_first_packet(&[22, 3, 1, 0xff, 0xff]).is_err(),
        "a TLS record is 16 KiB at most"
    );
    assert!(
        parse_first_packet(&[22, 0, 0, 8, 0]).is_err(),
        "no TLS, and too long otherwise"
    );
}

#[test]
fn preambles_of_other_versions_are_refused() {
    let mut bytes = preamble(1, ForwardKind::ReadWrite).encode();
    bytes[17] = 2;
    assert!(matches!(
        parse_first_packet(&bytes),
        Err(ProtocolError::Preamble(_))
    ));
    let mut bytes = preamble(1, ForwardKind::ReadWrite).encode();
    bytes[16] = b'x';
    assert!(matches!(
        parse_first_packet(&bytes),
        Err(ProtocolError::Preamble(_))
    ));
    assert!(matches!(
        parse_first_packet(&packet(preamble::REQUEST_CODE, &[0; 8])),
        Err(ProtocolError::Preamble(_))
    ));
}

#[test]
fn clusters_have_different_tags() {
    let tag = |name: &str| ClusterTag::of(&ClusterId::from(name));
    assert_eq!(tag("a"), tag("a"));
    assert_ne!(tag("a"), tag("b"));
}

#[test]
fn an_error_has_a_length_that_is_right_and_no_field_cut_short() {
    let error = error_response("57P03", "why\0not");
    let length = u32::from_be_bytes([error[1], error[2], error[3], error[4]]);
    assert_eq!((error[0], length as usize), (b'E', error.len() - 1));
    let text = String::from_utf8_lossy(&error[5..]);
    assert_eq!(text, "SFATAL\0VFATAL\0C57P03\0Mwhynot\0\0");
    assert!(is_cannot_connect_now(&error));
    assert!(!is_cannot_connect_now(&error_response("28P01", "C57P03")));
    assert!(!is_cannot_connect_now(b"E"));
    assert!(!is_cannot_connect_now(b"R\0\0\0\x08C57P03\0"));
}

proptest! {
    /// However a packet is cut into pieces, nothing is found before its last byte, and then it.
    #[test]
    fn found_at_its_last_byte(
        content in prop::collection::vec(any::<u8>(), 0..9_992),
        code in prop_oneof![Just(196_608_u32), Just(SSL_REQUEST), Just(CANCEL_REQUEST)],
        rest in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut bytes = packet(code, &content);
        let size = bytes.len();
        for cut in (0..size).step_by(1 + size / 300).chain([size - 1]) {
            prop_assert_eq!(parse_first_packet(&bytes[..cut]), Ok(None));
        }
        bytes.extend_from_slice(&rest);
        let found = parse_first_packet(&bytes).unwrap();
        prop_assert_eq!(found.map(|(_, size)| size), Some(size));
    }

    #[test]
    fn preambles_survive_the_wire(epoch: u64, read_only: bool, tag: [u8; 16]) {
        let kind = if read_only { ForwardKind::ReadOnly } else { ForwardKind::ReadWrite };
        let said = Preamble { epoch: Epoch(epoch), kind, cluster: ClusterTag(tag) };
        let bytes = said.encode();
        for cut in 0..bytes.len() {
            prop_assert_eq!(parse_first_packet(&bytes[..cut]), Ok(None));
        }
        let found = parse_first_packet(&bytes);
        prop_assert_eq!(found, Ok(Some((FirstPacket::Forward(said), bytes.len()))));
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(Some((_, size))) = parse_first_packet(&bytes) {
            prop_assert!(size <= bytes.len() && size <= FIRST_BYTES_MAX);
        }
    }
}
