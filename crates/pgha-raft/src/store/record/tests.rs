//! What was written comes back, whatever else lies under a key is refused: also where its checksum
//! is right.

mod commands;
pub(crate) mod contents;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use self::contents::{any_entry, any_head};
use super::*;
use crate::store::image::{HEAD_KEY, Head, entry_key};
use crate::types::Entry;

/// CRC-32 once more (ISO 3309), bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    let register = bytes.iter().fold(u32::MAX, |register, byte| {
        (0..8).fold(register ^ u32::from(*byte), |register, _| {
            let polynomial = if register & 1 == 1 { 0xEDB8_8320 } else { 0 };
            register >> 1 ^ polynomial
        })
    });
    !register
}

/// The bytes of a record with this body, whatever it is, and the right checksum.
fn sealed(key: &[u8], body: &[u8]) -> Vec<u8> {
    let checksum = crc(&[&[1], key, body].concat());
    [&[1], &checksum.to_le_bytes()[..], body].concat()
}

/// Every kind of record that there is, under its key.
#[derive(Clone, Debug)]
enum Content {
    Head(Box<Head>),
    Entry(Box<Entry>),
}

impl Content {
    fn key(&self) -> Vec<u8> {
        match self {
            Self::Head(_) => HEAD_KEY.to_vec(),
            Self::Entry(entry) => entry_key(entry.log_id.index),
        }
    }

    fn encode(&self) -> Vec<u8> {
        self.encode_under(&self.key())
    }

    fn encode_under(&self, key: &[u8]) -> Vec<u8> {
        match self {
            Self::Head(head) => encode(key, head),
            Self::Entry(entry) => encode(key, entry),
        }
        .unwrap()
    }

    /// Whether these bytes give this content; an error where they give none.
    fn is_in(&self, key: &[u8], bytes: &[u8]) -> Result<bool, RecordError> {
        match self {
            Self::Head(head) => decode::<Head>(key, bytes).map(|found| found == **head),
            Self::Entry(entry) => decode::<Entry>(key, bytes).map(|found| found == **entry),
        }
    }
}

fn any_content() -> impl Strategy<Value = Content> {
    prop_oneof![
        1 => any_head().prop_map(|head| Content::Head(Box::new(head))),
        4 => any_entry().prop_map(|entry| Content::Entry(Box::new(entry))),
    ]
}

/// Nothing like a record, and such as are almost one.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    let json = "[\\[{]{0,3}(\"[a-z]{0,3}\"|[0-9]{1,3}|null|true)[:,]?[\\]}]{0,3}";
    let deep = (b"[{\"".to_vec(), 1..RECORD_BYTES_MAX);
    prop_oneof![
        4 => bytes,
        4 => json.prop_map(String::into_bytes),
        1 => (Just(deep.0), deep.1).prop_map(|(starts, times)| vec![starts[times % 2]; times]),
    ]
}

proptest! {
    #[test]
    fn every_kind_of_record_comes_back(content in any_content()) {
        let (key, bytes) = (content.key(), content.encode());
        prop_assert_eq!(content.is_in(&key, &bytes), Ok(true));
        prop_assert_eq!(&sealed(&key, &bytes[HEAD_BYTES..]), &bytes);
    }

    #[test]
    fn a_record_that_is_not_the_one_written_is_refused(
        content in any_content(),
        at: Index,
        change in 1..=u8::MAX,
        appended: u8,
    ) {
        let (key, bytes) = (content.key(), content.encode());
        let at = at.index(bytes.len());
        let mut changed = bytes.clone();
        changed[at] ^= change;
        let longer = [&bytes[..], &[appended]].concat();
        for damaged in [&changed[..], &bytes[..at], &longer] {
            prop_assert!(content.is_in(&key, damaged).is_err(), "{damaged:02x?}");
        }
        let mut other_key = key.clone();
        other_key[at % key.len()] ^= change;
        prop_assert!(content.is_in(&other_key, &bytes).is_err());
    }

    /// Each byte of the head counts, and nothing is looked at before its checksum.
    #[test]
    fn bytes_are_a_record_only_where_version_and_checksum_say_so(
        key in prop::collection::vec(any::<u8>(), 1..10),
        body in any_body(),
        format in prop_oneof![3 => Just(1_u8), 1 => any::<u8>()],
        wrong_by in prop_oneof![Just(0), any::<u32>()],
        length in prop_oneof![4 => Just(usize::MAX), 1 => 0..9_usize],
    ) {
        let checksum = crc(&[&[format], &key[..], &body].concat()) ^ wrong_by;
        let mut bytes = [&[format], &checksum.to_le_bytes()[..], &body].concat();
        bytes.truncate(length);
        let json = bytes.get(HEAD_BYTES..).map(serde_json::from_slice::<Value>);
        let is_cut = length < HEAD_BYTES + body.len();
        match decode::<Value>(&key, &bytes) {
            Ok(value) => {
                prop_assert!(format == 1 && wrong_by == 0 && !is_cut);
                prop_assert_eq!(Some(value), json.and_then(Result::ok));
            }
            Err(RecordError::Short { length, .. }) => prop_assert!(length < HEAD_BYTES),
            Err(RecordError::Format { found, .. }) => {
                prop_assert!(found == format && format != 1);
            }
            Err(RecordError::Checksum { .. }) => prop_assert!(wrong_by != 0 || is_cut),
            Err(RecordError::Content { .. }) => {
                prop_assert!(format == 1 && wrong_by == 0 && !is_cut);
                prop_assert!(json.is_some_and(|json| json.is_err()));
            }
            Err(error @ RecordError::Large { .. }) => prop_assert!(false, "{}", error),
        }
    }

    /// A checksum is right over nonsense too: a program that is wrong writes such records.
    #[test]
    fn nonsense_with_the_right_checksum_is_refused(body in any_body()) {
        let is_content = |error| matches!(error, RecordError::Content { .. });
        let entry = decode::<Entry>(b"e1", &sealed(b"e1", &body));
        prop_assert!(entry.is_err_and(is_content));
        let head = decode::<Head>(HEAD_KEY, &sealed(HEAD_KEY, &body));
        prop_assert!(head.is_err_and(is_content));
    }

    /// A byte changed before the record was sealed: it is not understood, or it is another record
    /// that comes back as it was read. One of another kind is never understood.
    #[test]
    fn what_is_understood_comes_back(
        content in any_content(),
        at: Index,
        byte in prop_oneof!["[0-9\"{}:,\\[\\]-]".prop_map(|text| text.as_bytes()[0]), any::<u8>()],
    ) {
        let (key, bytes) = (content.key(), content.encode());
        let mut body = bytes[HEAD_BYTES..].to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        let bytes = sealed(&key, &body);
        let understood = match &content {
            Content::Head(_) => decode(&key, &bytes).map(|head| Content::Head(Box::new(head))),
            Content::Entry(_) => decode(&key, &bytes).map(|entry| Content::Entry(Box::new(entry))),
        };
        match understood {
            Ok(read) => prop_assert_eq!(read.is_in(&key, &read.encode_under(&key)), Ok(true)),
            Err(error) => prop_assert!(matches!(error, RecordError::Content { .. }), "{error}"),
        }
        let other_kind = match &content {
            Content::Head(_) => decode::<Entry>(&key, &content.encode()).err(),
            Content::Entry(_) => decode::<Head>(&key, &content.encode()).err(),
        };
        prop_assert!(matches!(other_kind, Some(RecordError::Content { .. })), "{other_kind:?}");
    }
}

#[test]
fn no_single_byte_of_a_record_can_be_another() {
    let key = entry_key(7);
    let entry = crate::store::tests::blank(3, 7);
    let bytes = encode(&key, &entry).unwrap();
    for at in 0..bytes.len() {
        for change in 1..=u8::MAX {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            assert!(decode::<Entry>(&key, &changed).is_err(), "byte {at}");
        }
    }
}

#[test]
fn refuses_what_is_too_large() {
    let fits = "x".repeat(RECORD_BYTES_MAX - HEAD_BYTES - 2);
    assert_eq!(encode(b"head", &fits).unwrap().len(), RECORD_BYTES_MAX);
    let large = "x".repeat(RECORD_BYTES_MAX - HEAD_BYTES - 1);
    assert!(matches!(
        encode(b"head", &large),
        Err(RecordError::Large { .. })
    ));
}
