//! Messages of gim from 2023 on: their content is a message of protobuf that names the sender and
//! the receiver, and events have other codes than before.
//!
//! Field numbers are those of `push.ext.proto` in gim `0f7f724` and of `message.ext.proto` in gim
//! `eb08bc7`.

use bytes::Bytes;
use gimlet_core::id::{DeviceId, GroupId, UserId};
use gimlet_core::message::{MessageReceiver, MessageSender};
use gimlet_proto::pb;
use prost::Message as _;

/// Codes of a message to a user, before and since 2025-12.
const USER_MESSAGE: [i64; 2] = [100, 1];
/// Codes of a message to a group, before and since 2025-12.
const GROUP_MESSAGE: [i64; 2] = [101, 2];
/// Codes of gim's events from 2023 on, and those of 2022, which gimlet uses. The data is the same.
const EVENTS: [(i64, i32); 5] = [(110, 100), (111, 101), (120, 110), (121, 120), (122, 121)];
/// Smallest code of an event that the application defines.
const MIN_APPLICATION_CODE: i64 = 1_000;

/// A message that was taken out of its content.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PushedMessage {
    pub(crate) sender: MessageSender,
    pub(crate) receiver: MessageReceiver,
    pub(crate) kind: i32,
    pub(crate) content: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SenderOf2023 {
    #[prost(uint64, tag = "2")]
    user_id: u64,
    #[prost(uint64, tag = "3")]
    device_id: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PushOf2023 {
    #[prost(message, optional, tag = "1")]
    sender: Option<SenderOf2023>,
    #[prost(uint64, tag = "2")]
    receiver_id: u64,
    #[prost(bytes = "bytes", tag = "3")]
    content: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SenderOf2025 {
    #[prost(uint64, tag = "1")]
    user_id: u64,
    #[prost(uint64, tag = "2")]
    device_id: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PushOf2025 {
    #[prost(message, optional, tag = "1")]
    sender: Option<SenderOf2025>,
    #[prost(uint64, tag = "2")]
    receiver_id: u64,
    #[prost(bytes = "bytes", tag = "3")]
    content: Bytes,
}

/// Reads a message of 2023 or 2024 in the inbox of `owner`.
pub(crate) fn read_2023(owner: UserId, code: i64, content: &[u8]) -> Result<PushedMessage, String> {
    read(owner, code, content, |content| {
        let push = PushOf2023::decode(content)?;
        let sender = push.sender.unwrap_or_default();
        Ok((
            sender.user_id,
            sender.device_id,
            push.receiver_id,
            push.content,
        ))
    })
}

/// Reads a message from 2025 on in the inbox of `owner`.
pub(crate) fn read_2025(owner: UserId, code: i64, content: &[u8]) -> Result<PushedMessage, String> {
    read(owner, code, content, |content| {
        let push = PushOf2025::decode(content)?;
        let sender = push.sender.unwrap_or_default();
        Ok((
            sender.user_id,
            sender.device_id,
            push.receiver_id,
            push.content,
        ))
    })
}

/// Sender, its device, receiver and content of a user's message.
type PushFields = (u64, u64, u64, Bytes);

fn read(
    owner: UserId,
    code: i64,
    content: &[u8],
    fields: impl FnOnce(&[u8]) -> Result<PushFields, prost::DecodeError>,
) -> Result<PushedMessage, String> {
    let is_user = USER_MESSAGE.contains(&code);
    if is_user || GROUP_MESSAGE.contains(&code) {
        let read = fields(content);
        let (sender, device, receiver, content) =
            read.map_err(|_| format!("its content is not a message of gim with the code {code}"))?;
        let user = UserId::new(sender).ok_or_else(|| "its content names no sender".to_owned())?;
        let receiver = if is_user {
            UserId::new(receiver).map(MessageReceiver::User)
        } else {
            GroupId::new(receiver).map(MessageReceiver::Group)
        };
        return Ok(PushedMessage {
            sender: MessageSender::User {
                user,
                device: DeviceId::new(device),
            },
            receiver: receiver.ok_or_else(|| "its content names no receiver".to_owned())?,
            // The application's own bytes, whatever they are.
            kind: pb::MessageType::MtCustom.into(),
            content,
        });
    }
    let (sender, code) = match EVENTS.iter().find(|(of_gim, _)| *of_gim == code) {
        Some((_, ours)) => (MessageSender::System, *ours),
        None if code >= MIN_APPLICATION_CODE => (
            MessageSender::Business,
            i32::try_from(code).map_err(|_| format!("its code {code} is too large"))?,
        ),
        None => return Err(format!("its code {code} is not one of gim's")),
    };
    let command = pb::Command {
        code,
        data: Bytes::copy_from_slice(content),
    };
    Ok(PushedMessage {
        sender,
        // The group of an event is not stored, so it is addressed to the owner of the inbox.
        receiver: MessageReceiver::User(owner),
        kind: pb::MessageType::MtCommand.into(),
        content: command.encode_to_vec().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: u64) -> UserId {
        UserId::new(n).unwrap()
    }

    fn of_2025(receiver_id: u64) -> Vec<u8> {
        let push = PushOf2025 {
            sender: Some(SenderOf2025 {
                user_id: 1,
                device_id: 7,
            }),
            receiver_id,
            content: Bytes::from_static(b"hi"),
        };
        push.encode_to_vec()
    }

    #[test]
    fn a_users_message_is_taken_out_of_its_content() {
        let want = |receiver| PushedMessage {
            sender: MessageSender::User {
                user: user(1),
                device: DeviceId::new(7),
            },
            receiver,
            kind: 8,
            content: Bytes::from_static(b"hi"),
        };
        for code in USER_MESSAGE {
            let read = read_2025(user(2), code, &of_2025(2)).unwrap();
            assert_eq!(read, want(MessageReceiver::User(user(2))));
        }
        for code in GROUP_MESSAGE {
            let read = read_2025(user(2), code, &of_2025(5)).unwrap();
            assert_eq!(read, want(MessageReceiver::Group(GroupId::new(5).unwrap())));
        }
        let push = PushOf2023 {
            sender: Some(SenderOf2023 {
                user_id: 1,
                device_id: 7,
            }),
            receiver_id: 2,
            content: Bytes::from_static(b"hi"),
        };
        let read = read_2023(user(2), 100, &push.encode_to_vec()).unwrap();
        assert_eq!(read, want(MessageReceiver::User(user(2))));
    }

    #[test]
    fn events_get_the_codes_of_2022() {
        let read = read_2025(user(2), 121, b"data").unwrap();
        let command = pb::Command::decode(read.content).unwrap();
        assert_eq!((command.code, &command.data[..]), (120, &b"data"[..]));
        assert_eq!((read.kind, read.sender), (7, MessageSender::System));
        let read = read_2025(user(2), 1_500, b"data").unwrap();
        assert_eq!(read.sender, MessageSender::Business);
    }

    #[test]
    fn other_content_is_refused() {
        // In the spring of 2025 field 2 was the content, which is not a number.
        let spring = [0x0a, 0x02, 0x08, 0x01, 0x12, 0x02, b'h', b'i'];
        for (code, content) in [
            (100, &spring[..]),
            (100, &[][..]),
            (100, &of_2025(0)[..]),
            (3, &of_2025(2)[..]),
            (999, &of_2025(2)[..]),
        ] {
            assert!(read_2025(user(2), code, content).is_err(), "{code}");
        }
    }
}
