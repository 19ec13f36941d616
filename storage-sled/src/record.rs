//! Conversion between core's types and the stored records. Apart from `verify`, ids are made from
//! stored integers only here.

use std::sync::Arc;

use gimlet_core::id::{DeviceId, GroupId, MessageId, RoomId, UserId};
use gimlet_core::message::{Content, Message, Receiver, Sender};
use gimlet_core::time::Timestamp;
use gimlet_proto::store::{self, message};

use crate::error::Fault;
use crate::key;

/// Converts a stored user id.
pub(crate) fn user(raw: u64) -> Result<UserId, Fault> {
    UserId::new(raw).ok_or(Fault::Corrupt("a user id is zero or too large"))
}

/// Converts a stored group id.
pub(crate) fn group(raw: u64) -> Result<GroupId, Fault> {
    GroupId::new(raw).ok_or(Fault::Corrupt("a group id is zero or too large"))
}

fn device(raw: u64) -> Result<DeviceId, Fault> {
    DeviceId::new(raw).ok_or(Fault::Corrupt("a device id is zero or too large"))
}

fn last(row: &[u8]) -> Result<u64, Fault> {
    key::last_number(row).ok_or(Fault::Corrupt("a key is too short"))
}

/// Returns the user that a key ends with.
pub(crate) fn key_user(row: &[u8]) -> Result<UserId, Fault> {
    user(last(row)?)
}

/// Returns the group that a key ends with.
pub(crate) fn key_group(row: &[u8]) -> Result<GroupId, Fault> {
    group(last(row)?)
}

/// Returns the device that a key ends with.
pub(crate) fn key_device(row: &[u8]) -> Result<DeviceId, Fault> {
    device(last(row)?)
}

/// Returns the number that a key ends with.
pub(crate) fn key_number(row: &[u8]) -> Result<u64, Fault> {
    last(row)
}

/// Converts a stored message id.
pub(crate) fn message_id(raw: &[u8]) -> Result<MessageId, Fault> {
    let raw = raw.try_into();
    raw.map(MessageId::from_bytes)
        .map_err(|_| Fault::Corrupt("a message id is not 16 bytes"))
}

/// Converts a time to milliseconds since 1970.
pub(crate) const fn ms(time: Timestamp) -> i64 {
    time.0
}

/// Converts a message to its stored form.
pub(crate) fn write_message(message: &Message) -> store::Message {
    let (sender, sender_user, sender_device) = match message.sender {
        Sender::System => (message::Sender::System, 0, 0),
        Sender::Business => (message::Sender::Business, 0, 0),
        Sender::User { user, device } => (
            message::Sender::User,
            user.get(),
            device.map_or(0, DeviceId::get),
        ),
    };
    let (receiver, receiver_id) = match message.receiver {
        Receiver::Everyone => (message::Receiver::Everyone, 0),
        Receiver::User(user) => (message::Receiver::ToUser, user.get()),
        Receiver::Group(group) => (message::Receiver::ToGroup, group.get()),
        Receiver::Room(room) => (message::Receiver::ToRoom, room.get()),
    };
    store::Message {
        id: message.id.as_bytes().to_vec().into(),
        sender: sender.into(),
        sender_user,
        sender_device,
        receiver: receiver.into(),
        receiver_id,
        mentions: message.mentions.iter().map(|it| it.get()).collect(),
        kind: message.kind,
        content: message.content.0.clone(),
        sent_ms: ms(message.sent_at),
    }
}

/// Converts a message from its stored form.
pub(crate) fn read_message(row: store::Message) -> Result<Arc<Message>, Fault> {
    let sender = match message::Sender::try_from(row.sender) {
        Ok(message::Sender::System) => Sender::System,
        Ok(message::Sender::Business) => Sender::Business,
        Ok(message::Sender::User) => Sender::User {
            user: user(row.sender_user)?,
            device: match row.sender_device {
                0 => None,
                raw => Some(device(raw)?),
            },
        },
        Err(_) => return Err(Fault::Corrupt("a sender of an unknown kind")),
    };
    let receiver = match message::Receiver::try_from(row.receiver) {
        Ok(message::Receiver::Everyone) => Receiver::Everyone,
        Ok(message::Receiver::ToUser) => Receiver::User(user(row.receiver_id)?),
        Ok(message::Receiver::ToGroup) => Receiver::Group(group(row.receiver_id)?),
        Ok(message::Receiver::ToRoom) => Receiver::Room(
            RoomId::new(row.receiver_id).ok_or(Fault::Corrupt("a room id is zero or too large"))?,
        ),
        Err(_) => return Err(Fault::Corrupt("a receiver of an unknown kind")),
    };
    Ok(Arc::new(Message {
        id: message_id(&row.id)?,
        sender,
        receiver,
        mentions: row
            .mentions
            .into_iter()
            .map(user)
            .collect::<Result<_, _>>()?,
        kind: row.kind,
        content: Content(row.content),
        sent_at: Timestamp(row.sent_ms),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were() {
        let user = UserId::new(1).unwrap();
        let senders = [
            Sender::System,
            Sender::Business,
            Sender::User { user, device: None },
            Sender::User {
                user,
                device: DeviceId::new(2),
            },
        ];
        let receivers = [
            Receiver::Everyone,
            Receiver::User(user),
            Receiver::Group(GroupId::new(3).unwrap()),
            Receiver::Room(RoomId::new(4).unwrap()),
        ];
        for (sender, receiver) in senders.into_iter().zip(receivers) {
            let message = Message {
                id: MessageId::generate(),
                sender,
                receiver,
                mentions: vec![user],
                kind: -7,
                content: Content(vec![0, 255].into()),
                sent_at: Timestamp(-5),
            };
            assert_eq!(*read_message(write_message(&message)).unwrap(), message);
        }
    }
}
