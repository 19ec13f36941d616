//! Encodes packets of the client: whole frames appended to a connection's buffer. Serves
//! [`super::ClientNet`].
//!
//! A frame's length stands before its body, so all lengths are computed before anything is written.

use gimlet_proto::pb::PackageType;

use super::{WireFraming, json};

/// Returns the number of bytes of a varint.
const fn width(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends a varint.
#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Packet body whose length is known before it is written.
pub trait PacketBody {
    /// Returns the length in bytes.
    fn length(&self) -> usize;
    /// Appends the encoded body.
    fn write(&self, out: &mut Vec<u8>);
}

/// Body of given bytes.
#[derive(Clone, Copy, Debug)]
pub struct RawBody<'a>(pub &'a [u8]);

impl PacketBody for RawBody<'_> {
    fn length(&self) -> usize {
        self.0.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}

/// `pb.MessageACK`: received up to `seq`.
#[derive(Clone, Copy, Debug)]
pub struct AckBody {
    /// Seq of the message.
    pub seq: i64,
    /// Time of receipt, milliseconds since 1970 UTC.
    pub at: i64,
}

#[expect(clippy::cast_sign_loss, reason = "protobuf's own writing")]
impl PacketBody for AckBody {
    fn length(&self) -> usize {
        2 + width(self.seq as u64) + width(self.at as u64)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(2 << 3);
        varint(out, self.seq as u64);
        out.push(3 << 3);
        varint(out, self.at as u64);
    }
}

/// `pb.SendMessageReq`, persistent, of type `MT_TEXT`.
#[derive(Clone, Copy, Debug)]
pub struct SendBody<'a> {
    /// Receiver type, a `ReceiverType`.
    pub receiver_type: u8,
    /// Id of the user or group.
    pub receiver: i64,
    /// Time of the send, milliseconds since 1970 UTC.
    pub at: i64,
    /// Content of the message.
    pub content: &'a [u8],
    /// Client's id of the message, at most 64 bytes; empty if it has no id.
    pub key: &'a [u8],
}

#[expect(clippy::cast_sign_loss, reason = "protobuf's own writing")]
impl PacketBody for SendBody<'_> {
    fn length(&self) -> usize {
        let content = 1 + width(self.content.len() as u64) + self.content.len();
        let key = match self.key.len() {
            0 => 0,
            n => 2 + width(n as u64) + n,
        };
        2 + 1 + width(self.receiver as u64) + 2 + content + 1 + width(self.at as u64) + 2 + key
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[1 << 3, self.receiver_type, 2 << 3]);
        varint(out, self.receiver as u64);
        out.extend_from_slice(&[4 << 3, 1, 5 << 3 | 2]);
        varint(out, self.content.len() as u64);
        out.extend_from_slice(self.content);
        out.push(6 << 3);
        varint(out, self.at as u64);
        out.extend_from_slice(&[7 << 3, 1]);
        if !self.key.is_empty() {
            varint(out, 20 << 3 | 2);
            varint(out, self.key.len() as u64);
            out.extend_from_slice(self.key);
        }
    }
}

/// Appends one whole frame: the framing's head, `pb.Input`, the body.
#[expect(clippy::cast_sign_loss, reason = "protobuf's own writing")]
pub(super) fn frame(
    out: &mut Vec<u8>,
    framing: WireFraming,
    kind: PackageType,
    request_id: i64,
    body: &impl PacketBody,
) {
    if framing == WireFraming::Json {
        let mut data = Vec::with_capacity(body.length());
        body.write(&mut data);
        let text = json::packet(kind, request_id, &data);
        framing.head(out, text.len());
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let (kind, request, data) = (kind as u64, request_id as u64, body.length());
    let mut length = 1 + width(kind);
    if request != 0 {
        length += 1 + width(request);
    }
    if data != 0 {
        length += 1 + width(data as u64) + data;
    }
    framing.head(out, length);
    out.push(1 << 3);
    varint(out, kind);
    if request != 0 {
        out.push(2 << 3);
        varint(out, request);
    }
    if data != 0 {
        out.push(3 << 3 | 2);
        varint(out, data as u64);
        body.write(out);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use gimlet_proto::pb;
    use prost::Message as _;

    use super::*;

    #[test]
    fn writes_what_the_generated_types_read() {
        let send = SendBody {
            receiver_type: 1,
            receiver: i64::MAX,
            at: 1_700_000_000_000,
            content: &[9; 300],
            key: b"key",
        };
        let mut out = Vec::new();
        frame(&mut out, WireFraming::Tcp, PackageType::PtSend, -5, &send);
        let length = usize::from(u16::from_be_bytes([out[0], out[1]]));
        assert_eq!(out.len(), 2 + length);
        let input = pb::Input::decode(Bytes::from(out.split_off(2))).unwrap();
        assert_eq!(input.r#type, 16);
        assert_eq!(input.request_id, -5);
        let send = pb::SendMessageReq::decode(input.data).unwrap();
        assert_eq!(send.receiver_id, i64::MAX);
        assert_eq!(send.message_content, vec![9; 300]);
        assert_eq!(send.client_message_id, "key");
        assert!(send.is_persist);

        let mut out = Vec::new();
        let ack = AckBody { seq: 300, at: 0 };
        frame(&mut out, WireFraming::Tcp, PackageType::PtMessage, 0, &ack);
        let input = pb::Input::decode(Bytes::from(out.split_off(2))).unwrap();
        let ack = pb::MessageAck::decode(input.data).unwrap();
        assert_eq!((ack.device_ack, ack.receive_time), (300, 0));

        let mut out = Vec::new();
        frame(
            &mut out,
            WireFraming::Tcp,
            PackageType::PtHeartbeat,
            1,
            &RawBody(&[]),
        );
        assert_eq!(out, [0, 4, 8, 3, 16, 1]);
    }
}
