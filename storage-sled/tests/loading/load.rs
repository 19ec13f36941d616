//! The loads: the rows of ordinary use, stored at full speed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gimlet_core::events::EventHooks;
use gimlet_core::id::{MessageId, UserId};
use gimlet_core::message::MessageReceiver;
use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_core::store::{AppendRequest, IdempotencyKey, StoreSet};
use gimlet_core::testkit::helpers;
use gimlet_core::time::SystemClock;
use gimlet_storage_sled::{Config, DurabilityLevel, open};
use tokio::time::Instant;

/// Concurrent appends, as on a node with several batches in flight.
const IN_FLIGHT: usize = 4;
/// Entries of an append: the maximum of the batch writer.
const ENTRIES: u64 = 5_000;
/// Users whose inboxes are written.
const USERS: u64 = 10_000;
/// Tasks that read pages meanwhile.
const READERS: u64 = 2;

/// Kinds of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoadKind {
    /// 100 bytes to a group of 1,000.
    Group,
    /// 100 bytes to one user, with a key, and the sender's own entry.
    Direct,
    /// 60 KiB to one user and the sender's own entry.
    Bodies,
    /// As `Group`, with all entries removed that are older than the last 100.
    Trim,
}

impl LoadKind {
    /// All loads.
    pub(crate) const ALL: [Self; 4] = [Self::Group, Self::Direct, Self::Bodies, Self::Trim];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Direct => "direct",
            Self::Bodies => "bodies",
            Self::Trim => "trim",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// Returns the content bytes and the recipients of a send.
    fn shape(self) -> (usize, u64) {
        match self {
            Self::Group | Self::Trim => (100, 1_000),
            Self::Direct => (100, 2),
            Self::Bodies => (60 << 10, 2),
        }
    }

    /// Returns the sends of one append: the most that the batch writer's limits of sends, entries
    /// and bytes allow.
    fn sends(self) -> u64 {
        let (bytes, recipients) = self.shape();
        (ENTRIES / recipients)
            .min(512)
            .min((4 << 20) / bytes as u64)
    }

    /// Returns the approximate number of rows that one send makes: entries, chunks of the body, the
    /// key.
    fn rows(self) -> u64 {
        let (bytes, recipients) = self.shape();
        recipients + bytes as u64 / 4_096 + u64::from(self == Self::Direct)
    }

    fn append(self, n: u64) -> AppendRequest {
        let (bytes, recipients) = self.shape();
        let first = if recipients > 2 { 0 } else { n * 7_919 };
        let user = |k: u64| UserId::new(1 + k % USERS).expect("a user's number");
        let message = helpers::message(MessageReceiver::User(user(first)), vec![7; bytes]);
        AppendRequest {
            message: Arc::new(message),
            recipients: (first..first + recipients).map(user).collect(),
            key: (self == Self::Direct).then(|| IdempotencyKey {
                id: MessageId::generate().as_bytes().to_vec(),
                digest: [0; 16],
                window: Duration::from_mins(10),
            }),
            roster: None,
            hooks: EventHooks::NONE,
        }
    }
}

/// Returns the resident bytes of this process.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("the process's status");
    let line = text.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    let kib = line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("VmRSS in kB") << 10
}

/// Stores the rows. Prints `rows milliseconds resident-bytes` at the start, and after every append
/// that completes another hundredth.
pub(crate) fn run(dir: &Path, load: LoadKind, rows: u64, cache: u64) {
    let config = Config {
        durability: DurabilityLevel::Process,
        cache_bytes: cache,
        min_free: 0,
        ..Config::new(dir)
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let opened = open(&config, Arc::new(SystemClock)).expect("an empty directory");
    println!("0 0 {}", resident());
    let made = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    runtime.block_on(async {
        let mut readers = tokio::task::JoinSet::new();
        for n in 0..READERS {
            readers.spawn(read(opened.stores.clone(), n));
        }
        let mut writers = tokio::task::JoinSet::new();
        for n in 0..IN_FLIGHT as u64 {
            let (stores, made) = (opened.stores.clone(), Arc::clone(&made));
            writers.spawn(write(stores, load, n, rows, made, started));
        }
        while let Some(one) = writers.join_next().await {
            one.expect("a writer");
        }
    });
    let health = opened.health.clone();
    drop(opened);
    runtime.block_on(health.closed());
}

async fn write(
    stores: StoreSet,
    load: LoadKind,
    n: u64,
    rows: u64,
    made: Arc<AtomicU64>,
    started: Instant,
) {
    let (each, mut count) = (load.sends(), n << 32);
    while made.load(Ordering::Relaxed) < rows {
        let batch: Vec<_> = (count..count + each).map(|k| load.append(k)).collect();
        stores.inbox.append(&batch).await.expect("an append");
        count += each;
        if load == LoadKind::Trim {
            trim(&stores, count).await;
        }
        let step = each * load.rows();
        let before = made.fetch_add(step, Ordering::Relaxed);
        let hundredth = (rows / 100).max(1);
        if before / hundredth != (before + step) / hundredth {
            println!(
                "{} {} {}",
                before + step,
                started.elapsed().as_millis(),
                resident()
            );
        }
    }
}

/// Removes all but the last hundred entries of some inboxes.
async fn trim(stores: &StoreSet, count: u64) {
    for k in 0..50 {
        let user = UserId::new(1 + (count + k) % 1_000).expect("a user's number");
        let heads = stores.seq.heads(&[user]).await.expect("heads");
        let head = heads.first().expect("one head").head.get();
        let upto = Seq::new(head.saturating_sub(100));
        stores.inbox.trim(user, upto).await.expect("a trim");
    }
}

/// Reads pages from random positions of the inboxes.
async fn read(stores: StoreSet, mut n: u64) {
    loop {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let user = UserId::new(1 + (n >> 33) % 1_000).expect("a user's number");
        let from = Seq::new((n >> 20) % 1_000);
        let page = stores.inbox.after(user, from, PageLimit::items(50)).await;
        page.expect("a page");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
