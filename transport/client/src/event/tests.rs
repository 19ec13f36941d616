//! Tests the conversion of wire messages into events.

use super::*;

fn who() -> DeviceCredentials {
    DeviceCredentials {
        user_id: 1,
        device_id: 11,
        token: String::new(),
    }
}

fn message(kind: pb::SenderType, to: pb::ReceiverType, content: &MessageContent) -> pb::Message {
    let (message_type, message_content) = content.encode();
    pb::Message {
        sender: Some(pb::Sender {
            sender_type: kind.into(),
            sender_id: 1,
            device_id: 12,
            ..pb::Sender::default()
        }),
        receiver_type: to.into(),
        receiver_id: 4,
        message_type,
        message_content,
        seq: 3,
        ..pb::Message::default()
    }
}

#[test]
fn every_content_survives_the_wire() {
    let contents = [
        MessageContent::text("hi \u{1f600}\0"),
        MessageContent::Custom("x".into()),
        MessageContent::Face(pb::Face::default()),
        MessageContent::Voice(pb::Voice::default()),
        MessageContent::Image(pb::Image::default()),
        MessageContent::File(pb::File {
            name: "a".into(),
            ..pb::File::default()
        }),
        MessageContent::Location(pb::Location::default()),
        MessageContent::Command(pb::Command {
            code: 1_000,
            data: Bytes::from_static(b"x"),
        }),
        MessageContent::Other {
            kind: 99,
            bytes: Bytes::from_static(b"\xff"),
        },
    ];
    for content in contents {
        let (kind, bytes) = content.encode();
        assert_eq!(MessageContent::decode(kind, bytes), content);
    }
}

#[test]
fn bytes_that_are_not_of_their_type_are_given_as_they_are() {
    let bytes = Bytes::from_static(b"\xff\xff");
    let kind = pb::MessageType::MtText as i32;
    let other = MessageContent::decode(kind, bytes.clone());
    assert_eq!(other, MessageContent::Other { kind, bytes });
}

#[test]
fn system_commands_become_pushes_and_those_of_others_do_not() {
    use pb::{ReceiverType::RtUser, SenderType};
    let asks = pb::AddFriendPush {
        friend_id: 2,
        ..pb::AddFriendPush::default()
    };
    let command = MessageContent::Command(pb::Command {
        code: pb::PushCode::PcAddFriend.into(),
        data: asks.encode_to_vec().into(),
    });
    let push = event(message(SenderType::StSystem, RtUser, &command), &who());
    assert!(matches!(push, ClientEvent::Push(_, SystemPush::FriendRequest(p)) if p.friend_id == 2));
    let forged = event(message(SenderType::StUser, RtUser, &command), &who());
    assert!(matches!(forged, ClientEvent::Message(m) if m.content == command));
    let unknown = MessageContent::Command(pb::Command {
        code: 999,
        data: Bytes::new(),
    });
    let plain = event(message(SenderType::StSystem, RtUser, &unknown), &who());
    assert!(matches!(plain, ClientEvent::Message(_)));
}

#[test]
fn kinds_of_messages_are_distinguished() {
    use pb::ReceiverType::{RtGroup, RtRoom, RtUser};
    let of = |to, id, seq| {
        let mut message = message(pb::SenderType::StUser, to, &MessageContent::text("x"));
        (message.receiver_id, message.seq) = (id, seq);
        event(message, &who())
    };
    assert!(matches!(of(RtRoom, 0, 0), ClientEvent::Broadcast(_)));
    assert!(matches!(of(RtRoom, 4, 9), ClientEvent::Room(_)));
    assert!(matches!(of(RtUser, 4, 0), ClientEvent::Live(_)));
    let ClientEvent::Message(message) = of(RtGroup, 4, 3) else {
        panic!("a stored message")
    };
    assert_eq!(message.receiver, MessageTarget::Group(4));
    assert!(message.own && !message.own_device, "from another device");
}
