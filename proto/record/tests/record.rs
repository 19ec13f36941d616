//! The record is protobuf's, keeps all fields, and is refused where it is damaged.

use bytes::Bytes;
use gimlet_core::id::{GroupId, MAX_ID, MessageId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields,
};
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::{node, store};
use gimlet_record::{DecodeError, testkit};
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use prost::Message as _;

/// A message as data directories have held it since the first release: the fields 1 to 10, none of
/// them with its default value.
const STORED: &[u8] =
    b"\x0a\x10ABCDEFGHIJKLMNOP\x10\x01\x18\x07\x20\x46\x28\x02\x30\x09\x3a\x03\x05\xac\x02\
    \x40\xf9\xff\xff\xff\xff\xff\xff\xff\xff\x01\x4a\x02hi\x50\x80\xe0\xaa\x8a\x99\x30";

fn stored() -> Message {
    let user = |raw| UserId::new(raw).expect("an id");
    Message {
        id: MessageId::from_bytes(*b"ABCDEFGHIJKLMNOP"),
        sender: MessageSender::User {
            user: user(7),
            device: gimlet_core::id::DeviceId::new(70),
        },
        receiver: MessageReceiver::Group(GroupId::new(9).expect("an id")),
        mentions: vec![user(5), user(300)],
        kind: -7,
        content: MessageContent(Bytes::from_static(b"hi")),
        sent_at: UnixTimestamp(1_656_000_000_000),
        unknown: UnknownFields::NONE,
    }
}

#[test]
fn a_message_of_a_data_directory_is_read_and_written_as_by_the_first_release() {
    assert_eq!(gimlet_record::decode(STORED), Ok(stored()));
    assert_eq!(gimlet_record::encode(&stored()), STORED);
}

/// The generated type with the same values, without the unknown fields.
fn generated(message: &Message) -> store::Message {
    let Message {
        id,
        sender,
        receiver,
        mentions,
        kind,
        content,
        sent_at,
        unknown: _,
    } = message;
    let (sender, sender_user, sender_device) = match *sender {
        MessageSender::System => (store::message::Sender::System, 0, 0),
        MessageSender::Business => (store::message::Sender::Business, 0, 0),
        MessageSender::User { user, device } => (
            store::message::Sender::User,
            user.get(),
            device.map_or(0, gimlet_core::id::DeviceId::get),
        ),
    };
    let (receiver, receiver_id) = match *receiver {
        MessageReceiver::Everyone => (store::message::Receiver::Everyone, 0),
        MessageReceiver::User(user) => (store::message::Receiver::ToUser, user.get()),
        MessageReceiver::Group(group) => (store::message::Receiver::ToGroup, group.get()),
        MessageReceiver::Room(room) => (store::message::Receiver::ToRoom, room.get()),
    };
    store::Message {
        id: Bytes::copy_from_slice(id.as_bytes()),
        sender: sender.into(),
        sender_user,
        sender_device,
        receiver: receiver.into(),
        receiver_id,
        mentions: mentions.iter().map(|it| it.get()).collect(),
        kind: *kind,
        content: content.0.clone(),
        sent_ms: sent_at.0,
    }
}

proptest! {
    #[test]
    fn messages_come_back_with_every_field(message in testkit::message()) {
        let record = gimlet_record::encode(&message);
        prop_assert_eq!(record.len(), gimlet_record::encoded_len(&message));
        prop_assert_eq!(gimlet_record::decode(&record), Ok(message.clone()));
        prop_assert_eq!(gimlet_record::decode_shared(&Bytes::from(record)), Ok(message));
    }

    #[test]
    fn envelopes_come_back_with_every_field(
        envelope in testkit::envelope(),
        unknown in testkit::unknown_fields(),
    ) {
        let mut record = gimlet_record::encode_envelope(&envelope);
        prop_assert_eq!(record.len(), gimlet_record::encoded_envelope_len(&envelope));
        // A later release may add fields to an envelope: they are skipped.
        record.extend_from_slice(unknown.as_bytes());
        let back = gimlet_record::decode_envelope(&record).expect("an envelope");
        prop_assert_eq!(back.parts(), envelope.parts());
    }

    #[test]
    fn the_bytes_are_those_of_protobuf(message in testkit::message()) {
        let known = Message { unknown: UnknownFields::NONE, ..message.clone() };
        let generated = generated(&known).encode_to_vec();
        prop_assert_eq!(&gimlet_record::encode(&known), &generated);
        let written = gimlet_record::encode(&message);
        prop_assert_eq!(&written[generated.len()..], message.unknown.as_bytes());
        // A reader that does not know these fields reads the others.
        let read = store::Message::decode(written.as_slice()).expect("protobuf");
        prop_assert_eq!(read.encode_to_vec(), generated);
    }

    #[test]
    fn an_envelope_is_that_of_protobuf(envelope in testkit::envelope()) {
        let (message, profile, request_id) = envelope.parts();
        let known = Message { unknown: UnknownFields::NONE, ..message.clone() };
        let profile = (profile != &gimlet_core::message::UserProfile::default()).then(|| store::Profile {
            nickname: profile.nickname.clone(),
            avatar_url: profile.avatar_url.clone(),
            extra: profile.extra.clone(),
        });
        let generated = store::Envelope {
            message: Some(generated(&known)),
            request_id,
            profile,
        };
        let envelope = gimlet_core::envelope::Envelope::new(
            known.into(),
            std::sync::Arc::clone(&envelope.profile),
            request_id,
        );
        prop_assert_eq!(gimlet_record::encode_envelope(&envelope), generated.encode_to_vec());
    }

    #[test]
    fn a_message_between_nodes_comes_back_with_every_field(envelope in testkit::envelope()) {
        let record = gimlet_record::encode_envelope(&envelope);
        let parcel = node::Parcel { record: record.into(), ..node::Parcel::default() };
        let parcel = node::Parcel::decode(parcel.encode_to_vec().as_slice()).expect("protobuf");
        let back = gimlet_record::decode_envelope(&parcel.record).expect("an envelope");
        prop_assert_eq!(back.parts(), envelope.parts());
    }

    #[test]
    fn damaged_input_is_refused_or_read_and_never_panics(
        envelope in testkit::envelope(),
        at in any::<proptest::sample::Index>(),
        damage in vec(any::<u8>(), 0..8),
        keep_rest in any::<bool>(),
    ) {
        let mut record = gimlet_record::encode_envelope(&envelope);
        let at = at.index(record.len());
        let rest = record.split_off(at);
        record.extend(damage);
        if keep_rest {
            record.extend(rest);
        }
        let _ = gimlet_record::decode_envelope(&record);
        if let Ok(message) = gimlet_record::decode(&record) {
            // What is read can be written, and reads the same again.
            prop_assert_eq!(gimlet_record::decode(&gimlet_record::encode(&message)), Ok(message));
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = gimlet_record::decode_envelope(&bytes);
        let shared = gimlet_record::decode_shared(&Bytes::from(bytes.clone()));
        prop_assert!(shared == gimlet_record::decode(&bytes));
    }
}

/// Encodes these fields of numbers in front of an id.
fn with_id(fields: &[u8]) -> Vec<u8> {
    [b"\x0a\x10ABCDEFGHIJKLMNOP".as_slice(), fields].concat()
}

#[test]
fn an_error_names_the_field() {
    use DecodeError::{Malformed, Missing, OutOfRange, Truncated, WrongType};
    let cases: [(&[u8], DecodeError); 11] = [
        (b"", Missing("id")),
        (b"\x0a\x02ab", OutOfRange("id")),
        (b"\x0a\x10ABC", Truncated),
        (b"\x08\x01", WrongType("id")),
        (&with_id(b"\x10\x03"), OutOfRange("sender")),
        (&with_id(b"\x10\x01"), OutOfRange("sender_user")),
        (&with_id(b"\x28\x02\x30\x00"), OutOfRange("receiver_id")),
        (&with_id(b"\x3a\x01\x00"), OutOfRange("mentions")),
        (&with_id(b"\x40\x80\x80\x80\x80\x08"), OutOfRange("kind")),
        (&with_id(b"\x5b"), Malformed),
        (
            &with_id(b"\x50\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
            Malformed,
        ),
    ];
    for (record, error) in cases {
        assert_eq!(gimlet_record::decode(record), Err(error), "{record:?}");
        assert!(error.to_string().contains(error.field()), "{error}");
    }
    let largest = Message {
        receiver: MessageReceiver::User(UserId::new(MAX_ID).expect("an id")),
        ..stored()
    };
    let record = gimlet_record::encode(&largest);
    assert_eq!(gimlet_record::decode(&record), Ok(largest));
}

#[test]
fn numbers_that_are_not_packed_and_fields_that_come_twice_are_read_as_protobuf_says() {
    let record = with_id(b"\x38\x05\x40\x01\x38\xac\x02\x40\x02");
    let message = gimlet_record::decode(&record).expect("a message");
    let mentions: Vec<u64> = message.mentions.iter().map(|it| it.get()).collect();
    assert_eq!((mentions, message.kind), (vec![5, 300], 2));
}

/// A copy keeps nothing of a large buffer; a shared message keeps all of a small one.
#[test]
fn a_decoded_copy_keeps_nothing_of_its_record() {
    let record = Bytes::from(gimlet_record::encode(&stored()));
    let shared = gimlet_record::decode_shared(&record).expect("a message");
    assert!(record.as_ptr_range().contains(&shared.content.0.as_ptr()));
    let copied = gimlet_record::decode(&record).expect("a message");
    assert!(!record.as_ptr_range().contains(&copied.content.0.as_ptr()));
}
