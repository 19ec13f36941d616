//! Records are decoded as they were encoded, and damaged records are refused.

use gimlet_core::id::{DeviceId, GroupId, MessageId, UserId};
use gimlet_core::message::{
    MessageContent, MessageReceiver, MessageSender, UnknownFields, UserProfile,
};
use gimlet_core::time::UnixTimestamp;
use gimlet_record::testkit;
use proptest::prelude::{prop_assert_eq, proptest};

use super::*;

/// A group message of format 1 in `inbox.body` and `message.body`.
const MESSAGE_OF_FORMAT_1: &[u8] = b"\x01ABCDEFGHIJKLMNOP\
    \x01\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x46\x02\0\0\0\0\0\0\0\x09\
    \xff\xff\xff\xf9\0\0\x01\x81\x91\x4a\xb0\0\
    \0\0\0\x02\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\x01\x2c\0\0\0\x02hi";

/// The rest of a room item: the request id -9 and the profile.
const PROFILE_OF_FORMAT_1: &[u8] =
    b"\xff\xff\xff\xff\xff\xff\xff\xf7\0\0\0\x04Zo\xc3\xab\0\0\0\x01a\0\0\0\0";

fn written_in_format_1() -> Message {
    let user = |raw| UserId::new(raw).unwrap();
    Message {
        id: MessageId::from_bytes(*b"ABCDEFGHIJKLMNOP"),
        sender: MessageSender::User {
            user: user(7),
            device: DeviceId::new(70),
        },
        receiver: MessageReceiver::Group(GroupId::new(9).unwrap()),
        mentions: vec![user(5), user(300)],
        kind: -7,
        content: MessageContent(Bytes::from_static(b"hi")),
        sent_at: UnixTimestamp(1_656_000_000_000),
        unknown: UnknownFields::NONE,
    }
}

#[test]
fn records_of_format_1_are_read() {
    assert_eq!(decode(MESSAGE_OF_FORMAT_1), Ok(written_in_format_1()));
    // Two mentions of eight bytes count.
    let length = MESSAGE_OF_FORMAT_1.len();
    assert_eq!(content_len(MESSAGE_OF_FORMAT_1, length), Ok(2 * 8 + 2));
    let item = [MESSAGE_OF_FORMAT_1, PROFILE_OF_FORMAT_1].concat();
    let envelope = decode_envelope(&item).unwrap();
    let profile = UserProfile {
        nickname: "Zoë".into(),
        avatar_url: "a".into(),
        extra: String::new(),
    };
    assert_eq!(envelope.parts(), (&written_in_format_1(), &profile, -9));
}

proptest! {
    #[test]
    fn messages_come_back_with_every_field(message in testkit::message()) {
        let row = encode(&message);
        prop_assert_eq!(content_len(&row[..HEADER], row.len()), Ok(message.content.len()));
        prop_assert_eq!(decode(row), Ok(message));
    }

    #[test]
    fn room_items_come_back_with_every_field(envelope in testkit::envelope()) {
        let back = decode_envelope(&encode_envelope(&envelope)).unwrap();
        prop_assert_eq!(back.parts(), envelope.parts());
    }

    #[test]
    fn bytes_of_any_kind_never_panic(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        format in 0..4_u8,
    ) {
        let bytes = [[format].as_slice(), &bytes].concat();
        let _ = content_len(&bytes, bytes.len());
        let _ = decode_envelope(&bytes);
        let _ = decode(bytes);
    }
}

#[test]
fn truncated_and_extended_records_are_refused() {
    let envelope = Envelope::new(
        written_in_format_1().into(),
        UserProfile::default().into(),
        7,
    );
    let old = MESSAGE_OF_FORMAT_1.to_vec();
    for message in [encode(&envelope.message), old.clone()] {
        for at in 0..message.len() {
            assert!(decode(message[..at].to_vec()).is_err(), "cut at {at}");
        }
        assert!(decode([message.as_slice(), &[0]].concat()).is_err());
    }
    for item in [
        encode_envelope(&envelope),
        [&old, PROFILE_OF_FORMAT_1].concat(),
    ] {
        for at in 0..item.len() {
            assert!(decode_envelope(&item[..at]).is_err(), "cut at {at}");
        }
        assert!(decode_envelope(&[item.as_slice(), &[0]].concat()).is_err());
    }
}

#[test]
fn a_record_of_a_later_format_is_refused_by_name() {
    let mut row = encode(&written_in_format_1());
    row[0] = FORMAT + 1;
    let error = decode(row).unwrap_err();
    assert_eq!(error, RecordDecodeError::Format(3));
    assert!(error.to_string().contains("format 3"), "{error}");
    let empty = RecordDecodeError::Length {
        stated: 5,
        found: 0,
    };
    assert_eq!(decode(Vec::new()), Err(empty));
}

/// A node that knows format 1 alone refuses another first byte and reads nothing of the row.
#[test]
fn a_record_is_not_of_format_1() {
    assert_ne!(FORMAT, legacy::FORMAT);
    assert_eq!(encode(&written_in_format_1()).first(), Some(&FORMAT));
}
