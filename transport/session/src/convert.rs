//! Converts between the wire's vocabulary and core's: packet fields to ids, drafts and requests,
//! and messages to the form that clients see.
//!
//! Used by the sessions and by the gRPC API, which carries the same messages. This is the only
//! place of this crate that makes ids from wire integers. An invalid field is refused with its
//! name, its value and the valid range.

use bytes::Bytes;
use gimlet_core::error::RequestRefusal;
use gimlet_core::id::{DeviceId, GroupId, MAX_ID, RoomId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageDraft, MessageReceiver, MessageSender, UserProfile,
};
use gimlet_core::send_future::SendReceipt;
use gimlet_core::seq::Seq;
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::pb;

use crate::link::UrlSignIn;

/// The credentials of a sign-in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SignInCredentials {
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
    pub(crate) token: String,
    pub(crate) protocol: u32,
}

pub(crate) fn credentials(input: pb::SignInInput) -> Result<SignInCredentials, RequestRefusal> {
    Ok(SignInCredentials {
        user: id("user_id", input.user_id, UserId::from_wire)?,
        device: id("device_id", input.device_id, DeviceId::from_wire)?,
        token: input.token,
        protocol: input.protocol,
    })
}

/// Returns the request id and the credentials of a URL sign-in.
pub(crate) fn url_credentials(url: UrlSignIn) -> (i64, Result<SignInCredentials, RequestRefusal>) {
    let request_id = url.request_id.and_then(|id| id.parse().ok()).unwrap_or(0);
    let credentials = number("user_id", &url.user_id).and_then(|user_id| {
        credentials(pb::SignInInput {
            user_id,
            device_id: number("device_id", &url.device_id)?,
            token: url.token,
            protocol: 0,
        })
    });
    (request_id, credentials)
}

fn number(field: &str, text: &str) -> Result<i64, RequestRefusal> {
    text.parse().map_err(|_| {
        RequestRefusal::bad(format!(
            "{field} is not a number; it must be from 1 to {MAX_ID}"
        ))
    })
}

/// Converts a position in an inbox or a room.
///
/// # Errors
/// The number is negative.
pub fn seq(field: &str, raw: i64) -> Result<Seq, RequestRefusal> {
    Seq::from_wire(raw).ok_or_else(|| {
        RequestRefusal::bad(format!(
            "{field} is {raw}; it is 0 or the number of a message"
        ))
    })
}

/// Converts an ack's position; returns `None` for a negative number, which acks nothing.
pub(crate) fn ack(input: &pb::MessageAck) -> Option<Seq> {
    Seq::from_wire(input.device_ack)
}

/// Returns the room and the first seq of a subscription; no room ends the subscription.
pub(crate) fn subscription(
    input: &pb::SubscribeRoomInput,
) -> Result<(Option<RoomId>, Seq), RequestRefusal> {
    let room = match input.room_id {
        0 => None,
        raw => Some(id("room_id", raw, RoomId::from_wire)?),
    };
    Ok((room, seq("seq", input.seq)?))
}

/// Converts the request of a client to send a message.
///
/// # Errors
/// The receiver or a mention is not a valid id.
pub fn draft(request: pb::SendMessageReq) -> Result<MessageDraft, RequestRefusal> {
    let mentions = request.to_user_ids.iter();
    Ok(MessageDraft {
        receiver: receiver(request.receiver_type, request.receiver_id)?,
        mentions: mentions
            .map(|&raw| id("to_user_ids", raw, UserId::from_wire))
            .collect::<Result<_, _>>()?,
        kind: request.message_type,
        content: MessageContent::copied_from(&request.message_content),
        sent_at: UnixTimestamp(request.send_time),
        persist: request.is_persist,
        client_id: client_id(request.client_message_id),
        request_id: None,
    })
}

/// Returns the client's id of a send. Shrunk first: when the field is repeated on the wire, the
/// string keeps the capacity of the longest value.
fn client_id(mut id: String) -> Option<String> {
    id.shrink_to_fit();
    Some(id).filter(|id| !id.is_empty())
}

fn receiver(kind: i32, raw: i64) -> Result<MessageReceiver, RequestRefusal> {
    match pb::ReceiverType::try_from(kind) {
        Ok(pb::ReceiverType::RtUser) => {
            id("receiver_id", raw, UserId::from_wire).map(MessageReceiver::User)
        }
        Ok(pb::ReceiverType::RtGroup) => {
            id("receiver_id", raw, GroupId::from_wire).map(MessageReceiver::Group)
        }
        Ok(pb::ReceiverType::RtRoom) => Err(RequestRefusal::bad(
            "receiver_type is 3, a room: send to it with LogicExt.PushRoom",
        )),
        Ok(pb::ReceiverType::RtUnknown) | Err(_) => Err(RequestRefusal::bad(format!(
            "receiver_type is {kind}; it is 1 for a user or 2 for a group"
        ))),
    }
}

/// Converts an id of any kind.
///
/// # Errors
/// The number is not a valid id.
pub fn id<T>(
    field: &str,
    raw: i64,
    make: impl FnOnce(i64) -> Option<T>,
) -> Result<T, RequestRefusal> {
    make(raw).ok_or_else(|| {
        RequestRefusal::bad(format!("{field} is {raw}; an id is from 1 to {MAX_ID}"))
    })
}

/// Returns the answer to a send.
#[must_use]
pub fn sent(sent: &SendReceipt) -> pb::SendMessageResp {
    pb::SendMessageResp {
        seq: sent.seq.to_wire(),
        message_id: Bytes::copy_from_slice(sent.message.as_bytes()),
        repeated: sent.repeated,
    }
}

/// Returns the message as a client sees it, with seq 0: the caller sets the seq.
#[must_use]
pub fn message(message: &Message, profile: &UserProfile) -> pb::Message {
    // Without `..`: a field that is added to `Message` is written here, or left out here on
    // purpose.
    let Message {
        id,
        sender: from,
        receiver,
        mentions,
        kind,
        content,
        sent_at,
        unknown: _,
    } = message;
    let (receiver_type, receiver_id) = match *receiver {
        MessageReceiver::User(user) => (pb::ReceiverType::RtUser, user.to_wire()),
        MessageReceiver::Group(group) => (pb::ReceiverType::RtGroup, group.to_wire()),
        MessageReceiver::Room(room) => (pb::ReceiverType::RtRoom, room.to_wire()),
        MessageReceiver::Everyone => (pb::ReceiverType::RtRoom, 0),
    };
    pb::Message {
        sender: Some(sender(*from, profile)),
        receiver_type: receiver_type.into(),
        receiver_id,
        to_user_ids: mentions.iter().map(|user| user.to_wire()).collect(),
        message_type: *kind,
        message_content: content.0.clone(),
        seq: 0,
        send_time: sent_at.0,
        status: status(message).into(),
        message_id: Bytes::copy_from_slice(id.as_bytes()),
    }
}

/// Returns the status of a message; gim does not set it for rooms and broadcasts.
pub(crate) const fn status(message: &Message) -> pb::MessageStatus {
    match message.receiver {
        MessageReceiver::User(_) | MessageReceiver::Group(_) => pb::MessageStatus::MsNormal,
        MessageReceiver::Room(_) | MessageReceiver::Everyone => pb::MessageStatus::MsUnknown,
    }
}

fn sender(sender: MessageSender, profile: &UserProfile) -> pb::Sender {
    let (kind, user, device) = match sender {
        MessageSender::System => (pb::SenderType::StSystem, None, None),
        MessageSender::User { user, device } => (pb::SenderType::StUser, Some(user), device),
        MessageSender::Business => (pb::SenderType::StBusiness, None, None),
    };
    let UserProfile {
        nickname,
        avatar_url,
        extra,
    } = profile;
    pb::Sender {
        sender_type: kind.into(),
        sender_id: user.map_or(0, UserId::to_wire),
        device_id: device.map_or(0, DeviceId::to_wire),
        avatar_url: avatar_url.clone(),
        nickname: nickname.clone(),
        extra: extra.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(refused: Result<impl Sized, RequestRefusal>) -> String {
        let refusal = refused.err().expect("it is refused");
        assert_eq!(refusal.code(), 10001);
        refusal.to_string()
    }

    #[test]
    fn a_wrong_field_is_refused_by_name_with_its_value() {
        let request = pb::SendMessageReq {
            receiver_type: 1,
            receiver_id: -3,
            ..Default::default()
        };
        assert_eq!(
            text(draft(request.clone())),
            "receiver_id is -3; an id is from 1 to 9223372036854775807"
        );
        let request = pb::SendMessageReq {
            receiver_type: 9,
            ..request
        };
        assert!(text(draft(request)).starts_with("receiver_type is 9;"));
        let request = pb::SendMessageReq {
            receiver_type: 2,
            receiver_id: 9,
            to_user_ids: vec![2, 0],
            ..Default::default()
        };
        assert!(text(draft(request)).starts_with("to_user_ids is 0;"));
        assert!(text(seq("seq", -1)).starts_with("seq is -1;"));
        let input = pb::SubscribeRoomInput {
            room_id: -1,
            seq: 0,
        };
        assert!(text(subscription(&input)).starts_with("room_id is -1;"));
        assert!(text(credentials(pb::SignInInput::default())).starts_with("user_id is 0;"));
    }

    /// A draft must not keep the buffer that it came in alive: a frame is a slice of a larger read,
    /// and a sender can pad a request with unknown fields.
    #[test]
    fn d9_a_draft_keeps_nothing_of_its_buffer() {
        let request = pb::SendMessageReq {
            receiver_type: 1,
            receiver_id: 3,
            to_user_ids: vec![2; 3],
            message_content: "hi".into(),
            client_message_id: "x".repeat(60_000),
            ..Default::default()
        };
        let mut buffer = prost::Message::encode_to_vec(&request);
        // The same field again: the last one counts. Then an unknown field, 250 KB long.
        buffer.extend_from_slice(&[0xa2, 0x01, 1, b'y']);
        buffer.extend_from_slice(&[0xfa, 0x7f, 0x90, 0xa1, 0x0f]);
        buffer.resize(buffer.len() + 250_000, 0);
        let request: pb::SendMessageReq = prost::Message::decode(Bytes::from(buffer)).unwrap();
        let draft = draft(request).unwrap();
        let id = draft.client_id.unwrap();
        assert_eq!((id.as_str(), id.capacity()), ("y", 1));
        assert!(draft.mentions.capacity() <= 4, "{:?}", draft.mentions);
        let content = draft
            .content
            .0
            .try_into_mut()
            .expect("the content is not shared");
        assert_eq!((&content[..], content.capacity()), (&b"hi"[..], 2));
    }

    #[test]
    fn a_url_with_an_invalid_number_is_refused() {
        let url = UrlSignIn {
            user_id: "two".into(),
            device_id: "7".into(),
            token: "t".into(),
            request_id: Some("12".into()),
        };
        let (request_id, refused) = url_credentials(url);
        assert_eq!(request_id, 12);
        assert!(text(refused).starts_with("user_id is not a number;"));
    }
}
