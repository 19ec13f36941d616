//! Measures the throughput of the storage on this machine: durable sends, each to two users, and
//! pages of 50.
//!
//! ```sh
//! cargo run --release -p gimlet-storage-sled --example rate
//! cargo run --release -p gimlet-storage-sled --example rate hook   # with an event for each send
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use gimlet_core::events::{EventHooks, HookName, HookTarget};
use gimlet_core::id::{MessageId, NodeId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields,
};
use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_core::store::{AppendRequest, HookClaimOutcome, IdempotencyKey, StoreSet};
use gimlet_core::time::{SystemClock, UnixTimestamp};
use gimlet_storage_sled::{Config, DurabilityLevel, open};
use tokio::task::JoinSet;
use tokio::time::Instant;

const USERS: u64 = 10_000;
const MEASURED_SPAN: Duration = Duration::from_secs(2);

fn user(n: u64) -> Result<UserId, &'static str> {
    UserId::new(1 + n % USERS).ok_or("a user's number")
}

fn send(n: u64, hooks: &EventHooks) -> Result<AppendRequest, &'static str> {
    let message = Message {
        id: MessageId::generate(),
        sender: MessageSender::Business,
        receiver: MessageReceiver::User(user(n)?),
        mentions: Vec::new(),
        kind: 1,
        content: MessageContent(vec![7; 100].into()),
        sent_at: UnixTimestamp(0),
        unknown: UnknownFields::NONE,
    };
    Ok(AppendRequest {
        message: Arc::new(message),
        recipients: Arc::new([user(n)?, user(n.wrapping_mul(7_919) + 1)?]),
        key: Some(IdempotencyKey {
            id: MessageId::generate().as_bytes().to_vec(),
            digest: [0; 16],
            window: Duration::from_mins(10),
        }),
        roster: None,
        hooks: hooks.clone(),
    })
}

type BoxedResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Sends one batch after the other until the time is over; returns the number of sends.
async fn sender(
    stores: StoreSet,
    lane: u64,
    batch: u64,
    end: Instant,
    hooks: EventHooks,
) -> BoxedResult<u64> {
    let mut sent = 0;
    while Instant::now() < end {
        let sends = (sent..sent + batch).map(|n| send(lane * 1_000_003 + n * 31, &hooks));
        stores
            .inbox
            .append(&sends.collect::<Result<Vec<_>, _>>()?)
            .await?;
        sent += batch;
    }
    Ok(sent)
}

/// Delivers events to nobody until the time is over; returns the number of events.
async fn deliver(stores: StoreSet, hook: HookName, end: Instant) -> BoxedResult<u64> {
    let node = NodeId::boot("local");
    let HookClaimOutcome::Claimed(lease) = stores.outbox.claim(&hook, &node, None).await? else {
        return Err("another node delivers the hook".into());
    };
    let mut delivered = 0;
    while Instant::now() < end {
        let page = stores
            .outbox
            .read(&hook, &[], PageLimit::items(500))
            .await?;
        let positions: Vec<_> = page.items.iter().map(|row| row.position).collect();
        stores.outbox.remove(&lease, &positions).await?;
        delivered += positions.len() as u64;
    }
    Ok(delivered)
}

async fn reader(stores: StoreSet, lane: u64, end: Instant) -> BoxedResult<u64> {
    let mut pages = 0;
    while Instant::now() < end {
        let who = user(lane * 997 + pages * 13)?;
        stores
            .inbox
            .after(who, Seq::ZERO, PageLimit::items(50))
            .await?;
        pages += 1;
    }
    Ok(pages)
}

async fn count(mut tasks: JoinSet<BoxedResult<u64>>) -> BoxedResult<u64> {
    let mut all = 0;
    while let Some(one) = tasks.join_next().await {
        all += one??;
    }
    Ok(all / MEASURED_SPAN.as_secs())
}

#[tokio::main]
async fn main() -> BoxedResult<()> {
    let hook = HookName::new("rate")?;
    let hooked = std::env::args().any(|it| it == "hook");
    let hooks = if hooked {
        EventHooks::new(vec![HookTarget::new(hook.clone(), false)])
    } else {
        EventHooks::NONE
    };
    for durability in [DurabilityLevel::Process, DurabilityLevel::Power] {
        let dir = std::env::temp_dir().join(format!("gimlet-rate-{}", std::process::id()));
        let config = Config {
            durability,
            ..Config::new(&dir)
        };
        let it = open(&config, Arc::new(SystemClock))?;
        for (senders, batch) in [(1, 1), (64, 1), (512, 1), (1, 512), (2, 512)] {
            let (end, mut tasks) = (Instant::now() + MEASURED_SPAN, JoinSet::new());
            for lane in 0..senders {
                tasks.spawn(sender(it.stores.clone(), lane, batch, end, hooks.clone()));
            }
            let mut delivery = JoinSet::new();
            if hooked {
                delivery.spawn(deliver(it.stores.clone(), hook.clone(), end));
            }
            let rate = count(tasks).await?;
            let delivered = count(delivery).await?;
            println!(
                "{durability:?}: {senders} senders of {batch}: {rate} sends/s, {delivered} events/s"
            );
        }
        let (end, mut tasks) = (Instant::now() + MEASURED_SPAN, JoinSet::new());
        for lane in 0..8 {
            tasks.spawn(reader(it.stores.clone(), lane, end));
        }
        println!("{durability:?}: 8 readers: {} pages/s", count(tasks).await?);
        let health = it.health.clone();
        drop(it);
        health.closed().await;
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(())
}
