//! Measures the throughput of the storage on this machine: durable sends, each to two users, and
//! pages of 50.
//!
//! ```sh
//! cargo run --release -p gimlet-storage-sled --example rate
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use gimlet_core::id::{MessageId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields,
};
use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_core::store::{AppendRequest, IdempotencyKey, StoreSet};
use gimlet_core::time::{SystemClock, UnixTimestamp};
use gimlet_storage_sled::{Config, DurabilityLevel, open};
use tokio::task::JoinSet;
use tokio::time::Instant;

const USERS: u64 = 10_000;
const MEASURED_SPAN: Duration = Duration::from_secs(2);

fn user(n: u64) -> Result<UserId, &'static str> {
    UserId::new(1 + n % USERS).ok_or("a user's number")
}

fn send(n: u64) -> Result<AppendRequest, &'static str> {
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
    })
}

type BoxedResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Sends one batch after the other until the time is over; returns the number of sends.
async fn sender(stores: StoreSet, lane: u64, batch: u64, end: Instant) -> BoxedResult<u64> {
    let mut sent = 0;
    while Instant::now() < end {
        let sends = (sent..sent + batch).map(|n| send(lane * 1_000_003 + n * 31));
        stores
            .inbox
            .append(&sends.collect::<Result<Vec<_>, _>>()?)
            .await?;
        sent += batch;
    }
    Ok(sent)
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
                tasks.spawn(sender(it.stores.clone(), lane, batch, end));
            }
            let rate = count(tasks).await?;
            println!("{durability:?}: {senders} senders of {batch}: {rate} sends/s");
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
