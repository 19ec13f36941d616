//! Group sends that are larger than one chunk.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::*;
use crate::limits::FANOUT_CHUNK;
use crate::store::{
    AppendOutcome, AppendRequest, InboxSlice, InboxStore, JobLease, JobStepOutcome, StoreError,
    StoreErrorKind,
};
use crate::testkit::helpers;

const LARGE: u64 = 2_500;

impl ServiceFixture {
    async fn heads(&self, of: impl Iterator<Item = u64>) -> Vec<u64> {
        let users: Vec<UserId> = of.map(user).collect();
        let heads = self.service.heads(&users).await.unwrap();
        heads.iter().map(|head| head.head.get()).collect()
    }

    /// Waits until all members have that many entries. Claims no job, which would take it away from
    /// the runner.
    async fn settled(&self, members: u64, head: u64) {
        let all = async {
            while self.heads(1..=members).await.iter().any(|h| *h < head) {
                // A sleep and not a yield: time is paused, and the runner's pauses have to pass.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let settled = tokio::time::timeout(Duration::from_mins(1), all).await;
        settled.expect("the runner finishes its jobs");
    }
}

#[tokio::test]
async fn a_large_group_gets_all_in_one_order() {
    let world = service_fixture();
    let group = world.group(1..=LARGE).await;
    assert!(usize::try_from(LARGE).unwrap() > 2 * FANOUT_CHUNK);
    for n in 1..=3 {
        let text = format!("m{n}");
        let sent = world.service.send(from(n), to_group(group, &text)).await;
        assert!(sent.unwrap().seq > Seq::ZERO);
    }
    world.settled(LARGE, 3).await;
    for member in [4, 1_200, LARGE] {
        assert_eq!(world.texts(member).await, ["m1", "m2", "m3"]);
    }
    let sink = Arc::clone(&world.sink);
    world.stop().await;
    let entries = sink.entries();
    assert_eq!(entries.len(), 3 * usize::try_from(LARGE).unwrap());
    assert_eq!(entries.iter().collect::<HashSet<_>>().len(), entries.len());
}

#[tokio::test]
async fn a_push_to_a_large_group_is_finished_as_well() {
    let world = service_fixture();
    let group = world.group(1..=LARGE).await;
    let new = [user(2_600)];
    let added = world.service.add_members(user(7), group, &new);
    added.await.unwrap();
    world.settled(LARGE, 1).await;
    assert_eq!(world.pushes(1).await, ["120"]);
    assert_eq!(world.pushes(LARGE).await, ["120"]);
}

/// Stores a large send, as a node does that dies before it works on the job.
async fn leave(stores: &StoreSet, group: GroupId) {
    let roster = helpers::roster(stores, group).await;
    let append = helpers::to_group(group, &roster, "left");
    stores.inbox.append(&[append]).await.unwrap();
}

#[tokio::test]
async fn what_a_node_leaves_behind_is_finished_by_the_next() {
    let stores = memory::stores();
    let first = service_fixture_with(stores.clone(), Limits::default(), ServerPolicy::default());
    let group = first.group(1..=LARGE).await;
    first.stop().await;
    // The node dies before it works on the job.
    leave(&stores, group).await;
    let second = service_fixture_with(stores, Limits::default(), ServerPolicy::default());
    second.settled(LARGE, 1).await;
    assert_eq!(second.texts(LARGE).await, ["left"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_never_idle_finds_what_others_leave_behind() {
    let stores = memory::stores();
    let world = service_fixture_with(stores.clone(), Limits::default(), ServerPolicy::default());
    let group = world.group(1..=LARGE).await;
    let busy = world.group(1..=3).await;
    // The runner has looked for jobs once.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    leave(&stores, group).await;
    for _ in 0..100 {
        world.service.inner.jobs.wake(busy);
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(world.heads([LARGE].into_iter()).await, [1]);
    world.stop().await;
}

/// A store whose jobs advance when the test permits it, and whose jobs of one group always fail.
#[derive(Debug)]
struct HeldJobs {
    inner: Arc<dyn InboxStore>,
    steps: Semaphore,
    failing: Mutex<Option<GroupId>>,
    /// The groups of the stored chunks, in order.
    made: Mutex<Vec<GroupId>>,
    /// Chunks that were begun.
    begun: AtomicUsize,
    /// Holds claims that found no job of a group until `resume` has a permit.
    holds_claims: AtomicBool,
    held_claims: Semaphore,
    resume: Semaphore,
}

#[async_trait]
impl InboxStore for HeldJobs {
    async fn append(&self, batch: &[AppendRequest]) -> Result<Vec<AppendOutcome>, StoreError> {
        self.inner.append(batch).await
    }

    async fn after(&self, u: UserId, s: Seq, l: PageLimit) -> Result<InboxSlice, StoreError> {
        self.inner.after(u, s, l).await
    }

    async fn trim(&self, user: UserId, upto: Seq) -> Result<(), StoreError> {
        self.inner.trim(user, upto).await
    }

    async fn claim_job(&self, group: Option<GroupId>) -> Result<Option<JobLease>, StoreError> {
        let claimed = self.inner.claim_job(group).await?;
        if claimed.is_none() && group.is_some() && self.holds_claims.load(Ordering::SeqCst) {
            self.held_claims.add_permits(1);
            self.resume.acquire().await.unwrap().forget();
        }
        Ok(claimed)
    }

    async fn advance_job(&self, lease: &JobLease) -> Result<JobStepOutcome, StoreError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.steps.acquire().await.unwrap().forget();
        if *self.failing.lock().unwrap() == Some(lease.group) {
            return Err(StoreError::new(
                "inbox.advance_job",
                StoreErrorKind::Contended,
            ));
        }
        self.made.lock().unwrap().push(lease.group);
        self.inner.advance_job(lease).await
    }

    async fn sweep(&self, max: usize) -> Result<usize, StoreError> {
        self.inner.sweep(max).await
    }
}

fn held_jobs_fixture(limits: Limits) -> (ServiceFixture, Arc<HeldJobs>) {
    let mut stores = memory::stores();
    let held = Arc::new(HeldJobs {
        inner: Arc::clone(&stores.inbox),
        steps: Semaphore::new(0),
        failing: Mutex::default(),
        made: Mutex::default(),
        begun: AtomicUsize::new(0),
        holds_claims: AtomicBool::new(false),
        held_claims: Semaphore::new(0),
        resume: Semaphore::new(0),
    });
    stores.inbox = Arc::clone(&held) as _;
    (
        service_fixture_with(stores, limits, ServerPolicy::default()),
        held,
    )
}

#[tokio::test(start_paused = true)]
async fn a_group_that_has_too_much_to_deliver_is_refused_until_there_is_room() {
    let limits = Limits {
        group_backlog: 6_000,
        ..Limits::default()
    };
    let (world, held) = held_jobs_fixture(limits);
    let group = world.group(1..=LARGE).await;
    let small = world.group(1..=100).await;
    // Another text each time: the same text would be a repeat of the first send.
    let words = AtomicUsize::new(0);
    let send = |group| {
        let n = words.fetch_add(1, Ordering::SeqCst);
        world.service.send(from(1), to_group(group, &n.to_string()))
    };
    for _ in 0..2 {
        send(group).await.unwrap();
    }
    let refusal = send(group).await.unwrap_err();
    assert_eq!(refusal.code(), 8);
    assert!(refusal.retry_after().is_some(), "{refusal:?}");
    assert_eq!(world.service.job_backlog().1, 1);
    // Other sends are not affected.
    send(small).await.unwrap();
    world.service.send(from(1), to_user(2, "hi")).await.unwrap();
    // The first job's two chunks make room for the next send.
    held.steps.add_permits(2);
    while send(group).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    held.steps.add_permits(1_000);
    world.settled(LARGE, 3).await;
    // The refused sends were not stored.
    assert_eq!(world.texts(LARGE).await.len(), 3);
    while world.service.job_backlog() != (0, 0) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_backlog_delays_another_group_by_one_chunk_at_a_time() {
    let (world, held) = held_jobs_fixture(Limits::default());
    let (long, short) = (world.group(1..=LARGE).await, world.group(1..=LARGE).await);
    for n in 0..20 {
        world
            .service
            .send(from(1), to_group(long, &n.to_string()))
            .await
            .unwrap();
    }
    world
        .service
        .send(from(2), to_group(short, "short"))
        .await
        .unwrap();
    held.steps.add_permits(1_000);
    world.settled(LARGE, 21).await;
    let made = held.made.lock().unwrap().clone();
    let last = made.iter().rposition(|group| *group == short).unwrap();
    // Two chunks of each, and those that a sweep or the first claim had already begun.
    assert!(
        last < 8,
        "the short job was done at step {last} of {}",
        made.len()
    );
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_group_whose_parts_fail_delays_no_other() {
    let (world, held) = held_jobs_fixture(Limits::default());
    let (failing, sound) = (world.group(1..=LARGE).await, world.group(1..=LARGE).await);
    *held.failing.lock().unwrap() = Some(failing);
    world
        .service
        .send(from(1), to_group(failing, "stuck"))
        .await
        .unwrap();
    for n in 0..20 {
        world
            .service
            .send(from(2), to_group(sound, &n.to_string()))
            .await
            .unwrap();
    }
    let began = tokio::time::Instant::now();
    held.steps.add_permits(1_000);
    let all_made = || {
        held.made
            .lock()
            .unwrap()
            .iter()
            .filter(|it| **it == sound)
            .count()
            >= 40
    };
    while !all_made() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(
        began.elapsed() < Duration::from_millis(500),
        "{:?}",
        began.elapsed()
    );
    *held.failing.lock().unwrap() = None;
    world.settled(LARGE, 21).await;
    world.stop().await;
}

/// The entries of a job that was opened after the claim had found none were taken out of the
/// backlog, so more jobs than the limit were accepted.
#[tokio::test(start_paused = true)]
async fn a_job_that_is_opened_while_the_runner_finds_none_stays_in_the_backlog() {
    let (world, held) = held_jobs_fixture(Limits::default());
    let group = world.group(1..=LARGE).await;
    held.holds_claims.store(true, Ordering::SeqCst);
    world.service.inner.jobs.wake(group);
    held.held_claims.acquire().await.unwrap().forget();
    let sent = world.service.send(from(1), to_group(group, "hi")).await;
    sent.unwrap();
    held.holds_claims.store(false, Ordering::SeqCst);
    held.resume.add_permits(1);
    while held.begun.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(world.service.job_backlog(), (LARGE, 1));
    held.steps.add_permits(1_000);
    world.settled(LARGE, 1).await;
    while world.service.job_backlog() != (0, 0) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_push_to_a_large_group_counts_in_the_backlog() {
    let (world, held) = held_jobs_fixture(Limits::default());
    let group = world.group(1..=LARGE).await;
    let new = [user(2_600)];
    let added = world.service.add_members(user(7), group, &new);
    added.await.unwrap();
    assert_eq!(world.service.job_backlog(), (LARGE + 1, 1));
    held.steps.add_permits(1_000);
    world.settled(LARGE, 1).await;
    while world.service.job_backlog() != (0, 0) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.stop().await;
}
