//! Conversions between core's values and their records between nodes. A field that cannot be
//! decoded is named, never guessed.

use std::sync::Arc;
use std::time::Duration;

use gimlet_core::envelope::{Envelope, Parcel};
use gimlet_core::id::{DeviceId, GroupId, MessageId, RoomId, UserId};
use gimlet_core::logic::{InboxPage, Sent};
use gimlet_core::message::{Content, Draft, Message, Profile, Receiver, Sender};
use gimlet_core::seq::Seq;
use gimlet_core::store::{AckMark, Head};
use gimlet_core::time::Timestamp;
use gimlet_proto::node::{self, Plain, parcel, receiver, sender};

/// The field that could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing or invalid")]
pub(super) struct Nonsense(pub(super) &'static str);

/// Converts to whole milliseconds, at least one: 0 means that the time is not known.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

pub(super) fn user(raw: u64) -> Result<UserId, Nonsense> {
    UserId::new(raw).ok_or(Nonsense("user"))
}

pub(super) fn users(raw: &[u64]) -> Result<Vec<UserId>, Nonsense> {
    raw.iter().map(|raw| user(*raw)).collect()
}

pub(super) fn device(raw: u64) -> Result<DeviceId, Nonsense> {
    DeviceId::new(raw).ok_or(Nonsense("device"))
}

fn message_id(raw: &[u8]) -> Result<MessageId, Nonsense> {
    let bytes = raw.try_into().map_err(|_| Nonsense("message id"))?;
    Ok(MessageId::from_bytes(bytes))
}

fn sender_out(sender: Sender) -> node::Sender {
    let who = match sender {
        Sender::System => sender::Who::System(Plain {}),
        Sender::Business => sender::Who::Business(Plain {}),
        Sender::User { user, device } => sender::Who::User(node::UserSender {
            user: user.get(),
            device: device.map_or(0, DeviceId::get),
        }),
    };
    node::Sender { who: Some(who) }
}

fn sender_in(sender: Option<node::Sender>) -> Result<Sender, Nonsense> {
    match sender.and_then(|it| it.who).ok_or(Nonsense("sender"))? {
        sender::Who::System(_) => Ok(Sender::System),
        sender::Who::Business(_) => Ok(Sender::Business),
        sender::Who::User(it) => Ok(Sender::User {
            user: user(it.user)?,
            device: (it.device != 0).then(|| device(it.device)).transpose()?,
        }),
    }
}

fn receiver_out(receiver: Receiver) -> node::Receiver {
    let whom = match receiver {
        Receiver::User(user) => receiver::Whom::User(user.get()),
        Receiver::Group(group) => receiver::Whom::Group(group.get()),
        Receiver::Room(room) => receiver::Whom::Room(room.get()),
        Receiver::Everyone => receiver::Whom::Everyone(Plain {}),
    };
    node::Receiver { whom: Some(whom) }
}

fn receiver_in(receiver: Option<node::Receiver>) -> Result<Receiver, Nonsense> {
    let nonsense = Nonsense("receiver");
    Ok(match receiver.and_then(|it| it.whom).ok_or(nonsense)? {
        receiver::Whom::User(raw) => Receiver::User(user(raw)?),
        receiver::Whom::Group(raw) => Receiver::Group(GroupId::new(raw).ok_or(nonsense)?),
        receiver::Whom::Room(raw) => Receiver::Room(RoomId::new(raw).ok_or(nonsense)?),
        receiver::Whom::Everyone(_) => Receiver::Everyone,
    })
}

fn mentions_out(mentions: &[UserId]) -> Vec<u64> {
    mentions.iter().map(|user| user.get()).collect()
}

pub(super) fn envelope_out(envelope: &Envelope) -> node::Envelope {
    let (message, profile) = (&envelope.message, &envelope.profile);
    node::Envelope {
        message: Some(node::Message {
            id: message.id.as_bytes().to_vec().into(),
            sender: Some(sender_out(message.sender)),
            receiver: Some(receiver_out(message.receiver)),
            mentions: mentions_out(&message.mentions),
            kind: message.kind,
            content: message.content.0.clone(),
            sent_at_ms: message.sent_at.0,
        }),
        profile: Some(node::Profile {
            nickname: profile.nickname.clone(),
            avatar_url: profile.avatar_url.clone(),
            extra: profile.extra.clone(),
        }),
        request_id: envelope.request_id,
    }
}

pub(super) fn envelope_in(envelope: Option<node::Envelope>) -> Result<Envelope, Nonsense> {
    let envelope = envelope.ok_or(Nonsense("envelope"))?;
    let it = envelope.message.ok_or(Nonsense("message"))?;
    let message = Message {
        id: message_id(&it.id)?,
        sender: sender_in(it.sender)?,
        receiver: receiver_in(it.receiver)?,
        mentions: users(&it.mentions)?,
        kind: it.kind,
        content: Content::copied_from(&it.content),
        sent_at: Timestamp(it.sent_at_ms),
    };
    let profile = envelope.profile.unwrap_or_default();
    let profile = Profile {
        nickname: profile.nickname,
        avatar_url: profile.avatar_url,
        extra: profile.extra,
    };
    Ok(Envelope::new(
        Arc::new(message),
        Arc::new(profile),
        envelope.request_id,
    ))
}

pub(super) fn head_out(head: Head) -> node::Head {
    node::Head {
        head: head.head.get(),
        floor: head.floor.get(),
    }
}

pub(super) const fn head_in(head: &node::Head) -> Head {
    Head {
        head: Seq::new(head.head),
        floor: Seq::new(head.floor),
    }
}

pub(super) fn page_out(page: &InboxPage) -> node::PageReply {
    let entries = page.items.iter().map(|(seq, envelope)| node::Entry {
        seq: seq.get(),
        envelope: Some(envelope_out(envelope)),
    });
    node::PageReply {
        refusal: None,
        head: Some(head_out(page.head)),
        entries: entries.collect(),
        more: page.more,
    }
}

pub(super) fn page_in(page: node::PageReply) -> Result<InboxPage, Nonsense> {
    let head = head_in(&page.head.ok_or(Nonsense("head"))?);
    let items = page.entries.into_iter();
    let items = items.map(|entry| {
        let envelope = envelope_in(entry.envelope)?;
        Ok((Seq::new(entry.seq), Arc::new(envelope)))
    });
    Ok(InboxPage {
        items: items.collect::<Result<_, Nonsense>>()?,
        more: page.more,
        head,
    })
}

pub(super) fn mark_out(mark: &AckMark) -> node::AckMark {
    node::AckMark {
        user: mark.user.get(),
        device: mark.device.get(),
        upto: mark.upto.get(),
    }
}

pub(super) fn mark_in(mark: &node::AckMark) -> Result<AckMark, Nonsense> {
    Ok(AckMark {
        user: user(mark.user)?,
        device: device(mark.device)?,
        upto: Seq::new(mark.upto),
    })
}

pub(super) fn send_out(id: u64, sender: Sender, draft: Draft) -> node::SendRequest {
    node::SendRequest {
        id,
        sender: Some(sender_out(sender)),
        receiver: Some(receiver_out(draft.receiver)),
        mentions: mentions_out(&draft.mentions),
        kind: draft.kind,
        content: draft.content.0,
        sent_at_ms: draft.sent_at.0,
        persist: draft.persist,
        client_id: draft.client_id,
        request_id: draft.request_id,
    }
}

pub(super) fn send_in(send: node::SendRequest) -> Result<(Sender, Draft), Nonsense> {
    let draft = Draft {
        receiver: receiver_in(send.receiver)?,
        mentions: users(&send.mentions)?,
        kind: send.kind,
        content: Content::copied_from(&send.content),
        sent_at: Timestamp(send.sent_at_ms),
        persist: send.persist,
        client_id: send.client_id,
        request_id: send.request_id,
    };
    Ok((sender_in(send.sender)?, draft))
}

pub(super) fn sent_out(sent: &Sent) -> node::Sent {
    node::Sent {
        seq: sent.seq.get(),
        message_id: sent.message.as_bytes().to_vec().into(),
        repeated: sent.repeated,
    }
}

pub(super) fn sent_in(sent: Option<node::Sent>) -> Result<Sent, Nonsense> {
    let sent = sent.ok_or(Nonsense("sent"))?;
    Ok(Sent {
        seq: Seq::new(sent.seq),
        message: message_id(&sent.message_id)?,
        repeated: sent.repeated,
    })
}

pub(super) fn parcel_out(parcel: &Parcel) -> node::Parcel {
    let (envelope, to) = match parcel {
        Parcel::Entries { envelope, to } => {
            let places = node::Places {
                users: to.iter().map(|(user, _)| user.get()).collect(),
                seqs: to.iter().map(|(_, seq)| seq.get()).collect(),
            };
            (envelope, parcel::To::Entries(places))
        }
        Parcel::Live { envelope, to } => {
            let users = node::Users {
                users: mentions_out(to),
            };
            (envelope, parcel::To::Live(users))
        }
        Parcel::Everyone { envelope } => (envelope, parcel::To::Everyone(Plain {})),
    };
    node::Parcel {
        envelope: Some(envelope_out(envelope)),
        to: Some(to),
    }
}

pub(super) fn parcel_in(parcel: node::Parcel) -> Result<Parcel, Nonsense> {
    let envelope = Arc::new(envelope_in(parcel.envelope)?);
    Ok(match parcel.to.ok_or(Nonsense("to"))? {
        parcel::To::Entries(places) => {
            if places.users.len() != places.seqs.len() {
                return Err(Nonsense("places"));
            }
            let to = places.users.iter().zip(places.seqs);
            let to = to.map(|(raw, seq)| Ok((user(*raw)?, Seq::new(seq))));
            Parcel::Entries {
                envelope,
                to: to.collect::<Result<_, Nonsense>>()?,
            }
        }
        parcel::To::Live(it) => Parcel::Live {
            envelope,
            to: users(&it.users)?,
        },
        parcel::To::Everyone(_) => Parcel::Everyone { envelope },
    })
}

/// Bytes that a delivery batch counts for in a bounded queue.
pub(super) fn parcel_weight(parcel: &Parcel) -> usize {
    const ENTRY: usize = 24;
    match parcel {
        Parcel::Entries { envelope, to } => envelope.weight() + to.len() * ENTRY,
        Parcel::Live { envelope, to } => envelope.weight() + to.len() * ENTRY,
        Parcel::Everyone { envelope } => envelope.weight(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Arc<Envelope> {
        let message = Message {
            id: MessageId::generate(),
            sender: Sender::User {
                user: user(1).unwrap(),
                device: DeviceId::new(2),
            },
            receiver: Receiver::Group(GroupId::new(3).unwrap()),
            mentions: vec![user(4).unwrap(), user(5).unwrap()],
            kind: -7,
            content: Content("ünï".into()),
            sent_at: Timestamp(-1),
        };
        let profile = Profile {
            nickname: "n".into(),
            avatar_url: "a".into(),
            extra: "e".into(),
        };
        Arc::new(Envelope::new(Arc::new(message), Arc::new(profile), -9))
    }

    fn same(one: &Envelope, other: &Envelope) {
        assert_eq!(one.message, other.message);
        assert_eq!(one.profile, other.profile);
        assert_eq!(one.request_id, other.request_id);
    }

    #[test]
    fn parcels_come_as_they_went() {
        let whole = envelope();
        let place = (user(6).unwrap(), Seq::new(70));
        let entries = Parcel::Entries {
            envelope: Arc::clone(&whole),
            to: vec![place],
        };
        let Parcel::Entries { envelope, to } = parcel_in(parcel_out(&entries)).unwrap() else {
            panic!("entries stay entries");
        };
        same(&envelope, &whole);
        assert_eq!(to, [place]);
        let live = Parcel::Live {
            envelope: Arc::clone(&whole),
            to: vec![place.0],
        };
        assert!(matches!(
            parcel_in(parcel_out(&live)),
            Ok(Parcel::Live { to, .. }) if to == [place.0]
        ));
        let everyone = Parcel::Everyone { envelope: whole };
        assert!(matches!(
            parcel_in(parcel_out(&everyone)),
            Ok(Parcel::Everyone { .. })
        ));
    }

    #[test]
    fn drafts_and_answers_come_as_they_went() {
        let mut draft = Draft::text(user(9).unwrap(), "hi");
        (draft.client_id, draft.request_id) = (Some(String::new()), Some(0));
        let who = Sender::User {
            user: user(1).unwrap(),
            device: None,
        };
        let (sender, came) = send_in(send_out(1, who, draft.clone())).unwrap();
        assert_eq!(sender, who);
        assert_eq!(format!("{came:?}"), format!("{draft:?}"));
        let sent = Sent {
            seq: Seq::new(5),
            message: MessageId::generate(),
            repeated: true,
        };
        assert_eq!(sent_in(Some(sent_out(&sent))), Ok(sent));
    }

    /// A batch between nodes is one buffer; one of its messages may be kept long after the others.
    #[test]
    fn d9_what_came_from_a_node_keeps_nothing_of_its_buffer() {
        use prost::Message as _;
        let mut buffer = envelope_out(&envelope()).encode_to_vec();
        buffer.extend_from_slice(&[0xfa, 0x7f, 0x90, 0xa1, 0x0f]);
        buffer.resize(buffer.len() + 250_000, 0);
        let whole = node::Envelope::decode(bytes::Bytes::from(buffer)).unwrap();
        let message = envelope_in(Some(whole)).unwrap().message;
        let content = Arc::into_inner(message).unwrap().content;
        let content = content.0.try_into_mut().expect("nobody else has it");
        assert_eq!(content.capacity(), "ünï".len());
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let mut parcel = parcel_out(&Parcel::Entries {
            envelope: envelope(),
            to: vec![(user(6).unwrap(), Seq::new(1))],
        });
        if let Some(parcel::To::Entries(places)) = parcel.to.as_mut() {
            places.seqs.clear();
        }
        assert_eq!(parcel_in(parcel).unwrap_err(), Nonsense("places"));
        assert_eq!(
            page_in(node::PageReply::default()).unwrap_err(),
            Nonsense("head")
        );
        assert_eq!(sent_in(None), Err(Nonsense("sent")));
        assert_eq!(users(&[0]), Err(Nonsense("user")));
    }
}
