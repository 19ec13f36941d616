//! Row locks that another session, or a frozen node, holds for seconds.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gimlet_core::business::OpenBusiness;
use gimlet_core::id::DeviceId;
use gimlet_core::limits::Limits;
use gimlet_core::message::{MessageDraft, MessageSender};
use gimlet_core::node::{NodeBuilder, RunningNode};
use gimlet_core::store::{AppendOutcome, StoreErrorKind, StoreSet};
use gimlet_kit::backend::BackendAddresses;
use gimlet_kit::proxy::ProxyMode;
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::helpers::{append, contents, kind, send, stored, through, user};
use crate::support::TestDatabase;

/// Time for which the locks are held.
const OUTAGE: Duration = Duration::from_secs(3);
/// Users whose rows are locked, each with its own sender.
const VICTIMS: std::ops::RangeInclusive<u64> = 1..=8;
/// Pairs of users that share no rows with them.
const PAIRS: u64 = 16;

async fn run(conn: &mut MySqlConnection, sql: &str) {
    let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    query.execute(conn).await.unwrap();
}

pub(super) async fn a_locked_row_is_reported_and_nothing_is_stored(servers: BackendAddresses) {
    let place = TestDatabase::new(&servers).await;
    let s = place.open().await.stores;
    let first = send(&[1, 2], "first", Some("a"));
    stored(&append(&s, &first).await.unwrap());
    let mut other = MySqlConnection::connect(&place.config.mysql.url)
        .await
        .unwrap();
    let locks = [
        ("SELECT * FROM inbox_head WHERE user_id = 2 FOR UPDATE", "b"),
        ("SELECT * FROM send_key WHERE id = 'a' FOR UPDATE", "a"),
    ];
    for (lock, key) in locks {
        run(&mut other, "BEGIN").await;
        run(&mut other, lock).await;
        let free = send(&[3, 4], "free", None);
        // One locked send and one free send; the free one alone can be stored.
        let both = [send(&[1, 2], "locked", Some(key)), free.clone()];
        let began = Instant::now();
        assert_eq!(
            kind(s.inbox.append_now(&both).await),
            StoreErrorKind::Contended
        );
        stored(&s.inbox.append_now(&both[1..]).await.unwrap()[0]);
        let at_once = began.elapsed();
        assert_eq!(kind(s.inbox.append(&both).await), StoreErrorKind::Contended);
        assert!(
            at_once * 2 < began.elapsed(),
            "the server was asked to wait: {at_once:?}"
        );
        run(&mut other, "ROLLBACK").await;
    }
    assert_eq!(contents(&s, 2).await, ["first"]);
    assert_eq!(contents(&s, 4).await, ["free", "free"]);
    // Without the lock, the send is a repeat of the first one: the failed append left its key
    // unchanged.
    let again = s.inbox.append_now(&[first]).await.unwrap();
    assert!(
        matches!(again[0], AppendOutcome::Repeated { .. }),
        "{again:?}"
    );
}

/// Counts of answers to the senders of a run.
#[derive(Debug, Default)]
struct AnswerCounts {
    stored: AtomicU64,
    refused: AtomicU64,
}

/// Senders in a closed loop; each records which of its messages were stored.
struct SenderLoad {
    node: RunningNode,
    stop: Arc<AtomicBool>,
    senders: JoinSet<(u64, u64, Vec<String>, HashSet<String>)>,
}

impl SenderLoad {
    fn start(stores: StoreSet) -> Self {
        Self::with(stores, Limits::default())
    }

    fn with(stores: StoreSet, limits: Limits) -> Self {
        let mut node = NodeBuilder::new(stores, Arc::new(OpenBusiness));
        node.limits = limits;
        // The locks are to hold the senders up, not their rate.
        (node.limits.send_rate, node.limits.send_burst) = (1_000_000, 1_000_000);
        Self {
            node: node.start(),
            stop: Arc::default(),
            senders: JoinSet::new(),
        }
    }

    /// Sends from one user to another until the end. Counts a send that was refused as unavailable
    /// or unknown.
    fn send(&mut self, from: u64, to: u64, answers: &Arc<AnswerCounts>) {
        let (node, stop, answers) = (
            self.node.clone(),
            Arc::clone(&self.stop),
            Arc::clone(answers),
        );
        self.senders.spawn(async move {
            let (mut stored, mut unknown) = (Vec::new(), HashSet::new());
            let sender = MessageSender::User {
                user: user(from),
                device: DeviceId::new(from),
            };
            for n in 0.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                // The proxy recognises an entry by these words.
                let text = format!("{from}:{n} strike here");
                let began = Instant::now();
                match node
                    .service()
                    .send(sender, MessageDraft::text(user(to), &text))
                    .await
                {
                    Ok(_) => {
                        stored.push(text);
                        answers.stored.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(refusal) => {
                        assert!([4, 14].contains(&refusal.code()), "{refusal:?}");
                        // 1.5 s, plus a second for a busy machine.
                        assert!(
                            began.elapsed() < Duration::from_millis(2_500),
                            "{refusal:?}"
                        );
                        if refusal.code() == 4 {
                            unknown.insert(text);
                        }
                        answers.refused.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
            (from, to, stored, unknown)
        });
    }

    /// Stops the load, then checks every inbox: it has the answered messages, in the sender's
    /// order, and no refused ones.
    async fn stop(mut self, stores: &StoreSet) {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(sender) = self.senders.join_next().await {
            let (from, to, answered, unknown) = sender.unwrap();
            for of in [from, to] {
                let texts = contents(stores, of).await;
                let own = texts
                    .into_iter()
                    .filter(|it| it.starts_with(&format!("{from}:")));
                let own: Vec<String> = own.filter(|it| !unknown.contains(it)).collect();
                assert_eq!(own, answered, "the inbox of {of}");
            }
        }
        self.node.stop().await;
    }
}

/// Checks that other sends continued while some waited for locks.
fn judge(meanwhile: u64, free: &AnswerCounts) {
    assert!(meanwhile >= 30, "only {meanwhile} sends of others went on");
    // One send per pair may share a batch with a locked one, if the machine is too busy to split
    // the batch in time.
    let refused = free.refused.load(Ordering::SeqCst);
    assert!(refused <= PAIRS, "{refused} sends of others were refused");
}

pub(super) async fn locked_users_delay_no_other_users(servers: BackendAddresses) {
    let place = TestDatabase::new(&servers).await;
    let s = place.open().await.stores;
    let mut other = MySqlConnection::connect(&place.config.mysql.url)
        .await
        .unwrap();
    let mut load = SenderLoad::start(s.clone());
    let (free, locked) = (
        Arc::<AnswerCounts>::default(),
        Arc::<AnswerCounts>::default(),
    );
    for victim in VICTIMS {
        load.send(100 + victim, victim, &locked);
    }
    for pair in 0..PAIRS {
        load.send(200 + pair, 300 + pair, &free);
    }
    while locked.stored.load(Ordering::SeqCst) < 50 {
        tokio::task::yield_now().await;
    }
    run(&mut other, "BEGIN").await;
    let lock = format!(
        "SELECT * FROM inbox_head WHERE user_id BETWEEN {} AND {} FOR UPDATE",
        VICTIMS.start(),
        VICTIMS.end()
    );
    run(&mut other, &lock).await;
    let before = free.stored.load(Ordering::SeqCst);
    sleep(OUTAGE).await;
    let meanwhile = free.stored.load(Ordering::SeqCst) - before;
    run(&mut other, "ROLLBACK").await;
    let refused = locked.refused.load(Ordering::SeqCst);
    let stored = locked.stored.load(Ordering::SeqCst);
    println!("{meanwhile} sends of others in {OUTAGE:?}; {refused} of the locked ones refused");
    while locked.stored.load(Ordering::SeqCst) < stored + 20 {
        tokio::task::yield_now().await;
    }
    load.stop(&s).await;
    assert!(refused > 0, "the lock was never hit");
    judge(meanwhile, &free);
}

pub(super) async fn a_frozen_node_holds_up_nobody_else(servers: BackendAddresses) {
    let place = TestDatabase::new(&servers).await;
    let s = place.open().await.stores;
    // A second node, whose connections freeze in the middle of its transactions.
    let (proxy, url) = through(&place.config.mysql.url).await;
    let mut frozen = place.config.clone();
    frozen.mysql.url = url;
    let clock = Arc::new(gimlet_core::time::SystemClock);
    let frozen = gimlet_storage_mysql::open(&frozen, clock)
        .await
        .unwrap()
        .stores;
    let mut its_load = SenderLoad::start(frozen);
    let mut load = SenderLoad::start(s.clone());
    let (its, shared, free) = (
        Arc::<AnswerCounts>::default(),
        Arc::<AnswerCounts>::default(),
        Arc::<AnswerCounts>::default(),
    );
    for victim in VICTIMS {
        its_load.send(400 + victim, victim, &its);
        load.send(100 + victim, victim, &shared);
    }
    for pair in 0..PAIRS {
        load.send(200 + pair, 300 + pair, &free);
    }
    while its.stored.load(Ordering::SeqCst) < 50 {
        tokio::task::yield_now().await;
    }
    proxy.set(ProxyMode::FreezeEntry);
    while proxy.struck() == 0 {
        tokio::task::yield_now().await;
    }
    let before = free.stored.load(Ordering::SeqCst);
    sleep(OUTAGE).await;
    let meanwhile = free.stored.load(Ordering::SeqCst) - before;
    proxy.set(ProxyMode::Pass);
    println!("{meanwhile} sends of others in {OUTAGE:?}");
    its_load.stop.store(true, Ordering::SeqCst);
    let (after, answered) = (
        shared.stored.load(Ordering::SeqCst),
        its.stored.load(Ordering::SeqCst),
    );
    while shared.stored.load(Ordering::SeqCst) < after + 20 {
        tokio::task::yield_now().await;
    }
    its_load.stop(&s).await;
    load.stop(&s).await;
    assert!(answered > 0);
    judge(meanwhile, &free);
}

/// Measures the sends per second with full batches and slow commits.
async fn rate_with(servers: &BackendAddresses, parallel_batches: u32) -> u64 {
    let mut place = TestDatabase::new(servers).await;
    let (proxy, url) = through(&place.config.mysql.url).await;
    place.config.mysql.url = url;
    place.config.mysql.parallel_batches = parallel_batches;
    let s = place.open().await.stores;
    // More senders than all batches hold, so that each batch is full when it starts.
    let limits = Limits {
        batch_sends: 8,
        ..Limits::default()
    };
    let mut load = SenderLoad::with(s.clone(), limits);
    let answers = Arc::<AnswerCounts>::default();
    for pair in 0..96 {
        load.send(1_000 + pair, 2_000 + pair, &answers);
    }
    let stored = || answers.stored.load(Ordering::SeqCst);
    while stored() < 200 {
        tokio::task::yield_now().await;
    }
    proxy.set(ProxyMode::SlowCommit(20));
    let (before, began) = (stored(), Instant::now());
    sleep(Duration::from_secs(2)).await;
    let rate = (stored() - before) * 1_000 / u64::try_from(began.elapsed().as_millis()).unwrap();
    proxy.set(ProxyMode::Pass);
    load.stop(&s).await;
    rate
}

pub(super) async fn slow_commits_are_made_up_for_by_batches_in_flight(servers: BackendAddresses) {
    let (one, eight) = (rate_with(&servers, 1).await, rate_with(&servers, 8).await);
    println!("commits of 20 ms, batches of 8: {one} sends/s one at a time, {eight} with eight");
    assert!(
        eight >= 2 * one,
        "{one} sends/s one at a time, {eight} with eight"
    );
}
