//! Cases of fan-out jobs: sends to more recipients than one batch holds (law 5).

use super::StoreFixture;
use super::helpers::{
    answer, append, contents, found, group, last, put, send, stored, to_group, together, user,
    users, work,
};
use crate::limits::FANOUT_CHUNK;
use crate::store::{AppendOutcome, JobStepOutcome, Roster, StoreSet};

/// Sends to the group, and checks that the send became a job.
async fn open(s: &StoreSet, id: u64, roster: &Roster, content: &str) {
    let outcome = append(s, to_group(group(id), roster, content.to_owned())).await;
    let AppendOutcome::Stored { seqs, job: true } = &outcome else {
        panic!("not a job: {outcome:?}");
    };
    assert_eq!(seqs.len(), 1, "the first recipient's entry is made at once");
    assert_eq!(seqs[0].0, roster.members[0].0);
}

pub(super) async fn a_large_send_is_made_in_parts(it: StoreFixture) {
    let s = &it.stores;
    let roster = found(s, group(1), &users(1..=2_500)).await;
    put(s, &[user(1), user(7)], "before").await;
    let outcome = append(s, to_group(group(1), &roster, "hi")).await;
    assert_eq!(answer(&outcome).get(), 2);
    assert_eq!((last(s, user(1)).await, last(s, user(2)).await), (2, 0));

    let lease = s.inbox.claim_job(Some(group(1))).await.unwrap().unwrap();
    assert_eq!(lease.group, group(1));
    let mut made = Vec::new();
    for (size, last) in [(FANOUT_CHUNK, false), (FANOUT_CHUNK, false), (499, true)] {
        let part = s.inbox.advance_job(&lease).await.unwrap();
        let JobStepOutcome::Entries {
            message,
            seqs,
            done,
        } = part
        else {
            panic!("lost");
        };
        assert_eq!((seqs.len(), done), (size, last));
        assert_eq!(message.content.0, "hi");
        for (who, seq) in &seqs {
            let read = super::helpers::head(s, *who).await.head;
            assert_eq!(read, *seq, "a part is there when it is answered");
        }
        made.extend(seqs);
    }
    let whom: Vec<_> = made.iter().map(|(who, _)| *who).collect();
    assert_eq!(whom, users(2..=2_500));
    assert_eq!(
        s.inbox.advance_job(&lease).await.unwrap(),
        JobStepOutcome::Lost
    );
    assert_eq!(s.inbox.claim_job(None).await.unwrap(), None);
    assert_eq!(contents(s, user(7)).await, ["before", "hi"]);
    assert_eq!(contents(s, user(2_500)).await, ["hi"]);
}

pub(super) async fn a_send_of_one_chunk_is_not_a_job(it: StoreFixture) {
    let s = &it.stores;
    let roster = found(s, group(1), &users(1..=FANOUT_CHUNK as u64)).await;
    let made = stored(append(s, to_group(group(1), &roster, "hi")).await);
    assert_eq!(made.len(), FANOUT_CHUNK);
    assert_eq!(s.inbox.claim_job(Some(group(1))).await.unwrap(), None);
}

/// While a job is open all sends of its group become jobs, so that all members see the same order.
pub(super) async fn small_sends_wait_behind_a_job(it: StoreFixture) {
    let s = &it.stores;
    let all = found(s, group(1), &users(1..=1_500)).await;
    let few = Roster {
        version: all.version,
        members: all.members[1_490..].into(),
    };
    open(s, 1, &all, "first").await;
    open(s, 1, &few, "second").await;
    open(s, 1, &all, "third").await;
    // Sends outside the group do not wait.
    put(s, &[user(1_500)], "direct").await;
    // Within one batch as well: the second send waits behind the job that the first one opens.
    let other = found(s, group(2), &users(1..=1_500)).await;
    let small = Roster {
        version: other.version,
        members: other.members[1_490..].into(),
    };
    let batch = [
        to_group(group(2), &other, "4th"),
        to_group(group(2), &small, "5th"),
    ];
    let outcomes = s.inbox.append(&batch).await.unwrap();
    for outcome in outcomes {
        assert!(matches!(outcome, AppendOutcome::Stored { job: true, .. }));
    }
    work(s, group(1)).await;
    assert_eq!(contents(s, user(1_000)).await, ["first", "third"]);
    assert_eq!(contents(s, user(1_499)).await, ["first", "second", "third"]);
    work(s, group(2)).await;
    assert_eq!(
        contents(s, user(1_500)).await,
        ["direct", "first", "second", "third", "4th", "5th"]
    );
    let after = stored(append(s, to_group(group(1), &few, "at once")).await);
    assert_eq!(
        after.len(),
        10,
        "with no job open a small send is stored whole"
    );
}

pub(super) async fn a_claim_is_for_the_oldest_job(it: StoreFixture) {
    let s = &it.stores;
    assert_eq!(s.inbox.claim_job(None).await.unwrap(), None);
    let mut rosters = Vec::new();
    for id in [2, 1, 3] {
        rosters.push((id, found(s, group(id), &users(1..=1_100)).await));
    }
    for (id, roster) in &rosters {
        open(s, *id, roster, "a").await;
    }
    open(s, 2, &rosters[0].1, "b").await;
    assert_eq!(s.inbox.claim_job(Some(group(4))).await.unwrap(), None);
    let mut order = Vec::new();
    while let Some(lease) = s.inbox.claim_job(None).await.unwrap() {
        let JobStepOutcome::Entries { message, done, .. } =
            s.inbox.advance_job(&lease).await.unwrap()
        else {
            panic!("lost");
        };
        if done {
            let content = String::from_utf8(message.content.0.to_vec()).unwrap();
            order.push((lease.group.get(), content));
        }
    }
    let of = |id| {
        order
            .iter()
            .filter(move |(it, _)| *it == id)
            .map(|(_, it)| it.as_str())
    };
    assert_eq!(order.len(), 4);
    assert_eq!(
        of(2).collect::<Vec<_>>(),
        ["a", "b"],
        "jobs of a group run in order"
    );
    assert_eq!((of(1).count(), of(3).count()), (1, 1));
}

/// A node that returns after its lease was taken over changes nothing.
pub(super) async fn an_old_lease_changes_nothing(it: StoreFixture) {
    let s = &it.stores;
    let roster = found(s, group(1), &users(1..=3_500)).await;
    open(s, 1, &roster, "hi").await;
    open(s, 1, &roster, "ho").await;
    let old = s.inbox.claim_job(Some(group(1))).await.unwrap().unwrap();
    let JobStepOutcome::Entries { done: false, .. } = s.inbox.advance_job(&old).await.unwrap()
    else {
        panic!("a claimed job goes on");
    };
    let new = s.inbox.claim_job(None).await.unwrap().unwrap();
    assert_eq!((new.group, new.job), (old.group, old.job));
    assert!(new.generation > old.generation);
    for _ in 0..3 {
        assert_eq!(
            s.inbox.advance_job(&old).await.unwrap(),
            JobStepOutcome::Lost
        );
    }
    let mut made = 0;
    while let JobStepOutcome::Entries { seqs, done, .. } = s.inbox.advance_job(&new).await.unwrap()
    {
        made += seqs.len();
        assert_eq!(done, made == 2_499);
    }
    assert_eq!(made, 2_499, "the new holder goes on where the old one was");
    // The next job needs a claim of its own.
    for lease in [&old, &new] {
        assert_eq!(
            s.inbox.advance_job(lease).await.unwrap(),
            JobStepOutcome::Lost
        );
    }
    assert_eq!(contents(s, user(3_500)).await, ["hi"]);
    work(s, group(1)).await;
    assert_eq!(contents(s, user(3_500)).await, ["hi", "ho"]);
}

/// Each entry is made once, even if many workers take jobs from each other.
pub(super) async fn many_workers_make_each_entry_once(it: StoreFixture) {
    let s = it.stores;
    let roster = found(&s, group(1), &users(1..=2_200)).await;
    for content in ["a", "b", "c"] {
        open(&s, 1, &roster, content).await;
    }
    let made = together(8, |_| {
        let s = s.clone();
        async move { work(&s, group(1)).await }
    })
    .await;
    assert_eq!(made.iter().map(Vec::len).sum::<usize>(), 3 * 2_199);
    for who in (1..=2_200).step_by(100).map(user) {
        assert_eq!(contents(&s, who).await, ["a", "b", "c"]);
    }
    let heads = s.seq.heads(&users(1..=2_200)).await.unwrap();
    assert!(heads.iter().all(|it| it.head.get() == 3));
}

/// Sends of the group that arrive while its jobs run are queued behind them.
pub(super) async fn sends_during_a_job_keep_the_order(it: StoreFixture) {
    let s = it.stores;
    let roster = found(&s, group(1), &users(1..=1_300)).await;
    open(&s, 1, &roster, "first").await;
    let sender = roster.clone();
    let sending = s.clone();
    let worker = s.clone();
    let ((), _) = tokio::join!(
        async move {
            for n in 0..10 {
                answer(&append(&sending, to_group(group(1), &sender, format!("{n}"))).await);
                stored(append(&sending, send(&[user(9_999)], "aside")).await);
                tokio::task::yield_now().await;
            }
        },
        async move {
            let mut made = Vec::new();
            for _ in 0..20 {
                made.extend(work(&worker, group(1)).await);
                tokio::task::yield_now().await;
            }
            made
        },
    );
    work(&s, group(1)).await;
    let one = contents(&s, user(2)).await;
    assert_eq!(one.len(), 11);
    assert_eq!(one[0], "first");
    for who in [3, 999, 1_002, 1_300] {
        assert_eq!(contents(&s, user(who)).await, one);
    }
}
