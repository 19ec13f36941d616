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

use gimlet_bench::Bench;
use gimlet_core::envelope::{Delivery, Envelope, Parcel};
use gimlet_core::fanout;
use gimlet_core::id::{DeviceId, Generation, MessageId, NodeId, UserId};
use gimlet_core::message::{Content, Message, Profile, Receiver, Sender, UnknownFields};
use gimlet_core::store::Route;
use gimlet_core::time::Timestamp;
use gimlet_core::{envelope, seq};

use cursor::{Cursor, Verdict};
use outbox::Outbox;
use seq::Seq;

/// Entries in one round.
const ENTRIES: u64 = 64;

/// A queue's budget in bytes.
const BUDGET: usize = 256 * 1024;

fn user(n: u64) -> UserId {
    UserId::new(n).expect("a positive id")
}

fn envelope() -> Arc<Envelope> {
    let message = Message {
        id: MessageId::generate(),
        sender: Sender::Business,
        receiver: Receiver::User(user(1)),
        mentions: Vec::new(),
        kind: 1,
        content: Content(vec![7; 100].into()),
        sent_at: Timestamp(0),
        unknown: UnknownFields::NONE,
    };
    Arc::new(Envelope::new(
        Arc::new(message),
        Arc::new(Profile::default()),
        0,
    ))
}

fn live() -> Cursor {
    let mut cursor = Cursor::new();
    cursor.synced(Seq::ZERO, false);
    cursor
}

fn cursors(bench: &mut Bench) {
    let mut group = bench.group("cursor", ENTRIES);
    group.case("entries in order", || {
        let mut cursor = live();
        for seq in 1..=ENTRIES {
            let seq = black_box(Seq::new(seq));
            if cursor.offer(seq) == Verdict::Next {
                cursor.pass(seq);
            }
        }
        cursor
    });
}

fn outboxes(bench: &mut Bench) {
    let envelope = envelope();
    let mut group = bench.group("outbox", ENTRIES);
    group.case("queued and taken", || {
        let mut outbox = Outbox::default();
        for seq in 1..=ENTRIES {
            let envelope = Arc::clone(&envelope);
            let seq = Seq::new(seq);
            outbox.push(Delivery::Entry { seq, envelope }, BUDGET);
        }
        outbox.take(usize::try_from(ENTRIES).unwrap_or(usize::MAX))
    });
    let mut outbox = Outbox::default();
    group.case("one at a time", || {
        for seq in 1..=ENTRIES {
            let envelope = Arc::clone(&envelope);
            let seq = Seq::new(seq);
            outbox.push(Delivery::Entry { seq, envelope }, BUDGET);
            black_box(outbox.take(1));
        }
    });
}

fn plans(bench: &mut Bench) {
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
        let parcels = || {
            vec![Parcel::Entries {
                envelope: Arc::clone(&envelope),
                to: to.clone(),
            }]
        };
        bench.group("plan", members).fed(
            &format!("{members} on three nodes"),
            parcels,
            |parcels| fanout::plan(parcels, &routes, here, others),
        );
    }
}

fn main() {
    gimlet_bench::run(&[cursors, outboxes, plans]);
}
