//! The pure parts of a fan-out: cursor, outbox and plan.
//!
//! `cargo bench -p gimlet-core --bench hub`. Cursor and outbox are private to the hub, so this
//! program compiles them from their own files.

#[path = "../src/hub/cursor.rs"]
#[expect(dead_code, reason = "only the measured part is used")]
mod cursor;
#[path = "../src/hub/outbox.rs"]
#[expect(dead_code, reason = "only the measured part is used")]
mod outbox;

use std::hint::black_box;
use std::sync::Arc;

use gimlet_bench::BenchRunner;
use gimlet_core::delivery::{ConnectionDelivery, DeliveryBatch};
use gimlet_core::envelope::Envelope;
use gimlet_core::fanout;
use gimlet_core::id::{DeviceId, Generation, MessageId, NodeId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields, UserProfile,
};
use gimlet_core::store::Route;
use gimlet_core::time::UnixTimestamp;
use gimlet_core::{delivery, envelope, seq};

use cursor::{Cursor, PushVerdict};
use outbox::ConnectionOutbox;
use seq::Seq;

/// Entries in one round.
const ENTRIES_PER_ROUND: u64 = 64;

/// A queue's budget in bytes.
const OUTBOX_BUDGET_BYTES: usize = 256 * 1024;

fn user(n: u64) -> UserId {
    UserId::new(n).expect("a positive id")
}

fn envelope() -> Arc<Envelope> {
    let message = Message {
        id: MessageId::generate(),
        sender: MessageSender::Business,
        receiver: MessageReceiver::User(user(1)),
        mentions: Vec::new(),
        kind: 1,
        content: MessageContent(vec![7; 100].into()),
        sent_at: UnixTimestamp(0),
        unknown: UnknownFields::NONE,
    };
    Arc::new(Envelope::new(
        Arc::new(message),
        Arc::new(UserProfile::default()),
        0,
    ))
}

fn live() -> Cursor {
    let mut cursor = Cursor::new();
    cursor.synced(Seq::ZERO, false);
    cursor
}

fn cursors(bench: &mut BenchRunner) {
    let mut group = bench.group("cursor", ENTRIES_PER_ROUND);
    group.case("entries in order", || {
        let mut cursor = live();
        for seq in 1..=ENTRIES_PER_ROUND {
            let seq = black_box(Seq::new(seq));
            if cursor.offer(seq) == PushVerdict::Next {
                cursor.mark_served(seq);
            }
        }
        cursor
    });
}

fn outboxes(bench: &mut BenchRunner) {
    let envelope = envelope();
    let mut group = bench.group("outbox", ENTRIES_PER_ROUND);
    group.case("queued and taken", || {
        let mut outbox = ConnectionOutbox::default();
        for seq in 1..=ENTRIES_PER_ROUND {
            let envelope = Arc::clone(&envelope);
            let seq = Seq::new(seq);
            outbox.push(
                ConnectionDelivery::Entry { seq, envelope },
                OUTBOX_BUDGET_BYTES,
            );
        }
        outbox.take(usize::try_from(ENTRIES_PER_ROUND).unwrap_or(usize::MAX))
    });
    let mut outbox = ConnectionOutbox::default();
    group.case("one at a time", || {
        for seq in 1..=ENTRIES_PER_ROUND {
            let envelope = Arc::clone(&envelope);
            let seq = Seq::new(seq);
            outbox.push(
                ConnectionDelivery::Entry { seq, envelope },
                OUTBOX_BUDGET_BYTES,
            );
            black_box(outbox.take(1));
        }
    });
}

fn plans(bench: &mut BenchRunner) {
    let node = |name: &str| NodeId {
        name: name.into(),
        boot: 1,
    };
    let nodes = [node("a"), node("b"), node("c")];
    let [here, others @ ..] = &nodes;
    for members in [2, 500, 1_000] {
        let to: Vec<(UserId, Seq)> = (1..=members).map(|n| (user(n), Seq::new(n))).collect();
        let routes: Vec<Route> = (1..=members)
            .zip(nodes.iter().cycle())
            .map(|(n, node)| Route {
                device: DeviceId::new(n).expect("a positive id"),
                user: user(n),
                generation: Generation(1),
                node: node.clone(),
                client: None,
            })
            .collect();
        let envelope = envelope();
        let deliveries = || {
            vec![DeliveryBatch::Entries {
                envelope: Arc::clone(&envelope),
                to: to.clone(),
            }]
        };
        bench.group("plan", members).fed(
            &format!("{members} on three nodes"),
            deliveries,
            |deliveries| fanout::plan(deliveries, &routes, here, others),
        );
    }
}

fn main() {
    gimlet_bench::run(&[cursors, outboxes, plans]);
}
