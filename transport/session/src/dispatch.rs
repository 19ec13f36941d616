//! Reads a frame of protobuf as a packet, and a packet as a request. Field values are checked later,
//! by `convert`.

use bytes::Bytes;
use gimlet_core::error::RequestRefusal;
use gimlet_proto::pb::{self, PackageType};
use prost::Message;

/// One packet from a client.
#[derive(Debug)]
pub(crate) struct ClientPacket {
    /// The package type as received; the answer repeats it.
    pub(crate) kind: i32,
    /// The client's request id; the answer repeats it.
    pub(crate) request_id: i64,
    pub(crate) body: PacketBody,
}

/// The request in a packet.
#[derive(Debug)]
pub(crate) enum PacketBody {
    /// Protobuf, decoded when its turn comes.
    Encoded(Bytes),
    /// Decoded with the packet around it, as JSON is.
    Decoded(Result<ClientRequest, RequestRefusal>),
}

/// A decoded request.
#[derive(Debug)]
pub(crate) enum ClientRequest {
    SignIn(pb::SignInInput),
    Sync(pb::SyncInput),
    Heartbeat,
    Ack(pb::MessageAck),
    Subscribe(pb::SubscribeRoomInput),
    Send(pb::SendMessageReq),
}

impl ClientPacket {
    /// Decodes a frame.
    pub(crate) fn read(frame: Bytes) -> Result<Self, RequestRefusal> {
        let first = frame.first().copied();
        let input = pb::Input::decode(frame).map_err(|error| {
            RequestRefusal::bad(match first {
                Some(b'{' | b'[' | b'"') => "the frame is JSON text, and this connection speaks \
                    protobuf: offer the WebSocket subprotocol gimlet.json.v1, or send a pb.Input \
                    in a binary frame (docs/websocket-json.md, docs/client.md)"
                    .to_owned(),
                _ => format!("the frame is not a packet (pb.Input): {error}"),
            })
        })?;
        Ok(Self {
            kind: input.r#type,
            request_id: input.request_id,
            body: PacketBody::Encoded(input.data),
        })
    }

    /// Returns the package type, if it is one that clients send.
    pub(crate) fn package(&self) -> Option<PackageType> {
        PackageType::try_from(self.kind)
            .ok()
            .filter(|kind| !matches!(kind, PackageType::PtUnknown | PackageType::PtClose))
    }

    /// Decodes the data by the package type.
    pub(crate) fn into_request(self) -> Result<ClientRequest, RequestRefusal> {
        let package = self.package();
        let data = match self.body {
            PacketBody::Encoded(data) => data,
            PacketBody::Decoded(request) => return request,
        };
        match package {
            Some(PackageType::PtSignIn) => read(data, "SignInInput").map(ClientRequest::SignIn),
            Some(PackageType::PtSync) => read(data, "SyncInput").map(ClientRequest::Sync),
            Some(PackageType::PtHeartbeat) => Ok(ClientRequest::Heartbeat),
            Some(PackageType::PtMessage) => read(data, "MessageACK").map(ClientRequest::Ack),
            Some(PackageType::PtSubscribeRoom) => {
                read(data, "SubscribeRoomInput").map(ClientRequest::Subscribe)
            }
            Some(PackageType::PtSend) => read(data, "SendMessageReq").map(ClientRequest::Send),
            Some(PackageType::PtUnknown | PackageType::PtClose) | None => {
                Err(RequestRefusal::bad(format!(
                    "package type {} is unknown; clients send 1 (SIGN_IN), 2 (SYNC), 3 \
                     (HEARTBEAT), 4 (MESSAGE), 5 (SUBSCRIBE_ROOM) and 16 (SEND)",
                    self.kind
                )))
            }
        }
    }
}

fn read<M: Message + Default>(data: Bytes, name: &str) -> Result<M, RequestRefusal> {
    M::decode(data)
        .map_err(|error| RequestRefusal::bad(format!("data is not a pb.{name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_frame_is_refused_with_the_expected_format() {
        for json in [&br#"{"type":1,"request_id":1}"#[..], b"[1]", b"\"hello\""] {
            let refusal = ClientPacket::read(Bytes::from_static(json))
                .unwrap_err()
                .to_string();
            assert!(
                refusal.contains("protobuf") && refusal.contains("docs/client.md"),
                "{refusal}"
            );
        }
    }

    #[test]
    fn an_empty_frame_is_a_packet_of_type_0_and_no_request() {
        let packet = ClientPacket::read(Bytes::new()).unwrap();
        assert_eq!((packet.kind, packet.request_id), (0, 0));
        let refusal = packet.into_request().unwrap_err();
        assert_eq!(refusal.code(), 10001);
        assert!(refusal.to_string().starts_with("package type 0 is unknown"));
    }

    #[test]
    fn rubbish_is_refused_and_says_what_was_expected() {
        let refusal = ClientPacket::read(Bytes::from_static(b"\xff\xff\xff")).unwrap_err();
        assert!(refusal.to_string().contains("not a packet"), "{refusal}");
        let packet = ClientPacket {
            kind: 1,
            request_id: 9,
            body: PacketBody::Encoded(Bytes::from_static(b"\x0a\xff")),
        };
        let refusal = packet.into_request().unwrap_err();
        assert!(
            refusal
                .to_string()
                .starts_with("data is not a pb.SignInInput")
        );
    }
}
