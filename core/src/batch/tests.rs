//! The batch writer under load, with a store that hangs, and at shutdown.

mod parallel;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;
use crate::id::GroupId;
use crate::memory;
use crate::roster::CachedRoster;
use crate::seq::Seq;
use crate::store::{Roster, RosterVersion, StoreError, StoreErrorKind};
use crate::test_fixtures::{BatcherFixture, direct_send, inbox_store_over_inner};
use crate::testkit::helpers::{last, user};

/// Behavior of the next appends.
#[derive(Clone, Copy, Debug)]
enum AppendBehavior {
    Work,
    Fail(StoreErrorKind),
    Panic,
}

/// A store whose appends wait for a permit and are recorded.
#[derive(Debug)]
struct GatedInboxStore {
    inner: Arc<dyn InboxStore>,
    permits: Semaphore,
    entered: AtomicUsize,
    batches: Mutex<Vec<usize>>,
    mood: Mutex<AppendBehavior>,
}

inbox_store_over_inner! { GatedInboxStore {
    async fn append(&self, batch: &[AppendRequest]) -> Result<Vec<AppendOutcome>, StoreError> {
        self.batches.lock().unwrap().push(batch.len());
        self.entered.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.unwrap().forget();
        let mood = *self.mood.lock().unwrap();
        match mood {
            AppendBehavior::Work => self.inner.append(batch).await,
            AppendBehavior::Fail(kind) => Err(StoreError::new("inbox.append", kind)),
            AppendBehavior::Panic => panic!("the store panics on cue"),
        }
    }
} }

struct BatchFixture {
    held: Arc<GatedInboxStore>,
    running: BatcherFixture,
}

fn bench(limits: &Limits, permits: usize) -> BatchFixture {
    let (running, held) = BatcherFixture::start(limits, |inner| GatedInboxStore {
        inner,
        permits: Semaphore::new(permits),
        entered: AtomicUsize::new(0),
        batches: Mutex::default(),
        mood: Mutex::new(AppendBehavior::Work),
    });
    BatchFixture { held, running }
}

fn message_to(to: u64, content: &str) -> (AppendRequest, Arc<Envelope>) {
    direct_send(None, to, content)
}

impl BatchFixture {
    /// Sends in a task, and returns once the send waits or is answered.
    async fn send(&self, to: u64) -> JoinHandle<Result<AppendOutcome, RequestRefusal>> {
        let (append, envelope) = message_to(to, "hi");
        let batcher = self.running.batcher.clone();
        let deadline = Instant::now() + Duration::from_millis(1_500);
        let task = self
            .running
            .tracker
            .spawn(async move { batcher.append(append, envelope, deadline).await });
        // One thread: after some yields the send is queued, and taken if the batch writer is free.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        task
    }

    async fn head(&self, of: u64) -> u64 {
        last(&self.running.stores, user(of)).await
    }

    async fn stop(self) {
        self.running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lone_send_is_not_delayed() {
    let bench = bench(&Limits::default(), 1);
    let began = Instant::now();
    let answer = bench.send(1).await.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    let seqs = vec![(user(1), Seq::new(1))];
    assert_eq!(answer, AppendOutcome::Stored { seqs, job: false });
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn sends_that_arrive_while_a_batch_commits_form_the_next() {
    let limits = Limits {
        batch_sends: 4,
        ..Limits::default()
    };
    let bench = bench(&limits, 0);
    let mut sends = Vec::new();
    for _ in 0..7 {
        sends.push(bench.send(1).await);
    }
    bench.held.permits.add_permits(10);
    for send in sends {
        assert!(send.await.unwrap().is_ok());
    }
    assert_eq!(*bench.held.batches.lock().unwrap(), [1, 4, 2]);
    let counts = bench.running.batcher.counts();
    assert_eq!(counts.sends.counts[..4], [1, 1, 1, 0]);
    assert_eq!((counts.sends.sum, counts.micros.counts[0]), (7, 3));
    assert_eq!(bench.running.sink.seqs(), [1, 2, 3, 4, 5, 6, 7]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn bytes_and_entries_bound_a_batch_and_a_large_send_goes_alone() {
    let limits = Limits {
        batch_bytes: 4,
        batch_entries: 3,
        ..Limits::default()
    };
    let bench = bench(&limits, 0);
    let first = bench.send(1).await;
    let mut sends = Vec::new();
    for content in ["12345678", "12", "34", "5", "", "", ""] {
        let (append, envelope) = message_to(1, content);
        let (batcher, deadline) = (
            bench.running.batcher.clone(),
            Instant::now() + limits.send_deadline,
        );
        sends.push(
            bench
                .running
                .tracker
                .spawn(async move { batcher.append(append, envelope, deadline).await }),
        );
        tokio::task::yield_now().await;
    }
    bench.held.permits.add_permits(10);
    for send in std::iter::once(first).chain(sends) {
        assert!(send.await.unwrap().is_ok());
    }
    assert_eq!(*bench.held.batches.lock().unwrap(), [1, 1, 2, 3, 1]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn too_late_is_unavailable_before_the_batch_began_and_unknown_after() {
    let bench = bench(&Limits::default(), 0);
    let started = bench.send(1).await;
    let waiting = bench.send(2).await;
    assert_eq!(started.await.unwrap(), Err(RequestRefusal::Unknown));
    assert_eq!(waiting.await.unwrap(), Err(RequestRefusal::Unavailable));
    bench.held.permits.add_permits(10);
    let later = bench.send(3).await;
    assert!(later.await.unwrap().is_ok());
    // A send answered as unavailable is never stored; the one answered as unknown was stored.
    assert_eq!(
        [
            bench.head(1).await,
            bench.head(2).await,
            bench.head(3).await
        ],
        [1, 0, 1]
    );
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let limits = Limits {
        send_queue: 2,
        ..Limits::default()
    };
    let bench = bench(&limits, 0);
    let began = Instant::now();
    let taken = [
        bench.send(1).await,
        bench.send(2).await,
        bench.send(3).await,
    ];
    let refused = bench.send(4).await.await.unwrap().unwrap_err();
    assert_eq!(refused.code(), 14);
    assert!(refused.retry_after() >= Some(Duration::from_millis(100)));
    assert_eq!(began.elapsed(), Duration::ZERO);
    bench.held.permits.add_permits(10);
    for send in taken {
        assert!(send.await.unwrap().is_ok());
    }
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded_by_bytes_and_they_come_back() {
    let limits = Limits {
        send_queue_bytes: 2 << 10,
        ..Limits::default()
    };
    let bench = bench(&limits, 0);
    for _ in 0..2 {
        let taken = [bench.send(1).await, bench.send(1).await];
        let refused = bench.send(1).await.await.unwrap();
        assert!(
            matches!(refused, Err(RequestRefusal::Busy { .. })),
            "{refused:?}"
        );
        bench.held.permits.add_permits(2);
        for send in taken {
            assert!(send.await.unwrap().is_ok());
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn recipients_count_among_the_bytes_that_wait() {
    let limits = Limits {
        send_queue_bytes: 2 << 10,
        ..Limits::default()
    };
    let bench = bench(&limits, 1);
    let enter = |recipients: u64| {
        let (mut append, envelope) = message_to(1, "hi");
        append.recipients = (1..=recipients).map(user).collect();
        bench.running.batcher.enter(append, envelope).map(drop)
    };
    assert_eq!(enter(300).unwrap_err().code(), 14, "300 take 3 KiB");
    assert_eq!(enter(250), Ok(()));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_answered_to_the_whole_batch_and_the_writer_goes_on() {
    let bench = bench(&Limits::default(), 100);
    let moods = [
        (AppendBehavior::Fail(StoreErrorKind::Unavailable), 14),
        (AppendBehavior::Fail(StoreErrorKind::Full), 8),
        (AppendBehavior::Fail(StoreErrorKind::Unknown), 4),
        (AppendBehavior::Panic, 4),
    ];
    for (mood, code) in moods {
        *bench.held.mood.lock().unwrap() = mood;
        let refusal = bench.send(1).await.await.unwrap().unwrap_err();
        assert_eq!(refusal.code(), code);
    }
    assert!(bench.running.sink.seqs().is_empty());
    *bench.held.mood.lock().unwrap() = AppendBehavior::Work;
    assert!(bench.send(1).await.await.unwrap().is_ok());
    let counts = bench.running.batcher.counts();
    assert_eq!((counts.failures, counts.sends.sum), (4, 1));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_has_the_group_looked_at() {
    let bench = bench(&Limits::default(), 100);
    let group = GroupId::new(7).unwrap();
    for (kind, woken) in [
        (StoreErrorKind::Unavailable, vec![]),
        (StoreErrorKind::Unknown, vec![group]),
    ] {
        *bench.held.mood.lock().unwrap() = AppendBehavior::Fail(kind);
        let (mut append, envelope) = message_to(1, "hi");
        append.roster = Some((group, RosterVersion(1)));
        let deadline = Instant::now() + Duration::from_secs(1);
        let refused = bench
            .running
            .batcher
            .append(append, envelope, deadline)
            .await;
        assert!(refused.is_err());
        assert_eq!(bench.running.jobs.take_woken(), woken);
    }
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_finishes_what_waits_and_takes_no_more() {
    let bench = bench(&Limits::default(), 0);
    let sends = [
        bench.send(1).await,
        bench.send(1).await,
        bench.send(1).await,
    ];
    bench.running.token.cancel();
    bench.held.permits.add_permits(1);
    // The first batch ends; then the writer notices the shutdown.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.held.entered.load(Ordering::SeqCst), 2);
    let late = bench.send(1).await;
    assert_eq!(late.await.unwrap(), Err(RequestRefusal::Unavailable));
    bench.held.permits.add_permits(10);
    for send in sends {
        assert!(send.await.unwrap().is_ok());
    }
    assert_eq!(bench.head(1).await, 3);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_goes_away_leaves_its_send_behind() {
    let bench = bench(&Limits::default(), 0);
    let first = bench.send(1).await;
    let gone = bench.send(1).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    bench.held.permits.add_permits(10);
    assert!(first.await.unwrap().is_ok());
    let after = bench.send(1).await;
    assert!(after.await.unwrap().is_ok());
    assert_eq!(bench.head(1).await, 3);
    assert_eq!(bench.running.sink.seqs().len(), 3);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_concurrent_sends_are_numbered_without_a_hole_and_pushed_in_order() {
    let bench = bench(&Limits::default(), 1_000);
    let mut sends = Vec::new();
    for _ in 0..200 {
        let (append, envelope) = message_to(1, "hi");
        let batcher = bench.running.batcher.clone();
        let deadline = Instant::now() + Duration::from_mins(1);
        sends.push(
            bench
                .running
                .tracker
                .spawn(async move { batcher.append(append, envelope, deadline).await }),
        );
    }
    let mut seqs = Vec::new();
    for send in sends {
        if let AppendOutcome::Stored { seqs: stored, .. } = send.await.unwrap().unwrap() {
            seqs.extend(stored.iter().map(|(_, seq)| seq.get()));
        }
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=200).collect::<Vec<_>>());
    let sink = Arc::clone(&bench.running.sink);
    bench.stop().await;
    assert_eq!(sink.seqs(), (1..=200).collect::<Vec<_>>());
}

/// Regression: the rest of a full batch went back into the queue under a second lock, and a send
/// that was admitted in between passed it.
#[test]
fn the_rest_of_a_full_batch_stays_before_later_sends() {
    let limits = Limits {
        batch_sends: 8,
        send_queue_bytes: 40 << 10,
        ..Limits::default()
    };
    let queue = SendQueue::new(&limits);
    let mut stubs = Vec::new();
    let mut enter = |text: usize| {
        let (append, envelope) = message_to(7, &text.to_string());
        let (ticket, stub) = CompletionSender::new();
        stubs.push(stub);
        let send = QueuedSend::new(append, envelope, None, ticket);
        queue.enter(send).unwrap();
    };
    (1..=9).for_each(&mut enter);
    let mut taken = queue.lock().take_unsorted().unwrap();
    assert_eq!(taken.len(), 8);
    // More than a quarter of the bytes waits for answers: admission sorts the rest into flows.
    (10..=13).for_each(&mut enter);
    let mut waiting = queue.lock();
    waiting.sort();
    while let Some(flow) = waiting.next_flow() {
        taken.extend(waiting.take_head(flow));
    }
    let texts: Vec<_> = taken
        .iter()
        .map(|it| &it.append.message.content.0[..])
        .collect();
    let expected: Vec<_> = (1..=13).map(|text: usize| text.to_string()).collect();
    assert_eq!(
        texts,
        expected.iter().map(String::as_bytes).collect::<Vec<_>>()
    );
}

/// Regression: one stale group send switched the order of arrival off for good.
#[tokio::test(start_paused = true)]
async fn a_roster_is_kept_no_longer_than_a_send_may_wait() {
    let limits = Limits::default();
    let rosters = RosterCache::new(memory::stores().group, 1_000);
    let group = GroupId::new(5).unwrap();
    let mut replans = super::replan::ReplannedSends::new(rosters, limits.send_deadline);
    let roster = CachedRoster::new(Roster {
        version: RosterVersion(1),
        members: Arc::from([]),
    });
    replans.plan_waiting(group, Ok(Arc::new(roster)), Instant::now());
    assert!(!replans.is_idle());
    tokio::time::advance(limits.send_deadline + Duration::from_millis(1)).await;
    replans.forget_old();
    assert!(replans.is_idle());
}
