//! Records are decoded as they were encoded, and damaged records are refused.

use super::*;

fn message(sender: Sender, receiver: Receiver) -> Message {
    Message {
        id: MessageId::generate(),
        sender,
        receiver,
        mentions: vec![UserId::new(5).unwrap(), UserId::new(6).unwrap()],
        kind: -3,
        content: Content(Bytes::from_static(b"\0any bytes\xff")),
        sent_at: Timestamp(-1),
    }
}

fn all() -> Vec<Message> {
    let user = UserId::new(gimlet_core::id::MAX_ID).unwrap();
    let device = DeviceId::new(9);
    vec![
        message(Sender::System, Receiver::User(user)),
        message(Sender::Business, Receiver::Everyone),
        message(
            Sender::User { user, device },
            Receiver::Group(GroupId::new(3).unwrap()),
        ),
        message(
            Sender::User { user, device: None },
            Receiver::Room(RoomId::new(4).unwrap()),
        ),
    ]
}

#[test]
fn messages_come_back() {
    for it in all() {
        assert_eq!(decode(encode(&it)).unwrap(), it);
    }
}

#[test]
fn envelopes_come_back() {
    for it in all() {
        let profile = Profile {
            nickname: "Zoë 🦀".into(),
            avatar_url: "http://x/y".into(),
            extra: String::new(),
        };
        let envelope = Envelope::new(Arc::new(it), Arc::new(profile), i64::MIN);
        let back = decode_envelope(encode_envelope(&envelope)).unwrap();
        assert_eq!(back.message, envelope.message);
        assert_eq!(back.profile, envelope.profile);
        assert_eq!(back.request_id, envelope.request_id);
    }
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let profile = Arc::new(Profile::default());
    let envelope = Envelope::new(Arc::new(all().remove(2)), profile, 7);
    let (message, whole) = (encode(&envelope.message), encode_envelope(&envelope));
    for at in 0..message.len() {
        assert!(decode(message[..at].to_vec()).is_err(), "cut at {at}");
    }
    for at in 0..whole.len() {
        assert!(
            decode_envelope(whole[..at].to_vec()).is_err(),
            "cut at {at}"
        );
    }
    assert!(decode([message.as_slice(), &[0]].concat()).is_err());
    let mut other = message;
    other[0] = VERSION + 1;
    assert_eq!(decode(other), Err(Unreadable("it has another version")));
}
