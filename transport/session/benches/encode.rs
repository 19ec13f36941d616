//! From a frame to a packet, and from a message to a frame.
//!
//! `cargo bench -p gimlet-transport --bench encode`. What is measured is compiled into this program
//! from its own files: it is nobody's outside the session.

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

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gimlet_core::envelope::Envelope;
use gimlet_core::gateway::SyncPage;
use gimlet_core::id::{DeviceId, Epoch, MessageId, UserId};
use gimlet_core::message::{Content, Message, Profile, Receiver, Sender};
use gimlet_core::seq::Seq;
use gimlet_core::store::Head;
use gimlet_core::time::Timestamp;
use gimlet_proto::pb::{self, PackageType};
use gimlet_transport::link;
use prost::Message as _;

use dispatch::Packet;

/// Entries of a page.
const PAGE: u64 = 50;

fn user(n: u64) -> UserId {
    UserId::new(n).expect("from one up")
}

fn envelope() -> Envelope {
    let message = Message {
        id: MessageId::from_bytes([7; 16]),
        sender: Sender::User {
            user: user(2),
            device: DeviceId::new(7),
        },
        receiver: Receiver::User(user(3)),
        mentions: Vec::new(),
        kind: 1,
        content: Content(vec![1; 100].into()),
        sent_at: Timestamp(1_652_227_200_000),
    };
    let profile = Profile {
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

fn packets(c: &mut Criterion) {
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
    let mut group = c.benchmark_group("packet");
    for (name, frame) in [("send", send), ("ack", ack)] {
        group.bench_function(name, |b| {
            b.iter(|| Packet::read(black_box(frame.clone())).map(|packet| packet.request()));
        });
    }
    group.finish();
}

fn pushes(c: &mut Criterion) {
    let shown = envelope();
    let mut group = c.benchmark_group("push");
    group.bench_function("first of a message", |b| {
        b.iter_batched(
            envelope,
            |fresh| encode::push(&fresh, Seq::new(1_000), 0, true),
            criterion::BatchSize::SmallInput,
        );
    });
    group.bench_function("next of a message", |b| {
        b.iter(|| encode::push(black_box(&shown), Seq::new(1_000), 0, true));
    });
    group.finish();
}

fn pages(c: &mut Criterion) {
    let items: Vec<_> = (1..=PAGE)
        .map(|n| (Seq::new(n), Arc::new(envelope())))
        .collect();
    let of = |items: Vec<_>| SyncPage {
        items,
        more: true,
        upto: Seq::new(PAGE),
        epoch: Epoch(7),
        head: Head {
            head: Seq::new(10_000),
            floor: Seq::ZERO,
        },
    };
    let warm = of(items);
    let mut group = c.benchmark_group("page");
    group.throughput(Throughput::Elements(PAGE));
    group.bench_function("of 50, encoded before", |b| {
        b.iter(|| page::answer(black_box(&warm), 9, true, false));
    });
    group.bench_function("of 50, fresh from the store", |b| {
        b.iter_batched(
            || {
                of((1..=PAGE)
                    .map(|n| (Seq::new(n), Arc::new(envelope())))
                    .collect())
            },
            |page| page::answer(&page, 9, true, false),
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, packets, pushes, pages);
criterion_main!(benches);
