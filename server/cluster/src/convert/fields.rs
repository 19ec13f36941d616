//! Fields that both forms of a message have.

use gimlet_core::id::{DeviceId, GroupId, MessageId, RoomId, UserId};
use gimlet_core::message::{MessageReceiver, MessageSender};
use gimlet_proto::node::{self, Plain, receiver, sender};

/// The field that could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing or invalid")]
pub(crate) struct DecodeError(pub(crate) &'static str);

pub(crate) fn user(raw: u64) -> Result<UserId, DecodeError> {
    UserId::new(raw).ok_or(DecodeError("user"))
}

pub(crate) fn users(raw: &[u64]) -> Result<Vec<UserId>, DecodeError> {
    raw.iter().map(|raw| user(*raw)).collect()
}

pub(crate) fn device(raw: u64) -> Result<DeviceId, DecodeError> {
    DeviceId::new(raw).ok_or(DecodeError("device"))
}

pub(super) fn message_id(raw: &[u8]) -> Result<MessageId, DecodeError> {
    let bytes = raw.try_into().map_err(|_| DecodeError("message id"))?;
    Ok(MessageId::from_bytes(bytes))
}

pub(super) fn sender_out(sender: MessageSender) -> node::Sender {
    let who = match sender {
        MessageSender::System => sender::Who::System(Plain {}),
        MessageSender::Business => sender::Who::Business(Plain {}),
        MessageSender::User { user, device } => sender::Who::User(node::UserSender {
            user: user.get(),
            device: device.map_or(0, DeviceId::get),
        }),
    };
    node::Sender { who: Some(who) }
}

pub(super) fn sender_in(sender: Option<node::Sender>) -> Result<MessageSender, DecodeError> {
    match sender.and_then(|it| it.who).ok_or(DecodeError("sender"))? {
        sender::Who::System(_) => Ok(MessageSender::System),
        sender::Who::Business(_) => Ok(MessageSender::Business),
        sender::Who::User(it) => Ok(MessageSender::User {
            user: user(it.user)?,
            device: (it.device != 0).then(|| device(it.device)).transpose()?,
        }),
    }
}

pub(super) fn receiver_out(receiver: MessageReceiver) -> node::Receiver {
    let whom = match receiver {
        MessageReceiver::User(user) => receiver::Whom::User(user.get()),
        MessageReceiver::Group(group) => receiver::Whom::Group(group.get()),
        MessageReceiver::Room(room) => receiver::Whom::Room(room.get()),
        MessageReceiver::Everyone => receiver::Whom::Everyone(Plain {}),
    };
    node::Receiver { whom: Some(whom) }
}

pub(super) fn receiver_in(
    receiver: Option<node::Receiver>,
) -> Result<MessageReceiver, DecodeError> {
    let undecodable = DecodeError("receiver");
    Ok(match receiver.and_then(|it| it.whom).ok_or(undecodable)? {
        receiver::Whom::User(raw) => MessageReceiver::User(user(raw)?),
        receiver::Whom::Group(raw) => MessageReceiver::Group(GroupId::new(raw).ok_or(undecodable)?),
        receiver::Whom::Room(raw) => MessageReceiver::Room(RoomId::new(raw).ok_or(undecodable)?),
        receiver::Whom::Everyone(_) => MessageReceiver::Everyone,
    })
}

pub(super) fn mentions_out(mentions: &[UserId]) -> Vec<u64> {
    mentions.iter().map(|user| user.get()).collect()
}
