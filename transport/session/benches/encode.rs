//! Measures decoding frames into packets and encoding messages into frames.
//!
//! Run with `cargo bench -p gimlet-transport --bench encode`. The measured modules are compiled
//! into this program from their source files, because the crate does not export them.

#[path = "../src/body.rs"]
mod body;
#[path = "../src/convert.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the part that is measured is used"
)]
mod convert;
#[path = "../src/dispatch.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the part that is measured is used"
)]
mod dispatch;
#[path = "../src/encode.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the part that is measured is used"
)]
mod encode;
#[path = "../src/page.rs"]
#[expect(dead_code, reason = "the part that is measured is used")]
mod page;
#[path = "../src/protobuf.rs"]
mod protobuf;

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use gimlet_bench::BenchRunner;
use gimlet_core::envelope::Envelope;
use gimlet_core::gateway::SyncPage;
use gimlet_core::id::{DeviceId, Epoch, MessageId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields, UserProfile,
};
use gimlet_core::seq::Seq;
use gimlet_core::store::Head;
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::pb::{self, PackageType};
use gimlet_transport::link;
use prost::Message as _;

use dispatch::ClientPacket;

/// Entries of a page.
const PAGE_ENTRIES: u64 = 50;

fn user(n: u64) -> UserId {
    UserId::new(n).expect("from one up")
}

fn envelope() -> Envelope {
    let message = Message {
        id: MessageId::from_bytes([7; 16]),
        sender: MessageSender::User {
            user: user(2),
            device: DeviceId::new(7),
        },
        receiver: MessageReceiver::User(user(3)),
        mentions: Vec::new(),
        kind: 1,
        content: MessageContent(vec![1; 100].into()),
        sent_at: UnixTimestamp(1_652_227_200_000),
        unknown: UnknownFields::NONE,
    };
    let profile = UserProfile {
        nickname: "Alice".into(),
        avatar_url: "http://a/1.png".into(),
        extra: String::new(),
    };
    Envelope::new(Arc::new(message), Arc::new(profile), 0)
}

fn packet(kind: PackageType, data: &impl prost::Message) -> Bytes {
    let input = pb::Input {
        r#type: kind.into(),
        request_id: 1,
        data: data.encode_to_vec().into(),
    };
    input.encode_to_vec().into()
}

fn packets(bench: &mut BenchRunner) {
    let send = pb::SendMessageReq {
        receiver_type: pb::ReceiverType::RtUser.into(),
        receiver_id: 3,
        message_type: pb::MessageType::MtText.into(),
        message_content: vec![1; 100].into(),
        send_time: 1_652_227_200_000,
        is_persist: true,
        client_message_id: "a-client-message-id".into(),
        ..pb::SendMessageReq::default()
    };
    let send = packet(PackageType::PtSend, &send);
    let ack = pb::MessageAck {
        device_ack: 1_000,
        receive_time: 1_652_227_200_000,
    };
    let ack = packet(PackageType::PtMessage, &ack);
    let mut group = bench.group("packet", 1);
    for (name, frame) in [("send", send), ("ack", ack)] {
        group.case(name, || {
            ClientPacket::read(black_box(frame.clone())).map(ClientPacket::into_request)
        });
    }
}

fn pushes(bench: &mut BenchRunner) {
    let shown = envelope();
    let mut group = bench.group("push", 1);
    group.fed("first of a message", envelope, |fresh| {
        encode::push(&fresh, Seq::new(1_000), 0, true)
    });
    group.case("next of a message", || {
        encode::push(black_box(&shown), Seq::new(1_000), 0, true)
    });
}

fn pages(bench: &mut BenchRunner) {
    let items: Vec<_> = (1..=PAGE_ENTRIES)
        .map(|n| (Seq::new(n), Arc::new(envelope())))
        .collect();
    let of = |items: Vec<_>| SyncPage {
        from: Seq::ZERO,
        items,
        more: true,
        upto: Seq::new(PAGE_ENTRIES),
        epoch: Epoch(7),
        head: Head {
            head: Seq::new(10_000),
            floor: Seq::ZERO,
        },
    };
    let warm = of(items);
    let fresh = || {
        of((1..=PAGE_ENTRIES)
            .map(|n| (Seq::new(n), Arc::new(envelope())))
            .collect())
    };
    let mut group = bench.group("page", PAGE_ENTRIES);
    group.case("of 50, encoded before", || {
        page::answer(black_box(&warm), 9, true, false)
    });
    group.fed("of 50, fresh from the store", fresh, |page| {
        page::answer(&page, 9, true, false)
    });
}

fn main() {
    gimlet_bench::run(&[packets, pushes, pages]);
}
