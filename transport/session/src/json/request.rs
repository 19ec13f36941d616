//! JSON texts into requests. A wrong field is refused with its name, its value and what would be right.

use gimlet_core::error::RequestRefusal;
use gimlet_core::id::UserId;
use gimlet_json::{BearerToken, JsonObject, MAX_SAFE_NUMBER, RequestFields, WrongValue, parse};
use gimlet_proto::pb::{self, PackageType};
use serde_json::Value;

use super::packets::{
    AckPacket, HeartbeatPacket, REQUEST_WORDS, SendPacket, SignInPacket, SubscribeRoomPacket,
    SyncPacket,
};
use crate::dispatch::{ClientPacket, ClientRequest, PacketBody};

/// The refusal of a frame that is not a packet, with its request id, or 0 if none could be read.
type UnreadableText = (RequestRefusal, i64);

/// Version of the protocol extension: clients of JSON understand epochs and closes.
const PROTOCOL: u32 = 1;

/// Reads a frame as a packet, and its fields as a request.
pub(crate) fn read(frame: &[u8]) -> Result<ClientPacket, UnreadableText> {
    let value = parse(frame).map_err(|error| {
        let text = format!("the frame is not a JSON text: {error}");
        (RequestRefusal::bad(text), stray_request_id(frame))
    })?;
    let Value::Object(mut fields) = value else {
        let wrong = WrongValue::value(&value, "an object such as {\"type\": \"heartbeat\"}");
        return Err((refusal(wrong), 0));
    };
    let request_id = request_id(fields.remove("request_id"))
        .map_err(|wrong| (refusal(wrong.inside("request_id")), 0))?;
    let word = fields.remove("type");
    let known = word.as_ref().and_then(Value::as_str).and_then(|word| {
        let mut known = REQUEST_WORDS.iter();
        known.find(|(name, _)| *name == word)
    });
    let (kind, request) = match known {
        Some((_, kind)) => (*kind, request(*kind, Value::Object(fields))),
        None => (PackageType::PtUnknown, Err(unknown_type(word.as_ref()))),
    };
    // The session answers no ack, because clients of gim crash on it. This client gets to know what was
    // wrong.
    let kind = match kind {
        PackageType::PtMessage if request.is_err() => PackageType::PtUnknown,
        kind => kind,
    };
    Ok(ClientPacket {
        kind: kind.into(),
        request_id,
        body: PacketBody::Decoded(request),
    })
}

fn unknown_type(word: Option<&Value>) -> RequestRefusal {
    let words: Vec<_> = REQUEST_WORDS.iter().map(|(word, _)| *word).collect();
    let expected = format!("one of {}", words.join(", "));
    let wrong = match word {
        Some(word) => WrongValue::value(word, &expected),
        None => WrongValue::missing(&expected),
    };
    refusal(wrong.inside("type"))
}

fn refusal(wrong: WrongValue) -> RequestRefusal {
    RequestRefusal::bad(wrong.describe("the packet").1)
}

/// Reads a request id, which answers repeat: a number, so that JavaScript finds it again unchanged.
fn request_id(value: Option<Value>) -> Result<i64, WrongValue> {
    let Some(value) = value else { return Ok(0) };
    let number = value
        .as_u64()
        .filter(|it| (1..=MAX_SAFE_NUMBER).contains(it));
    let number = number.and_then(|number| i64::try_from(number).ok());
    number.ok_or_else(|| WrongValue::value(&value, "a number from 1 to 9007199254740991"))
}

/// Finds the request id of a text that is JSON but not an acceptable packet, for example with a field
/// given twice.
fn stray_request_id(frame: &[u8]) -> i64 {
    let value = serde_json::from_slice::<Value>(frame).ok();
    let id = value.and_then(|mut value| value.get_mut("request_id").map(Value::take));
    request_id(id).unwrap_or(0)
}

fn request(kind: PackageType, fields: Value) -> Result<ClientRequest, RequestRefusal> {
    let read = match kind {
        PackageType::PtSignIn => fields_of(fields).and_then(sign_in),
        PackageType::PtSync => fields_of(fields).map(|SyncPacket { after }| {
            let seq = after.unwrap_or_default().to_wire();
            ClientRequest::Sync(pb::SyncInput { seq })
        }),
        PackageType::PtHeartbeat => {
            fields_of(fields).map(|HeartbeatPacket {}| ClientRequest::Heartbeat)
        }
        PackageType::PtMessage => fields_of(fields).map(|AckPacket { seq }| {
            ClientRequest::Ack(pb::MessageAck {
                device_ack: seq.to_wire(),
                receive_time: 0,
            })
        }),
        PackageType::PtSubscribeRoom => fields_of(fields).map(|input: SubscribeRoomPacket| {
            let SubscribeRoomPacket { room_id, from } = input;
            ClientRequest::Subscribe(pb::SubscribeRoomInput {
                room_id: room_id.map_or(0, gimlet_core::id::RoomId::to_wire),
                seq: from.unwrap_or_default().to_wire(),
            })
        }),
        PackageType::PtSend => fields_of(fields).and_then(send),
        PackageType::PtUnknown | PackageType::PtClose => return Err(unknown_type(None)),
    };
    read.map_err(refusal)
}

fn fields_of<T: JsonObject>(fields: Value) -> Result<T, WrongValue> {
    RequestFields::of_body(fields)?.read()
}

fn sign_in(input: SignInPacket) -> Result<ClientRequest, WrongValue> {
    let SignInPacket {
        token,
        user_id,
        device_id,
    } = input;
    let (user, device, token) = match (user_id, device_id) {
        (Some(user), Some(device)) => (user, device, token),
        (None, None) => {
            // The token itself is never repeated in an error.
            let named = BearerToken::parse(&token).and_then(|it| it.of_device());
            let named = named.ok_or_else(|| {
                let expected = "USER.DEVICE.TOKEN, as the HTTP API returns it, a JWT with the claim \
                    device, or a token beside user_id and device_id";
                WrongValue::new(format!("names no user and no device; it must be {expected}"))
                    .inside("token")
            })?;
            (named.user, named.device, named.token)
        }
        (Some(_), None) => return Err(missing("device_id", "user_id")),
        (None, Some(_)) => return Err(missing("user_id", "device_id")),
    };
    Ok(ClientRequest::SignIn(pb::SignInInput {
        device_id: device.to_wire(),
        user_id: user.to_wire(),
        token,
        protocol: PROTOCOL,
    }))
}

fn missing(field: &str, beside: &str) -> WrongValue {
    let text =
        format!("is missing beside {beside}; set both of them, or none and USER.DEVICE.TOKEN");
    WrongValue::new(text).inside(field)
}

fn send(input: SendPacket) -> Result<ClientRequest, WrongValue> {
    let SendPacket {
        to_user,
        to_group,
        content,
        client_message_id,
        mentions,
        store,
        sent_at_ms,
    } = input;
    let (receiver_type, receiver_id) = match (to_user, to_group) {
        (Some(user), None) => (pb::ReceiverType::RtUser, user.to_wire()),
        (None, Some(group)) => (pb::ReceiverType::RtGroup, group.to_wire()),
        (None, None) => {
            let text = "and to_group are missing; set one of them to the id of the receiver";
            return Err(WrongValue::new(text).inside("to_user"));
        }
        (Some(_), Some(_)) => {
            let text = "and to_group are both set; a message has one receiver";
            return Err(WrongValue::new(text).inside("to_user"));
        }
    };
    if client_message_id.as_ref().is_some_and(String::is_empty) {
        let text = "is empty; it must be 1 to 64 bytes, for example a UUID";
        return Err(WrongValue::new(text).inside("client_message_id"));
    }
    let (message_type, content) = content.encode().map_err(|wrong| wrong.inside("content"))?;
    let mentions = mentions.unwrap_or_default();
    Ok(ClientRequest::Send(pb::SendMessageReq {
        receiver_type: receiver_type.into(),
        receiver_id,
        to_user_ids: mentions.into_iter().map(UserId::to_wire).collect(),
        message_type,
        message_content: content.0,
        send_time: sent_at_ms.unwrap_or_default(),
        is_persist: store.unwrap_or(true),
        client_message_id: client_message_id.unwrap_or_default(),
    }))
}
