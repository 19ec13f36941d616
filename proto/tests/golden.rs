//! Tests that the generated types read and write the golden bytes in `tests/vectors/wire.json`.
//!
//! Protects all clients of a deployed server: a changed number or type fails here first. The bytes
//! come from `golden.py`, which uses no protobuf library.

#![expect(clippy::unwrap_used, reason = "a failed test should panic")]

mod expected;

use bytes::Bytes;
use gimlet_proto::pb;
use prost::Message as _;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../tests/vectors/wire.json")).unwrap()
}

fn list(vectors: &Value, key: &str) -> Vec<Value> {
    vectors[key].as_array().unwrap().clone()
}

fn text<'a>(vector: &'a Value, key: &str) -> &'a str {
    vector[key].as_str().unwrap()
}

fn from_hex(hex: &str) -> Bytes {
    assert_eq!(hex.len() % 2, 0, "an odd number of hex digits");
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn to_frame(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    [&length.to_be_bytes(), body].concat()
}

fn payload(name: &str) -> Bytes {
    let vectors = list(&vectors(), "payloads");
    let vector = vectors.iter().find(|v| text(v, "name") == name).unwrap();
    from_hex(text(vector, "bytes"))
}

#[test]
fn every_packet_is_written_and_read_byte_for_byte() {
    let mut inputs = expected::inputs();
    let mut outputs = expected::outputs();
    for vector in list(&vectors(), "packets") {
        let name = text(&vector, "name");
        let frame = from_hex(text(&vector, "frame"));
        let body = frame.slice(2..);
        match text(&vector, "from") {
            "client" => {
                let packet = inputs.remove(name).expect(name);
                assert_eq!(pb::Input::decode(body).unwrap(), packet, "reading {name}");
                assert_eq!(to_frame(&packet.encode_to_vec()), frame, "writing {name}");
            }
            "server" => {
                let packet = outputs.remove(name).expect(name);
                assert_eq!(pb::Output::decode(body).unwrap(), packet, "reading {name}");
                assert_eq!(to_frame(&packet.encode_to_vec()), frame, "writing {name}");
            }
            other => panic!("{name} is from {other}, not from client or server"),
        }
    }
    assert!(inputs.is_empty(), "without a vector: {:?}", inputs.keys());
    assert!(outputs.is_empty(), "without a vector: {:?}", outputs.keys());
}

#[test]
fn numbers_that_are_not_packed_are_read_as_fim_writes_them() {
    let request = pb::SendMessageReq::decode(payload("send_unpacked")).unwrap();
    assert_eq!(request.to_user_ids, [2, 300, 5]);
    assert_eq!(request.receiver_type(), pb::ReceiverType::RtGroup);
    assert_eq!(request.message_content, expected::hi());
}

#[test]
fn unknown_fields_are_ignored() {
    let request = pb::SendMessageReq::decode(payload("send_with_unknown_fields")).unwrap();
    assert_eq!(request, expected::send(""));
}

#[test]
fn a_sender_of_generation_a_is_refused_and_never_misread() {
    pb::Sender::decode(payload("sender_generation_a")).unwrap_err();
}

#[test]
fn a_client_of_gim_reads_our_messages_and_skips_what_we_added() {
    /// `SendMessageResp` as defined by gim.
    #[derive(Clone, PartialEq, prost::Message)]
    struct GimResponse {
        #[prost(int64, tag = "1")]
        seq: i64,
    }
    let ours = pb::SendMessageResp {
        seq: 43,
        message_id: expected::message_id(),
        repeated: true,
    };
    let theirs = GimResponse::decode(ours.encode_to_vec().as_slice()).unwrap();
    assert_eq!(theirs.seq, 43);
}

#[test]
fn an_unknown_package_type_is_kept_as_its_number() {
    let packet = pb::Input::decode([0x08, 0x63].as_slice()).unwrap();
    assert_eq!(packet.r#type, 99);
    assert_eq!(packet.r#type(), pb::PackageType::PtUnknown);
}

#[test]
fn an_update_tells_an_absent_field_from_an_empty_one() {
    let absent = pb::UpdateUserReq::decode([0x0a, 0x01, b'A'].as_slice()).unwrap();
    assert_eq!(absent.nickname.as_deref(), Some("A"));
    assert_eq!(absent.extra, None);
    let empty = pb::UpdateUserReq::decode([0x22, 0x00].as_slice()).unwrap();
    assert_eq!(empty.extra.as_deref(), Some(""));
}
