//! Packet decoding without copies, for the client's hot path. Serves [`super::ClientNet`] and the
//! scenarios; knows gim's wire and nothing of sockets.
//!
//! The load generator shares the machine with the server it measures, so its own cost per message
//! counts. Reading borrows from the read buffer and looks only at the fields it needs; everything
//! that is not on the hot path goes through `gimlet-proto`.

use gimlet_judge::PushedMessage;
use gimlet_proto::pb::{self, PackageType};
use prost::Message as _;

/// One packet from the server (`pb.Output`), borrowed from the read buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerPacket<'a> {
    /// Type of the packet, a `PackageType`.
    pub kind: i32,
    /// Id of the request that it answers; 0 in most pushes.
    pub request_id: i64,
    /// 0, or the code of the refusal.
    pub code: i32,
    /// Text of the refusal.
    pub message: &'a [u8],
    /// Data of the packet, depending on its type.
    pub data: &'a [u8],
}

/// Value of one field of a message.
enum FieldValue<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Iterator over the fields of an encoded message; ends at the first field that cannot be read.
struct FieldReader<'a> {
    rest: &'a [u8],
    whole: bool,
}

impl<'a> FieldReader<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            whole: true,
        }
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for (i, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(i + 1..)?;
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u64, FieldValue<'a>)> {
        let key = self.number()?;
        let value = match key & 7 {
            0 => FieldValue::Number(self.number()?),
            1 => FieldValue::Bytes(self.take(8)?),
            2 => {
                let length = self.number()?;
                FieldValue::Bytes(self.take(length)?)
            }
            5 => FieldValue::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

impl<'a> Iterator for FieldReader<'a> {
    type Item = (u64, FieldValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.whole = false;
            self.rest = &[];
        }
        field
    }
}

/// Returns the signed number of a varint in two's complement.
#[expect(clippy::cast_possible_wrap, reason = "protobuf's own reading")]
const fn signed(value: u64) -> i64 {
    value as i64
}

/// Returns an enum or int32, which protobuf cuts to 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "protobuf's own reading")]
const fn small(value: u64) -> i32 {
    signed(value) as i32
}

impl<'a> ServerPacket<'a> {
    /// Reads a frame's body; returns `None` if it is not a packet.
    #[must_use]
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let mut packet = Self::default();
        let mut fields = FieldReader::of(body);
        for field in fields.by_ref() {
            match field {
                (1, FieldValue::Number(n)) => packet.kind = small(n),
                (2, FieldValue::Number(n)) => packet.request_id = signed(n),
                (3, FieldValue::Number(n)) => packet.code = small(n),
                (4, FieldValue::Bytes(b)) => packet.message = b,
                (5, FieldValue::Bytes(b)) => packet.data = b,
                _ => {}
            }
        }
        fields.whole.then_some(packet)
    }

    /// Returns true if the packet has this type.
    #[must_use]
    pub fn is(&self, kind: PackageType) -> bool {
        self.kind == kind as i32
    }

    /// Formats a refusal for people, or the server's reason for closing the connection.
    #[must_use]
    pub fn refusal(&self) -> String {
        if self.is(PackageType::PtClose) {
            let close = pb::CloseOutput::decode(self.data).unwrap_or_default();
            return format!("{} {}", close.code, close.message);
        }
        format!("{} {}", self.code, String::from_utf8_lossy(self.message))
    }
}

/// Reads the data of a push (`pb.MessageSend`); returns `None` if it is not a push.
#[must_use]
pub fn read_push(data: &[u8]) -> Option<PushedMessage<'_>> {
    let mut fields = FieldReader::of(data);
    let message = fields.find_map(|field| match field {
        (1, FieldValue::Bytes(bytes)) => Some(bytes),
        _ => None,
    })?;
    read_message(message)
}

/// Reads a `pb.Message`, the element of a SYNC page.
fn read_message(message: &[u8]) -> Option<PushedMessage<'_>> {
    let mut pushed = PushedMessage::default();
    let mut fields = FieldReader::of(message);
    for field in fields.by_ref() {
        match field {
            (1, FieldValue::Bytes(sender)) => pushed.sender = sender_id(sender)?,
            (2, FieldValue::Number(n)) => pushed.receiver_type = small(n),
            (3, FieldValue::Number(n)) => pushed.receiver = signed(n),
            (6, FieldValue::Bytes(b)) => pushed.content = b,
            (7, FieldValue::Number(n)) => pushed.seq = signed(n),
            _ => {}
        }
    }
    fields.whole.then_some(pushed)
}

fn sender_id(sender: &[u8]) -> Option<i64> {
    let mut id = 0;
    let mut fields = FieldReader::of(sender);
    for field in fields.by_ref() {
        if let (2, FieldValue::Number(n)) = field {
            id = signed(n);
        }
    }
    fields.whole.then_some(id)
}

/// Reads the messages of a SYNC page (`pb.SyncOutput`), and whether there are more. Returns `None`
/// if the data is not a page.
#[must_use]
pub fn page(data: &[u8]) -> Option<(Vec<PushedMessage<'_>>, bool)> {
    let (mut messages, mut more) = (Vec::new(), false);
    let mut fields = FieldReader::of(data);
    for field in fields.by_ref() {
        match field {
            (1, FieldValue::Bytes(message)) => messages.push(read_message(message)?),
            (2, FieldValue::Number(n)) => more = n != 0,
            _ => {}
        }
    }
    fields.whole.then_some((messages, more))
}

/// Reads the seq in the answer to a send (`pb.SendMessageResp`); 0 if it has no seq.
#[must_use]
pub fn answered_seq(data: &[u8]) -> i64 {
    FieldReader::of(data)
        .find_map(|field| match field {
            (1, FieldValue::Number(n)) => Some(signed(n)),
            _ => None,
        })
        .unwrap_or(0)
}

/// Reads the epoch and the head of the inbox in the answer to a `SIGN_IN` or `HEARTBEAT` of a
/// client that gave its protocol.
#[must_use]
pub fn epoch_and_head(data: &[u8]) -> (u64, i64) {
    let mut answer = (0, 0);
    for field in FieldReader::of(data) {
        match field {
            (1, FieldValue::Number(n)) => answer.0 = n,
            (2, FieldValue::Number(n)) => answer.1 = signed(n),
            _ => {}
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_generated_types_write() {
        let message = pb::Message {
            sender: Some(pb::Sender {
                sender_type: 2,
                sender_id: 77,
                nickname: "n".to_owned(),
                ..pb::Sender::default()
            }),
            receiver_type: 1,
            receiver_id: i64::MAX,
            to_user_ids: vec![1, 2, 300],
            message_type: 1,
            message_content: "body".into(),
            seq: 12_345,
            send_time: 1,
            status: 1,
            message_id: vec![7; 16].into(),
        };
        let data = pb::MessageSend {
            message: Some(message.clone()),
        };
        let output = pb::Output {
            r#type: 4,
            request_id: -3,
            code: 10_001,
            message: "why".to_owned(),
            data: data.encode_to_vec().into(),
            retry_after_ms: 7,
        };
        let bytes = output.encode_to_vec();
        let packet = ServerPacket::read(&bytes).unwrap();
        assert!(packet.is(PackageType::PtMessage));
        assert_eq!(packet.request_id, -3);
        assert_eq!(packet.refusal(), "10001 why");
        let expected = PushedMessage {
            sender: 77,
            receiver_type: 1,
            receiver: i64::MAX,
            seq: 12_345,
            content: b"body",
        };
        assert_eq!(read_push(packet.data), Some(expected));

        let output = pb::SyncOutput {
            messages: vec![message.clone(), message],
            has_more: true,
            head: 9,
            ..pb::SyncOutput::default()
        };
        let bytes = output.encode_to_vec();
        assert_eq!(page(&bytes), Some((vec![expected; 2], true)));
    }

    #[test]
    fn half_a_packet_is_none() {
        let output = pb::Output {
            r#type: 4,
            data: vec![1; 100].into(),
            ..pb::Output::default()
        };
        let bytes = output.encode_to_vec();
        for cut in 3..bytes.len() {
            assert_eq!(ServerPacket::read(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(ServerPacket::read(&[0xff; 20]), None);
    }
}
