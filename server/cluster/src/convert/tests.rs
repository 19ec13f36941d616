//! Values survive the way between nodes, as records and in the legacy form.

use gimlet_core::id::{DeviceId, GroupId, MessageId};
use gimlet_core::message::{Message, MessageReceiver, UnknownFields, UserProfile};
use gimlet_record::testkit;
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use prost::Message as _;

use super::*;

const FORMS: [MessageForm; 2] = [MessageForm::Record, MessageForm::Legacy];

fn envelope() -> Arc<Envelope> {
    let message = Message {
        id: MessageId::generate(),
        sender: MessageSender::User {
            user: user(1).unwrap(),
            device: DeviceId::new(2),
        },
        receiver: MessageReceiver::Group(GroupId::new(3).unwrap()),
        mentions: vec![user(4).unwrap(), user(5).unwrap()],
        kind: -7,
        content: MessageContent("ünï".into()),
        sent_at: UnixTimestamp(-1),
        unknown: UnknownFields::NONE,
    };
    let profile = UserProfile {
        nickname: "n".into(),
        avatar_url: "a".into(),
        extra: "e".into(),
    };
    Arc::new(Envelope::new(Arc::new(message), Arc::new(profile), -9))
}

/// An envelope without the fields that the legacy form leaves out.
fn known(envelope: &Envelope) -> Envelope {
    let (message, profile, request_id) = envelope.parts();
    let message = Message {
        unknown: UnknownFields::NONE,
        ..message.clone()
    };
    Envelope::new(message.into(), profile.clone().into(), request_id)
}

/// Encodes a delivery batch for the wire and decodes it again.
fn crossed(delivery: &DeliveryBatch, form: MessageForm) -> DeliveryBatch {
    let bytes = batch_out(delivery, form).encode_to_vec();
    let parcel = node::Parcel::decode(bytes.as_slice()).unwrap();
    batch_in(parcel).unwrap()
}

proptest! {
    #[test]
    fn messages_come_as_they_went_in_either_form(envelope in testkit::envelope()) {
        let envelope = Arc::new(envelope);
        let everyone = DeliveryBatch::Everyone { envelope: Arc::clone(&envelope) };
        let page = InboxPage {
            items: vec![(Seq::new(9), Arc::clone(&envelope))],
            more: true,
            head: Head::default(),
        };
        for form in FORMS {
            let sent = match form {
                MessageForm::Record => Arc::clone(&envelope),
                MessageForm::Legacy => Arc::new(known(&envelope)),
            };
            let DeliveryBatch::Everyone { envelope } = crossed(&everyone, form) else {
                panic!("the kind of a delivery batch changed");
            };
            prop_assert_eq!(envelope.parts(), sent.parts());
            let bytes = page_out(&page, form).encode_to_vec();
            let came = page_in(node::PageReply::decode(bytes.as_slice()).unwrap()).unwrap();
            let [(seq, envelope)] = came.items.as_slice() else {
                panic!("a page of one entry");
            };
            prop_assert_eq!((*seq, came.more, came.head), (Seq::new(9), true, page.head));
            prop_assert_eq!(envelope.parts(), sent.parts());
        }
    }

    /// The traffic between nodes gets no larger by the record.
    #[test]
    fn the_record_is_never_longer_than_the_legacy_form(envelope in testkit::envelope()) {
        let everyone = DeliveryBatch::Everyone { envelope: Arc::new(known(&envelope)) };
        let length = |form| batch_out(&everyone, form).encoded_len();
        prop_assert!(length(MessageForm::Record) <= length(MessageForm::Legacy));
    }
}

#[test]
fn parcels_come_as_they_went() {
    let whole = envelope();
    let place = (user(6).unwrap(), Seq::new(70));
    let entries = DeliveryBatch::Entries {
        envelope: Arc::clone(&whole),
        to: vec![place],
    };
    let live = DeliveryBatch::Live {
        envelope: Arc::clone(&whole),
        to: vec![place.0],
    };
    for form in FORMS {
        let DeliveryBatch::Entries { envelope, to } = crossed(&entries, form) else {
            panic!("entries stay entries");
        };
        assert_eq!(envelope.parts(), whole.parts());
        assert_eq!(to, [place]);
        assert!(matches!(
            crossed(&live, form),
            DeliveryBatch::Live { to, .. } if to == [place.0]
        ));
    }
}

#[test]
fn drafts_and_answers_come_as_they_went() {
    let mut draft = MessageDraft::text(user(9).unwrap(), "hi");
    (draft.client_id, draft.request_id) = (Some(String::new()), Some(0));
    let who = MessageSender::User {
        user: user(1).unwrap(),
        device: None,
    };
    let (sender, came) = send_in(send_out(1, who, draft.clone())).unwrap();
    assert_eq!(sender, who);
    assert_eq!(format!("{came:?}"), format!("{draft:?}"));
    let sent = SendReceipt {
        seq: Seq::new(5),
        message: MessageId::generate(),
        repeated: true,
    };
    assert_eq!(sent_in(Some(sent_out(&sent))), Ok(sent));
}

/// A batch between nodes is one buffer; a message of it may stay long after the others.
#[test]
fn d9_what_came_from_a_node_keeps_nothing_of_its_buffer() {
    for form in FORMS {
        let everyone = DeliveryBatch::Everyone {
            envelope: envelope(),
        };
        let mut buffer = batch_out(&everyone, form).encode_to_vec();
        buffer.extend_from_slice(&[0xfa, 0x7f, 0x90, 0xa1, 0x0f]);
        buffer.resize(buffer.len() + 250_000, 0);
        let whole = node::Parcel::decode(Bytes::from(buffer)).unwrap();
        let Ok(DeliveryBatch::Everyone { envelope }) = batch_in(whole) else {
            panic!("it is read");
        };
        let message = Arc::into_inner(envelope).unwrap().message;
        let content = Arc::into_inner(message).unwrap().content;
        let content = content.0.try_into_mut().expect("nobody else has it");
        assert_eq!(content.capacity(), "ünï".len());
    }
}

#[test]
fn what_makes_no_sense_is_named() {
    let entries = DeliveryBatch::Entries {
        envelope: envelope(),
        to: vec![(user(6).unwrap(), Seq::new(1))],
    };
    for form in FORMS {
        let mut parcel = batch_out(&entries, form);
        if let Some(parcel::To::Entries(places)) = parcel.to.as_mut() {
            places.seqs.clear();
        }
        assert_eq!(batch_in(parcel).unwrap_err(), DecodeError("places"));
    }
    let no_id = node::Parcel {
        record: Bytes::from_static(b"\x0a\x02\x10\x00"),
        ..batch_out(&entries, MessageForm::Legacy)
    };
    assert_eq!(batch_in(no_id).unwrap_err(), DecodeError("id"));
    let nothing = node::Parcel::default();
    assert_eq!(batch_in(nothing).unwrap_err(), DecodeError("envelope"));
    assert_eq!(
        page_in(node::PageReply::default()).unwrap_err(),
        DecodeError("head")
    );
    assert_eq!(sent_in(None), Err(DecodeError("sent")));
    assert_eq!(users(&[0]), Err(DecodeError("user")));
}
