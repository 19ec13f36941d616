//! Measures how many sends a second the store alone takes:
//!
//! ```text
//! tests/backends/with cargo run --release -p gimlet-storage-mysql --example append [writers batch] [hook]
//! ```
//!
//! With `hook`, each send has an event.

#![expect(clippy::unwrap_used, reason = "a measurement may stop with a panic")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gimlet_core::events::{EventHooks, HookName, HookTarget};
use gimlet_core::id::{DeviceId, MessageId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields,
};
use gimlet_core::store::{AppendRequest, IdempotencyKey, StoreSet};
use gimlet_core::time::UnixTimestamp;
use gimlet_kit::backend::BackendAddresses;
use tokio::time::Instant;

const USERS: u64 = 10_000;
const SPAN: Duration = Duration::from_secs(5);

fn send(from: u64, to: u64, keyed: bool, hooks: &EventHooks) -> AppendRequest {
    let (user, other) = (UserId::new(from).unwrap(), UserId::new(to).unwrap());
    let id = MessageId::generate();
    let key = keyed.then(|| IdempotencyKey {
        id: [from.to_be_bytes().as_slice(), id.as_bytes()].concat(),
        digest: [7; 16],
        window: Duration::from_hours(168),
    });
    AppendRequest {
        message: Arc::new(Message {
            id,
            sender: MessageSender::User {
                user,
                device: DeviceId::new(from),
            },
            receiver: MessageReceiver::User(other),
            mentions: Vec::new(),
            kind: 1,
            content: MessageContent(Bytes::from(vec![b'x'; 100])),
            sent_at: UnixTimestamp(0),
            unknown: UnknownFields::NONE,
        }),
        recipients: [user, other].into(),
        key,
        roster: None,
        hooks: hooks.clone(),
    }
}

/// Appends one batch after another until the time is over; returns the number of sends.
async fn write(stores: StoreSet, batch: usize, keyed: bool, seed: u64, hooks: EventHooks) -> usize {
    let (start, mut sends, mut at) = (Instant::now(), 0, seed);
    while start.elapsed() < SPAN {
        let batch: Vec<AppendRequest> = (0..batch)
            .map(|_| {
                at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let from = 1 + (at >> 33) % USERS;
                send(
                    from,
                    1 + (from + 1 + (at >> 13) % (USERS - 2)) % USERS,
                    keyed,
                    &hooks,
                )
            })
            .collect();
        stores.inbox.append(&batch).await.unwrap();
        sends += batch.len();
    }
    sends
}

#[tokio::main]
async fn main() {
    let Some(servers) = BackendAddresses::of_environment() else {
        eprintln!("{}", support::MISSING);
        return;
    };
    let place = support::TestDatabase::new(&servers).await;
    let opened = place.open().await;
    println!("writers  batch  keys  sends/s  statements/batch");
    let mut shapes = vec![
        (1, 1),
        (8, 1),
        (1, 32),
        (1, 128),
        (1, 512),
        (2, 512),
        (4, 512),
    ];
    let given: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|it| it.parse().ok())
        .collect();
    if let [writers, batch] = given.as_slice() {
        shapes = vec![(*writers, usize::try_from(*batch).unwrap())];
    }
    let hooks = if std::env::args().any(|it| it == "hook") {
        EventHooks::new(vec![HookTarget::new(HookName::new("rate").unwrap(), false)])
    } else {
        EventHooks::NONE
    };
    for (writers, batch) in shapes {
        for keyed in [false, true] {
            let (before, start) = (opened.lasting.statements(), Instant::now());
            let mut tasks = tokio::task::JoinSet::new();
            for writer in 0..writers {
                let (stores, hooks) = (opened.stores.clone(), hooks.clone());
                tasks.spawn(write(stores, batch, keyed, writer + 1, hooks));
            }
            let sends: usize = tasks.join_all().await.into_iter().sum();
            let rate = sends as u128 * 1_000 / start.elapsed().as_millis();
            let statements = opened.lasting.statements() - before;
            let each = statements * batch as u64 / sends as u64;
            println!("{writers:7}  {batch:5}  {keyed:5}  {rate:7}  {each}");
        }
    }
    drop(opened.stores);
    opened.lasting.close().await;
}
