//! Tests the conversion of wire messages into events.

use super::*;

fn who() -> Credentials {
    Credentials {
        user_id: 1,
        device_id: 11,
        token: String::new(),
    }
}

fn message(kind: pb::SenderType, to: pb::ReceiverType, content: &Content) -> pb::Message {
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
        Content::text("hi \u{1f600}\0"),
        Content::Custom("x".into()),
        Content::Face(pb::Face::default()),
        Content::Voice(pb::Voice::default()),
        Content::Image(pb::Image::default()),
        Content::File(pb::File {
            name: "a".into(),
            ..pb::File::default()
        }),
        Content::Location(pb::Location::default()),
        Content::Command(pb::Command {
            code: 1_000,
            data: Bytes::from_static(b"x"),
        }),
        Content::Other {
            kind: 99,
            bytes: Bytes::from_static(b"\xff"),
        },
    ];
    for content in contents {
        let (kind, bytes) = content.encode();
        assert_eq!(Content::decode(kind, bytes), content);
    }
}

#[test]
fn bytes_that_are_not_of_their_type_are_given_as_they_are() {
    let bytes = Bytes::from_static(b"\xff\xff");
    let kind = pb::MessageType::MtText as i32;
    let other = Content::decode(kind, bytes.clone());
    assert_eq!(other, Content::Other { kind, bytes });
}

#[test]
fn system_commands_become_pushes_and_those_of_others_do_not() {
    use pb::{ReceiverType::RtUser, SenderType};
    let asks = pb::AddFriendPush {
        friend_id: 2,
        ..pb::AddFriendPush::default()
    };
    let command = Content::Command(pb::Command {
        code: pb::PushCode::PcAddFriend.into(),
        data: asks.encode_to_vec().into(),
    });
    let push = event(message(SenderType::StSystem, RtUser, &command), &who());
    assert!(matches!(push, Event::Push(_, Push::FriendRequest(p)) if p.friend_id == 2));
    let forged = event(message(SenderType::StUser, RtUser, &command), &who());
    assert!(matches!(forged, Event::Message(m) if m.content == command));
    let unknown = Content::Command(pb::Command {
        code: 999,
        data: Bytes::new(),
    });
    let plain = event(message(SenderType::StSystem, RtUser, &unknown), &who());
    assert!(matches!(plain, Event::Message(_)));
}

#[test]
fn kinds_of_messages_are_told_apart() {
    use pb::ReceiverType::{RtGroup, RtRoom, RtUser};
    let of = |to, id, seq| {
        let mut message = message(pb::SenderType::StUser, to, &Content::text("x"));
        (message.receiver_id, message.seq) = (id, seq);
        event(message, &who())
    };
    assert!(matches!(of(RtRoom, 0, 0), Event::Broadcast(_)));
    assert!(matches!(of(RtRoom, 4, 9), Event::Room(_)));
    assert!(matches!(of(RtUser, 4, 0), Event::Live(_)));
    let Event::Message(message) = of(RtGroup, 4, 3) else {
        panic!("a stored message")
    };
    assert_eq!(message.receiver, Receiver::Group(4));
    assert!(message.own && !message.own_device, "from another device");
}
