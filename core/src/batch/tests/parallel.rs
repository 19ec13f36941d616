//! Several batches in flight: with locks held by another session, in order, and at shutdown.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;
use crate::id::UserId;
use crate::store::{StoreError, StoreErrorKind};
use crate::test_fixtures::{BatcherFixture, direct_send, inbox_store_over_inner, settle};
use crate::testkit::helpers::{contents, last, user};

/// Time that an append waits for a lock, like the database's setting.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// A store with a row lock for each user, which the test holds as another database session would.
#[derive(Debug)]
struct LockingStore {
    inner: Arc<dyn InboxStore>,
    locked: Mutex<HashSet<UserId>>,
    unlocked: Notify,
    /// Users whose appends panic.
    poisoned: Mutex<HashSet<UserId>>,
    /// Recipients of the appends in flight. Two appends that share one are a failure.
    in_flight: Mutex<Vec<UserId>>,
    batches: Mutex<Vec<usize>>,
    /// Scheduler rounds that an append takes.
    rounds: usize,
    concurrency: usize,
}

impl LockingStore {
    fn lock(&self, user: UserId) {
        self.locked.lock().unwrap().insert(user);
    }

    fn unlock(&self, user: UserId) {
        self.locked.lock().unwrap().remove(&user);
        self.unlocked.notify_waiters();
    }

    fn is_locked(&self, batch: &[AppendRequest]) -> bool {
        let locked = self.locked.lock().unwrap();
        let mut users = batch.iter().flat_map(|send| send.recipients.iter());
        users.any(|user| locked.contains(user))
    }

    async fn store(&self, batch: &[AppendRequest]) -> Result<Vec<AppendOutcome>, StoreError> {
        let users: HashSet<UserId> = batch.iter().flat_map(|it| it.recipients.to_vec()).collect();
        {
            let mut in_flight = self.in_flight.lock().unwrap();
            assert!(
                !in_flight.iter().any(|user| users.contains(user)),
                "a shared recipient"
            );
            in_flight.extend(&users);
        }
        for _ in 0..self.rounds {
            tokio::task::yield_now().await;
        }
        self.batches.lock().unwrap().push(batch.len());
        let stored = self.inner.append(batch).await;
        self.in_flight
            .lock()
            .unwrap()
            .retain(|user| !users.contains(user));
        stored
    }
}

inbox_store_over_inner! { LockingStore {
    async fn append(&self, batch: &[AppendRequest]) -> Result<Vec<AppendOutcome>, StoreError> {
        let unlocked = async {
            loop {
                let changed = self.unlocked.notified();
                if !self.is_locked(batch) {
                    return;
                }
                changed.await;
            }
        };
        if timeout(LOCK_WAIT, unlocked).await.is_err() {
            return Err(StoreError::new("inbox.append", StoreErrorKind::Contended));
        }
        let poisoned = self.poisoned.lock().unwrap().clone();
        let mut users = batch.iter().flat_map(|send| send.recipients.iter());
        assert!(
            !users.any(|user| poisoned.contains(user)),
            "the store panics on cue"
        );
        self.store(batch).await
    }

    async fn append_now(&self, batch: &[AppendRequest]) -> Result<Vec<AppendOutcome>, StoreError> {
        if self.is_locked(batch) {
            return Err(StoreError::new("inbox.append", StoreErrorKind::Contended));
        }
        self.store(batch).await
    }

    fn append_concurrency(&self) -> usize {
        self.concurrency
    }
} }

struct ParallelFixture {
    store: Arc<LockingStore>,
    running: BatcherFixture,
    deadline: Duration,
}

type SendTask = JoinHandle<Result<AppendOutcome, RequestRefusal>>;

fn fixture(concurrency: usize, rounds: usize) -> ParallelFixture {
    let limits = Limits::default();
    let (running, store) = BatcherFixture::start(&limits, |inner| LockingStore {
        inner,
        locked: Mutex::default(),
        unlocked: Notify::new(),
        poisoned: Mutex::default(),
        in_flight: Mutex::default(),
        batches: Mutex::default(),
        rounds,
        concurrency,
    });
    let deadline = limits.send_deadline;
    ParallelFixture {
        store,
        running,
        deadline,
    }
}

fn message(from: u64, to: u64, text: &str) -> (AppendRequest, Arc<Envelope>) {
    direct_send(Some(from), to, text)
}

impl ParallelFixture {
    /// Enters a send now; the returned task waits for the answer. Sends that are entered without an
    /// await between them are in the same batch.
    fn send(&self, from: u64, to: u64, text: &str) -> SendTask {
        let (append, envelope) = message(from, to, text);
        let entered = self.running.batcher.enter(append, envelope).unwrap();
        let deadline = Instant::now() + self.deadline;
        self.running
            .tracker
            .spawn(async move { entered.answer(deadline).await })
    }

    /// Returns the texts of an inbox.
    async fn texts(&self, of: u64) -> Vec<String> {
        contents(&self.running.stores, user(of)).await
    }

    async fn stop(self) {
        self.running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn unrelated_users_go_on_while_a_batch_waits_for_a_lock() {
    let it = fixture(4, 0);
    it.store.lock(user(1));
    let blocked = it.send(9, 1, "blocked");
    settle().await;
    let began = Instant::now();
    for n in 10..110 {
        assert!(it.send(n, n + 1_000, "free").await.unwrap().is_ok());
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(!blocked.is_finished());
    it.store.unlock(user(1));
    assert!(blocked.await.unwrap().is_ok());
    it.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_touches_a_batch_in_flight_or_follows_a_send_that_waits_waits() {
    let it = fixture(4, 0);
    it.store.lock(user(1));
    let first = it.send(9, 1, "first");
    settle().await;
    // Shares its receiver with the batch in flight.
    let second = it.send(8, 1, "second");
    settle().await;
    // Shares nothing with the batch in flight, but its sender has a send that waits.
    let third = it.send(8, 7, "third");
    settle().await;
    assert!(!second.is_finished() && !third.is_finished());
    assert!(it.texts(7).await.is_empty());
    it.store.unlock(user(1));
    for send in [first, second, third] {
        assert!(send.await.unwrap().is_ok());
    }
    assert_eq!(it.texts(8).await, ["second", "third"]);
    assert_eq!(it.texts(1).await, ["first", "second"]);
    it.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_met_a_lock_is_split_and_only_the_locked_send_waits() {
    for concurrency in [1, 4] {
        let it = fixture(concurrency, 0);
        it.store.lock(user(1));
        let mut sends = Vec::new();
        let began = Instant::now();
        for n in 0..64 {
            sends.push(it.send(100 + n, if n == 37 { 1 } else { 200 + n }, "hi"));
        }
        let locked = sends.remove(37);
        for send in sends {
            assert!(send.await.unwrap().is_ok());
        }
        let took = began.elapsed();
        assert!(took < LOCK_WAIT + Duration::from_millis(100), "{took:?}");
        // A send to the locked user no longer delays unrelated sends.
        let (mixed, more) = (it.send(300, 1, "locked too"), it.send(301, 302, "free"));
        let began = Instant::now();
        assert!(more.await.unwrap().is_ok());
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(locked.await.unwrap(), Err(RequestRefusal::Unavailable));
        assert_eq!(mixed.await.unwrap(), Err(RequestRefusal::Unavailable));
        // A refused send is not stored later.
        it.store.unlock(user(1));
        assert!(it.send(303, 1, "after").await.unwrap().is_ok());
        assert_eq!(it.texts(1).await, ["after"]);
        it.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_given_up_in_time_costs_no_send() {
    let it = fixture(4, 0);
    it.store.lock(user(1));
    let mut sends: Vec<SendTask> = (0..8).map(|n| it.send(9, 1, &n.to_string())).collect();
    tokio::time::sleep(LOCK_WAIT + Duration::from_millis(150)).await;
    sends.push(it.send(9, 5, "8"));
    assert!(!sends.iter().any(JoinHandle::is_finished));
    it.store.unlock(user(1));
    for send in sends {
        assert!(send.await.unwrap().is_ok());
    }
    let in_order: Vec<String> = (0..9).map(|n| n.to_string()).collect();
    assert_eq!(it.texts(9).await, in_order);
    it.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_one_batch_leaves_the_others_alone() {
    let it = fixture(4, 3);
    it.store.poisoned.lock().unwrap().insert(user(1));
    it.store.lock(user(2));
    let waiting = it.send(9, 2, "waits");
    settle().await;
    let poisoned = it.send(8, 1, "panics");
    assert_eq!(poisoned.await.unwrap(), Err(RequestRefusal::Unknown));
    assert!(it.send(7, 6, "goes on").await.unwrap().is_ok());
    it.store.poisoned.lock().unwrap().clear();
    assert!(it.send(8, 1, "again").await.unwrap().is_ok());
    it.store.unlock(user(2));
    assert!(waiting.await.unwrap().is_ok());
    it.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_goes_away_leaves_its_send_to_be_stored() {
    let it = fixture(4, 0);
    it.store.lock(user(1));
    let (flying, parked) = (it.send(9, 1, "flying"), it.send(9, 5, "with it"));
    settle().await;
    let behind = it.send(9, 6, "behind");
    settle().await;
    for gone in [flying, parked, behind] {
        gone.abort();
    }
    settle().await;
    it.store.unlock(user(1));
    settle().await;
    assert_eq!(it.texts(9).await, ["flying", "with it", "behind"]);
    it.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_stores_what_is_in_flight_and_what_waits_behind_it() {
    let it = fixture(2, 0);
    it.store.lock(user(1));
    it.store.lock(user(2));
    let mut sends = vec![it.send(9, 1, "1")];
    settle().await;
    sends.push(it.send(8, 2, "2"));
    settle().await;
    // Both slots are taken. These sends wait, one of them behind a batch in flight.
    sends.push(it.send(9, 3, "3"));
    sends.push(it.send(7, 4, "4"));
    settle().await;
    it.running.token.cancel();
    settle().await;
    let (append, envelope) = message(5, 6, "too late");
    let late = it.running.batcher.enter(append, envelope).map(drop);
    assert_eq!(late, Err(RequestRefusal::Unavailable));
    it.store.unlock(user(1));
    it.store.unlock(user(2));
    for send in sends {
        assert!(send.await.unwrap().is_ok());
    }
    assert_eq!(it.texts(9).await, ["1", "3"]);
    it.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_although_a_lock_is_never_given_up() {
    let it = fixture(2, 0);
    it.store.lock(user(1));
    drop(it.send(9, 1, "nobody waits for it"));
    settle().await;
    let began = Instant::now();
    it.stop().await;
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}

/// Checks laws 2 and 3 and the order of each sender and of the pushes, with locks and batches in
/// parallel.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_senders_keep_every_order_with_batches_in_parallel() {
    const USERS: u64 = 40;
    const EACH: u64 = 150;
    let it = fixture(4, 3);
    let mut senders = Vec::new();
    for from in 1..=USERS {
        let batcher = it.running.batcher.clone();
        senders.push(it.running.tracker.spawn(async move {
            let mut pending = Vec::new();
            for n in 0..EACH {
                // The receiver may be the sender itself. The sequence differs for each sender.
                let to = 1 + (from * 7 + n * (from + 3)) % USERS;
                let (mut append, envelope) = message(from, to, &format!("{from}:{n}"));
                if from == to {
                    append.recipients = Arc::from([user(from)]);
                }
                pending.push(batcher.enter(append, envelope).unwrap());
                if n % 8 == 7 {
                    let deadline = Instant::now() + Duration::from_mins(1);
                    for entered in pending.drain(..) {
                        entered.answer(deadline).await.unwrap();
                    }
                }
            }
            let deadline = Instant::now() + Duration::from_mins(1);
            for entered in pending {
                entered.answer(deadline).await.unwrap();
            }
        }));
    }
    // Meanwhile locks come and go.
    let store = Arc::clone(&it.store);
    let locks = it.running.tracker.spawn(async move {
        for n in 0..400 {
            let locked = user(1 + n % USERS);
            store.lock(locked);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            store.unlock(locked);
            tokio::task::yield_now().await;
        }
    });
    for sender in senders {
        sender.await.unwrap();
    }
    locks.await.unwrap();
    for of in 1..=USERS {
        let texts = it.texts(of).await;
        let head = last(&it.running.stores, user(of)).await;
        assert_eq!(texts.len() as u64, head, "an inbox has no gap");
        let mut last: HashMap<&str, u64> = HashMap::new();
        for text in &texts {
            let (from, n) = text.split_once(':').unwrap();
            let n: u64 = n.parse().unwrap();
            let before = last.insert(from, n);
            assert!(before < Some(n), "{from}: {before:?} before {n}");
        }
        let own = texts.iter().filter(|it| it.starts_with(&format!("{of}:")));
        assert_eq!(own.count() as u64, EACH);
    }
    let (sink, stores) = (Arc::clone(&it.running.sink), it.running.stores.clone());
    it.stop().await;
    let mut pushed: HashMap<u64, Vec<u64>> = HashMap::new();
    for (of, seq) in sink.entries() {
        pushed.entry(of).or_default().push(seq);
    }
    for (of, seqs) in pushed {
        let head = last(&stores, user(of)).await;
        assert_eq!(seqs, (1..=head).collect::<Vec<_>>(), "pushes of {of}");
    }
}
