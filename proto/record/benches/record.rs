//! A message to and from its stored record.
//!
//! `cargo bench -p gimlet-record --bench record`.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use bytes::Bytes;
use gimlet_bench::BenchRunner;
use gimlet_core::id::{DeviceId, GroupId, MessageId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields,
};
use gimlet_core::time::UnixTimestamp;

/// A text of a group, as most messages are.
fn message() -> Message {
    Message {
        id: MessageId::from_bytes(*b"ABCDEFGHIJKLMNOP"),
        sender: MessageSender::User {
            user: UserId::new(1_000_000).unwrap(),
            device: DeviceId::new(4_503_599_627_370_495),
        },
        receiver: MessageReceiver::Group(GroupId::new(70_000).unwrap()),
        mentions: Vec::new(),
        kind: 1,
        content: MessageContent(Bytes::from_static(&[7; 100])),
        sent_at: UnixTimestamp(1_652_227_200_000),
        unknown: UnknownFields::NONE,
    }
}

fn records(bench: &mut BenchRunner) {
    let message = message();
    let record = Bytes::from(gimlet_record::encode(&message));
    let mut group = bench.group("record", 1);
    group.case("encoded", || gimlet_record::encode(&message));
    group.case("decoded", || gimlet_record::decode_shared(&record));
}

fn main() {
    gimlet_bench::run(&[records]);
}
