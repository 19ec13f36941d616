//! Law 11: a removed member receives nothing that was accepted after the answer to its removal, and
//! a new member everything that was accepted after the answer to its addition.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gimlet_client::pb;
use gimlet_tests::scenario::{Device, Group, MatrixCell, ScenarioStore, soon};
use prost::Message as _;
use tokio::sync::watch;

use crate::{CoveredCells, ScenarioCase, stories};

pub(crate) fn all() -> Vec<ScenarioCase> {
    stories!(group_removal, CoveredCells::Every => [
        nothing_is_accepted_for_a_member_after_its_removal_was_answered,
    ])
}

/// Returns the number of removals and additions; on the cluster each change is a commit on disk.
const fn rounds(store: ScenarioStore) -> u64 {
    match store {
        ScenarioStore::Memory | ScenarioStore::Sled => 100,
        ScenarioStore::Cluster => 25,
    }
}

/// State of the membership, as the senders read it before and after a send.
#[derive(Default)]
struct RemovalExpectations {
    /// Odd after the answer to an addition, even after the answer to a removal.
    phase: AtomicU64,
    /// Set while a change is in flight: then either result is right.
    changing: AtomicBool,
    done: AtomicBool,
    /// Number of recorded sends.
    noted: watch::Sender<u64>,
    /// Texts of messages that the member must have, and of those that it must not have.
    must: Mutex<BTreeSet<String>>,
    must_not: Mutex<BTreeSet<String>>,
}

impl RemovalExpectations {
    /// Waits until a send has begun and ended between two changes.
    async fn waits_for_a_send(&self) {
        let mut noted = self.noted.subscribe();
        soon("a send", noted.changed()).await.unwrap();
    }
}

async fn nothing_is_accepted_for_a_member_after_its_removal_was_answered(cell: &MatrixCell) {
    let world = cell
        .start_with(|config| {
            config.limits.node.send_rate = 1_000_000;
            config.limits.node.send_burst = 1_000_000;
        })
        .await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let carol = world.absent("Carol").await;
    let group = alice.phone.creates_a_group(&[&bob, &carol]).await;
    let (known, rounds) = (RemovalExpectations::default(), rounds(cell.store));
    known.phase.store(1, Ordering::SeqCst);
    let changes = async {
        for _ in 0..rounds {
            // The flag brackets each change, and the phase changes inside: a send that sees the
            // same phase and no flag both before and after it ran between two changes.
            known.changing.store(true, Ordering::SeqCst);
            alice.phone.removes(&carol, &group).await;
            known.phase.fetch_add(1, Ordering::SeqCst);
            known.changing.store(false, Ordering::SeqCst);
            known.waits_for_a_send().await;
            known.changing.store(true, Ordering::SeqCst);
            alice.phone.adds(&carol, &group).await;
            known.phase.fetch_add(1, Ordering::SeqCst);
            known.changing.store(false, Ordering::SeqCst);
            known.waits_for_a_send().await;
        }
        known.done.store(true, Ordering::SeqCst);
    };
    let ((), sent, more) = tokio::join!(
        changes,
        send_until_done(&alice.phone, &group, &known),
        send_until_done(&bob.phone, &group, &known),
    );
    assert!(
        sent > rounds && more > rounds,
        "the senders were there: {sent}, {more}"
    );
    let has = inbox_of(&carol.phone).await;
    let (must, must_not) = (known.must.lock().unwrap(), known.must_not.lock().unwrap());
    assert!(
        !must.is_empty() && !must_not.is_empty(),
        "both kinds were sent"
    );
    let lost: Vec<_> = must.difference(&has).collect();
    assert!(
        lost.is_empty(),
        "sent while a member, and not received: {lost:?}"
    );
    let leaked: Vec<_> = must_not.intersection(&has).collect();
    assert!(
        leaked.is_empty(),
        "sent after the removal was answered: {leaked:?}"
    );
}

/// Sends continuously and records the texts that the member must and must not receive.
async fn send_until_done(device: &Device, group: &Group, known: &RemovalExpectations) -> u64 {
    let mut sent = 0;
    while !known.done.load(Ordering::SeqCst) {
        let text = format!("{} {sent}", device.who.user_id);
        let before = known.phase.load(Ordering::SeqCst);
        let quiet = !known.changing.load(Ordering::SeqCst);
        device.sends(&text).to(group).await;
        sent += 1;
        let still = before == known.phase.load(Ordering::SeqCst);
        let still_quiet = !known.changing.load(Ordering::SeqCst);
        if !quiet || !still || !still_quiet {
            continue;
        }
        let list = if before % 2 == 1 {
            &known.must
        } else {
            &known.must_not
        };
        list.lock().unwrap().insert(text);
        known.noted.send_modify(|noted| *noted += 1);
    }
    sent
}

async fn inbox_of(device: &Device) -> BTreeSet<String> {
    let mut bare = device.fixture().bare().await;
    bare.signs_in(&device.who, 1).await;
    let texts = bare
        .syncs(0)
        .await
        .into_iter()
        .filter(|m| m.message_type == 1)
        .map(|message| pb::Text::decode(message.message_content).unwrap().text);
    texts.collect()
}
