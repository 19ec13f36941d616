//! Event streams as a wire: a request that opens a stream, and its events as packets. Packets that a
//! stream cannot send are answered here, so that the scenarios need not know.

use gimlet_proto::pb::{self, PackageType};
use prost::Message as _;
use serde_json::Value;

use super::json;

/// The account of a stream, and the packet that its first event answers.
#[derive(Clone, Debug)]
pub(super) struct FollowedInbox {
    user: i64,
    bearer: String,
    asked: PackageType,
    request_id: i64,
}

impl FollowedInbox {
    /// Follows the inbox of an account; `data` is its `SIGN_IN`.
    pub(super) fn of(request_id: i64, data: &[u8]) -> Self {
        let it = pb::SignInInput::decode(data).unwrap_or_default();
        Self {
            user: it.user_id,
            bearer: format!("{}.{}.{}", it.user_id, it.device_id, it.token),
            asked: PackageType::PtSignIn,
            request_id,
        }
    }

    /// Follows a room as well, on a new stream; returns the room.
    pub(super) fn subscribe(&mut self, request_id: i64, data: &[u8]) -> i64 {
        self.asked = PackageType::PtSubscribeRoom;
        self.request_id = request_id;
        pb::SubscribeRoomInput::decode(data)
            .unwrap_or_default()
            .room_id
    }

    /// Returns the request for a stream from the head of the inbox. HTTP/1.0, so that the events are
    /// not cut into chunks.
    pub(super) fn request(&self, room: Option<i64>) -> String {
        let room = room.map_or(String::new(), |room| format!("&room={room}"));
        format!(
            "GET /v1/inbox/events?after=head{room} HTTP/1.0\r\nHost: localhost\r\n\
             Authorization: Bearer {}\r\n\r\n",
            self.bearer
        )
    }

    /// Reads an event as a packet, in protobuf; an empty one is to be ignored, and `None` is an error.
    pub(super) fn packet(&self, event: &[u8]) -> Option<Vec<u8>> {
        let event = std::str::from_utf8(event).ok()?;
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        let data = field("data: ")?;
        match field("event: ") {
            None | Some("room" | "live") => {
                let message = json::pushed(data)?;
                let own = message.sender.as_ref().map(|it| it.sender_id) == Some(self.user);
                // A stream has the account's own sends, which no socket gets.
                if own && message.receiver_type() != pb::ReceiverType::RtRoom {
                    return Some(Vec::new());
                }
                let push = pb::MessageSend {
                    message: Some(message),
                };
                Some(json::packet_of(PackageType::PtMessage, 0, &push).encode_to_vec())
            }
            Some("start") => {
                let start: Value = serde_json::from_str(data).ok()?;
                let number = |name: &str| start.get(name)?.as_str()?.parse::<u64>().ok();
                let answer = pb::SignInOutput {
                    epoch: number("epoch")?,
                    head: number("head")?.cast_signed(),
                };
                Some(json::packet_of(self.asked, self.request_id, &answer).encode_to_vec())
            }
            Some(_) => {
                let close: Value = serde_json::from_str(data).ok()?;
                let close = pb::CloseOutput {
                    code: close.get("code")?.as_i64()?.try_into().ok()?,
                    message: close.get("reason")?.as_str()?.to_owned(),
                    ..pb::CloseOutput::default()
                };
                Some(json::packet_of(PackageType::PtClose, 0, &close).encode_to_vec())
            }
        }
    }
}

/// Returns the answer to a packet that a stream does not send; `None` if it has no answer.
pub(super) fn local_answer(kind: PackageType, request_id: i64) -> Option<Vec<u8>> {
    let answer = match kind {
        PackageType::PtSync => json::packet_of(kind, request_id, &pb::SyncOutput::default()),
        PackageType::PtHeartbeat => {
            json::packet_of(kind, request_id, &pb::HeartbeatOutput::default())
        }
        PackageType::PtSend => pb::Output {
            r#type: kind.into(),
            request_id,
            code: 12,
            message: "an event stream cannot send".into(),
            ..pb::Output::default()
        },
        _ => return None,
    };
    Some(answer.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_packets() {
        let sign_in = pb::SignInInput {
            user_id: 7,
            device_id: 3,
            token: "t".into(),
            protocol: 1,
        };
        let followed = FollowedInbox::of(1, &sign_in.encode_to_vec());
        let request = followed.request(Some(5));
        assert!(request.contains("after=head&room=5 HTTP/1.0"), "{request}");
        assert!(request.contains("Bearer 7.3.t"), "{request}");
        let start = br#"id: 0\nevent: start\ndata: {"epoch":"9","head":"4"}"#;
        let start = String::from_utf8_lossy(start).replace("\\n", "\n");
        let packet = followed.packet(start.as_bytes()).unwrap();
        let output = pb::Output::decode(&*packet).unwrap();
        assert_eq!((output.r#type, output.request_id), (1, 1));
        let message = |sender: i64| {
            format!(
                "id: 5\ndata: {{\"seq\":\"5\",\"message\":{{\"content\":{{\"data\":\"AA==\",\
                 \"kind\":1}},\"receiver\":{{\"type\":\"user\",\"user_id\":\"7\"}},\"sender\":\
                 {{\"type\":\"user\",\"user_id\":\"{sender}\"}}}}}}"
            )
        };
        let packet = followed.packet(message(2).as_bytes()).unwrap();
        assert_eq!(pb::Output::decode(&*packet).unwrap().r#type, 4);
        let own = followed.packet(message(7).as_bytes());
        assert_eq!(own, Some(Vec::new()), "an own send is ignored");
        assert_eq!(followed.packet(b"retry: 1"), None);
    }
}
