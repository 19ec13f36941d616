//! Compares the hand-written encoding with prost's.

use std::sync::Arc;

use gimlet_core::id::{DeviceId, GroupId, MessageId, RoomId, UserId};
use gimlet_core::message::{
    MessageContent, MessageReceiver, MessageSender, UnknownFields, UserProfile,
};
use gimlet_core::store::StreamId;
use gimlet_core::time::UnixTimestamp;

use super::*;
use crate::convert;
use crate::protobuf::varint_len;

fn user(raw: u64) -> UserId {
    UserId::new(raw).unwrap()
}

pub(crate) fn envelope(receiver: MessageReceiver, sent_at: i64, content: usize) -> Envelope {
    let message = Message {
        id: MessageId::from_bytes([7; 16]),
        sender: MessageSender::User {
            user: user(2),
            device: DeviceId::new(7),
        },
        receiver,
        mentions: vec![user(3), user(300)],
        kind: 1,
        content: MessageContent(vec![1; content].into()),
        sent_at: UnixTimestamp(sent_at),
        unknown: UnknownFields::NONE,
    };
    let profile = UserProfile {
        nickname: "Alice".into(),
        avatar_url: "http://a/1.png".into(),
        extra: String::new(),
    };
    Envelope::new(Arc::new(message), Arc::new(profile), 0)
}

fn expected(envelope: &Envelope, seq: u64, extended: bool) -> pb::Message {
    let mut message = convert::message(&envelope.message, &envelope.profile);
    message.seq = seq.try_into().unwrap();
    if !extended {
        message.message_id = Bytes::new();
    }
    message
}

#[test]
fn pushes_are_what_prost_would_write() {
    let receivers = [
        MessageReceiver::User(user(3)),
        MessageReceiver::Group(GroupId::new(9).unwrap()),
        MessageReceiver::Room(RoomId::new(u64::from(u32::MAX)).unwrap()),
        MessageReceiver::Everyone,
    ];
    for receiver in receivers {
        for (sent_at, content) in [(0, 0), (1_652_227_200_000, 100), (-1, 20_000)] {
            let envelope = envelope(receiver, sent_at, content);
            for seq in [0, 1, 127, 128, 1 << 40, i64::MAX.cast_unsigned()] {
                for request_id in [0, 1, -1, i64::MAX] {
                    for extended in [false, true] {
                        let message = Some(expected(&envelope, seq, extended));
                        let output = pb::Output {
                            r#type: 4,
                            request_id,
                            data: pb::MessageSend { message }.encode_to_vec().into(),
                            ..Default::default()
                        };
                        let frame = push(&envelope, Seq::new(seq), request_id, extended);
                        assert_eq!(frame.unwrap(), output.encode_to_vec());
                    }
                }
            }
        }
    }
}

#[test]
fn a_body_is_what_prost_would_write() {
    let someone = MessageSender::User {
        user: user(u64::from(u32::MAX)),
        device: DeviceId::new(7),
    };
    let nobody = UserProfile::default();
    for sender in [someone, MessageSender::System, MessageSender::Business] {
        for (kind, mentions) in [
            (0, vec![]),
            (1, vec![user(3), user(300)]),
            (-1, vec![user(1)]),
        ] {
            let full = envelope(MessageReceiver::User(user(3)), 5, 10);
            let message = Message {
                sender,
                kind,
                mentions,
                ..(*full.message).clone()
            };
            for profile in [Some(&*full.profile), None] {
                for (device, extended) in [(false, false), (true, false), (true, true)] {
                    let mut want = convert::message(&message, profile.unwrap_or(&nobody));
                    want.seq = 9;
                    if !device {
                        want.sender.as_mut().unwrap().device_id = 0;
                    }
                    if !extended {
                        want.message_id = Bytes::new();
                    }
                    let body = MessageBody::new(&message, profile, device);
                    let mut buffer = BytesMut::new();
                    body.put(&mut buffer, Seq::new(9), extended);
                    assert_eq!(buffer, want.encode_to_vec());
                    assert_eq!(buffer.len(), body.len(Seq::new(9), extended));
                }
            }
        }
    }
}

#[test]
fn varints_have_the_length_they_are_written_with() {
    for shift in 0..64 {
        for value in [(1u64 << shift) - 1, 1 << shift] {
            let mut buffer = BytesMut::new();
            put_varint(&mut buffer, value);
            assert_eq!(buffer.len(), varint_len(value), "{value}");
        }
    }
    assert_eq!(varint_len(u64::MAX), 10);
}

#[test]
fn what_fits_no_frame_goes_out_without_the_profile_or_not_at_all() {
    let mut envelope = envelope(MessageReceiver::User(user(3)), 5, 61_440);
    assert!(push(&envelope, Seq::new(1), 0, true).unwrap().len() <= MAX_FRAME_LEN);
    let profile = UserProfile {
        extra: "x".repeat(10_000),
        ..UserProfile::default()
    };
    envelope = Envelope::new(Arc::clone(&envelope.message), Arc::new(profile), 0);
    let frame = push(&envelope, Seq::new(1), 0, true).unwrap();
    assert!(frame.len() <= MAX_FRAME_LEN);
    let large = self::envelope(MessageReceiver::User(user(3)), 5, 66_000);
    assert_eq!(push(&large, Seq::new(1), 0, true), None);
}

#[test]
fn all_members_of_a_room_are_pushed_the_same() {
    let room = RoomId::new(5).unwrap();
    for content in [100, 61_440, 66_000] {
        let profile = UserProfile {
            extra: "x".repeat(content / 10),
            ..UserProfile::default()
        };
        let message = envelope(MessageReceiver::Room(room), 5, content).message;
        let item = RoomItem {
            room,
            stream: StreamId(1),
            seq: Seq::new(300),
            envelope: Arc::new(Envelope::new(message, Arc::new(profile), 0)),
        };
        for extended in [false, true] {
            let each = push(&item.envelope, item.seq, 0, extended);
            assert_eq!(room_push(&item, extended), each, "{content}");
        }
    }
}
