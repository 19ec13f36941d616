//! The victim: senders, readers, sign-ins and a worker for jobs, all at once, until it is killed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gimlet_core::events::EventBody;
use gimlet_core::id::{DeviceId, NodeId};
use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_core::store::{
    AppendOutcome, HookClaimOutcome, JobStepOutcome, LeasedOutcome, OutboxRow, StoreSet,
};
use gimlet_core::time::{SystemClock, UnixTimestamp};
use gimlet_storage_sled::{Config, DurabilityLevel, FlushGate, open};
use tokio::task::JoinSet;

use super::plan::{SENDERS, SendName, USERS, hook, user};

/// Answers after which a victim that is to hold its flush does so.
const ANSWERS_BEFORE_HOLD: u64 = 120;

/// Writes until it is killed.
pub(crate) fn write(dir: &Path, run: u64, durability: DurabilityLevel) {
    let hold = std::env::args().any(|it| it == "hold");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let config = Config {
            durability,
            min_free: 0,
            ..Config::new(dir)
        };
        let it = open(&config, Arc::new(SystemClock)).expect("the directory opens");
        let answers = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for sender in 0..SENDERS {
            tasks.spawn(send(it.stores.clone(), run, sender, Arc::clone(&answers)));
        }
        for part in 0..4 {
            tasks.spawn(read(it.stores.clone(), part));
        }
        tasks.spawn(sign_in(it.stores.clone()));
        tasks.spawn(work(it.stores.clone()));
        tasks.spawn(deliver(it.stores.clone()));
        if hold {
            tasks.spawn(stop(it.stores.clone(), it.flush_gate(), answers));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no task panics");
        }
    });
}

/// Prints one line in one write.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).expect("stdout is open");
    out.flush().expect("stdout is open");
}

async fn send(stores: StoreSet, run: u64, sender: u64, answers: Arc<AtomicU64>) {
    for number in 0.. {
        let name = SendName {
            run,
            sender,
            number,
        };
        let outcome = stores.inbox.append(&[name.send()]).await;
        let outcome = outcome.expect("it is stored").remove(0);
        let AppendOutcome::Stored { seqs, .. } = outcome else {
            panic!("a new send is stored: {outcome:?}");
        };
        let mut line = format!("sent {sender} {number}");
        for (user, seq) in seqs {
            write!(line, " {} {seq}", user.get()).expect("a String takes it");
        }
        say(&(line + "\n"));
        answers.fetch_add(1, Ordering::Relaxed);
    }
}

/// Follows some inboxes, and prints the seqs it was shown.
async fn read(stores: StoreSet, part: u64) {
    let mut cursors = vec![Seq::ZERO; usize::try_from(USERS).expect("a small number")];
    loop {
        for (n, cursor) in (1..).zip(&mut cursors) {
            if n % 4 == part {
                *cursor = look(&stores, n, *cursor).await;
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Reads a page and prints its last seq.
async fn look(stores: &StoreSet, n: u64, cursor: Seq) -> Seq {
    let page = stores.inbox.after(user(n), cursor, PageLimit::items(50));
    let page = page.await.expect("it is read");
    for (entry, want) in page.items.iter().zip(cursor.get() + 1..) {
        assert_eq!(entry.seq.get(), want, "a page has a hole");
    }
    let Some(last) = page.items.last() else {
        return cursor;
    };
    say(&format!("seen {n} {}\n", last.seq));
    last.seq
}

async fn sign_in(stores: StoreSet) {
    for n in 0.. {
        let device = DeviceId::new(1 + n % 5).expect("a device's number");
        let sign_in = [(device, user(1))];
        let raised = stores.device.raise(&sign_in, UnixTimestamp(1)).await;
        let raised = raised.expect("it is raised");
        say(&format!("raised {} {}\n", device.get(), raised[0].0));
    }
}

/// Advances jobs. It claims each part anew, as a worker that takes over does.
async fn work(stores: StoreSet) {
    loop {
        let lease = stores.inbox.claim_job(None).await.expect("it is asked");
        match lease {
            Some(lease) => {
                let part = stores.inbox.advance_job(&lease).await;
                assert_ne!(part.expect("it advances"), JobStepOutcome::Lost);
            }
            None => tokio::task::yield_now().await,
        }
    }
}

/// Delivers events: prints each, and then removes it.
async fn deliver(stores: StoreSet) {
    let (outbox, hook) = (&stores.outbox, hook());
    let node = NodeId::boot("local");
    let claimed = outbox.claim(&hook, &node, None).await.expect("it is asked");
    let HookClaimOutcome::Claimed(lease) = claimed else {
        panic!("an earlier run of this node holds it: {claimed:?}");
    };
    loop {
        let page = outbox.read(&hook, &[], PageLimit::items(20)).await;
        let rows = page.expect("it is read").items;
        for row in &rows {
            let name = delivered_name(row);
            say(&format!("delivered {} {}\n", name.sender, name.number));
        }
        let positions: Vec<_> = rows.iter().map(|row| row.position).collect();
        let removed = outbox.remove(&lease, &positions).await;
        assert_eq!(removed.expect("they are removed"), LeasedOutcome::Done);
        tokio::task::yield_now().await;
    }
}

/// Returns the name of the send that an event is about.
pub(crate) fn delivered_name(row: &OutboxRow) -> SendName {
    let event = row.event.as_ref().expect("a readable event");
    let EventBody::Message { message, .. } = &event.body else {
        panic!("only messages have events here: {event:?}");
    };
    assert_eq!(event.id.as_bytes(), message.id.as_bytes());
    SendName::of_content(&message.content.0)
}

/// Holds the flush, makes every reader look again, and prints `held`.
async fn stop(stores: StoreSet, gate: FlushGate, answers: Arc<AtomicU64>) {
    while answers.load(Ordering::Relaxed) < ANSWERS_BEFORE_HOLD {
        tokio::task::yield_now().await;
    }
    gate.hold();
    gate.reached().await;
    for n in 1..=USERS {
        let head = stores.seq.heads(&[user(n)]).await.expect("it is read");
        say(&format!("seen {n} {}\n", head[0].head));
        look(&stores, n, head[0].head.prev()).await;
    }
    say("held\n");
}
