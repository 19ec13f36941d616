//! Order and fairness of concurrent sends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::events::NewEvent;
use crate::store::{
    AppendOutcome, AppendRequest, Group, GroupChange, GroupChangeOutcome, GroupStore, InboxStore,
    Member, NewGroup, Roster, RosterVersion, StoreError,
};
use crate::test_fixtures::inbox_store_over_inner;

/// A store with a delay for each batch.
#[derive(Debug)]
struct SlowStore {
    inner: Arc<dyn InboxStore>,
    each: Duration,
}

inbox_store_over_inner! { SlowStore {
    async fn append(&self, batch: &[AppendRequest]) -> Result<Vec<AppendOutcome>, StoreError> {
        tokio::time::sleep(self.each).await;
        self.inner.append(batch).await
    }
} }

/// Counts the reads of rosters.
#[derive(Debug)]
struct CountingGroups {
    inner: Arc<dyn GroupStore>,
    rosters: AtomicUsize,
}

#[async_trait]
impl GroupStore for CountingGroups {
    async fn create(&self, group: &NewGroup, events: &[NewEvent]) -> Result<(), StoreError> {
        self.inner.create(group, events).await
    }

    async fn get(&self, group: GroupId) -> Result<Option<Group>, StoreError> {
        self.inner.get(group).await
    }

    async fn roster(&self, group: GroupId) -> Result<Option<Roster>, StoreError> {
        self.rosters.fetch_add(1, Ordering::SeqCst);
        self.inner.roster(group).await
    }

    async fn members(
        &self,
        group: GroupId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<crate::page::ListPage<Member>, StoreError> {
        self.inner.members(group, after, limit).await
    }

    async fn groups_of(
        &self,
        user: UserId,
        after: Option<GroupId>,
        limit: usize,
    ) -> Result<crate::page::ListPage<Group>, StoreError> {
        self.inner.groups_of(user, after, limit).await
    }

    async fn update(
        &self,
        group: GroupId,
        expected: RosterVersion,
        change: &GroupChange,
        pushes: &[AppendRequest],
        events: &[NewEvent],
        at: UnixTimestamp,
    ) -> Result<GroupChangeOutcome, StoreError> {
        let inner = &self.inner;
        inner
            .update(group, expected, change, pushes, events, at)
            .await
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_send_stays_before_those_that_came_after_it() {
    // Two nodes on one store: the second caches rosters that the first changes.
    let stores = memory::stores();
    let one = service_fixture_with(stores.clone(), Limits::default(), ServerPolicy::default());
    let two = service_fixture_with(stores, Limits::default(), ServerPolicy::default());
    let group = one.group([1, 2]).await;
    let send = |by, text: &str| two.service.send(from(by), to_group(group, text));
    send(2, "0").await.unwrap();
    let mut expected = vec!["0".to_owned()];
    for round in 1..=20 {
        let newcomer = user(10 + round);
        one.service
            .add_members(user(1), group, &[newcomer])
            .await
            .unwrap();
        let (first, second) = (format!("{round} first"), format!("{round} second"));
        // Planned with the old roster; its task does nothing while it is refused as stale.
        let stale = send(2, &first);
        settle().await;
        // Meanwhile another user's send loads the new roster.
        send(1, "other").await.unwrap();
        send(2, &second).await.unwrap();
        stale.await.unwrap();
        expected.extend([first, second]);
    }
    let texts = two.texts(1).await;
    let own = texts.iter().filter(|it| expected.contains(it));
    assert_eq!(own.collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_changed_roster_is_read_once_for_all_sends_that_wait() {
    let mut stores = memory::stores();
    let one = service_fixture_with(stores.clone(), Limits::default(), ServerPolicy::default());
    let groups = Arc::new(CountingGroups {
        inner: Arc::clone(&stores.group),
        rosters: AtomicUsize::new(0),
    });
    stores.group = Arc::clone(&groups) as _;
    stores.inbox = Arc::new(SlowStore {
        inner: stores.inbox,
        each: Duration::from_millis(5),
    });
    let limits = Limits {
        // Many batches with the old roster.
        batch_sends: 4,
        ..Limits::default()
    };
    let two = service_fixture_with(stores, limits, ServerPolicy::default());
    let group = one.group([1, 2, 3]).await;
    let send = |by, text: &str| two.service.send(from(by), to_group(group, text));
    send(1, "warm").await.unwrap();
    one.service
        .add_members(user(1), group, &[user(4)])
        .await
        .unwrap();
    groups.rosters.store(0, Ordering::SeqCst);
    let sends: Vec<_> = (0..60).map(|n| send(1 + n % 3, &n.to_string())).collect();
    for sent in futures_util::future::join_all(sends).await {
        sent.unwrap();
    }
    assert_eq!(groups.rosters.load(Ordering::SeqCst), 1);
    let texts = two.texts(4).await;
    assert_eq!(
        texts.len(),
        61,
        "60 sends and the push of the addition: {texts:?}"
    );
    for by in 0..3 {
        let own = texts.iter().filter_map(|it| it.parse::<u64>().ok());
        let own: Vec<u64> = own.filter(|n| n % 3 == by).collect();
        assert!(own.is_sorted(), "{own:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_left_meanwhile_is_refused_and_the_rest_goes_on() {
    let stores = memory::stores();
    let one = service_fixture_with(stores.clone(), Limits::default(), ServerPolicy::default());
    let two = service_fixture_with(stores, Limits::default(), ServerPolicy::default());
    let group = one.group([1, 2, 3]).await;
    let send = |by, text: &str| two.service.send(from(by), to_group(group, text));
    send(1, "warm").await.unwrap();
    one.service
        .remove_member(user(1), group, user(3))
        .await
        .unwrap();
    let sends: Vec<_> = [3, 2, 3, 1].map(|by| send(by, "hi")).into_iter().collect();
    let answers = futures_util::future::join_all(sends).await;
    let refused = Err(RequestRefusal::NotInGroup(group));
    assert_eq!(answers[0], refused);
    assert_eq!(answers[2], refused);
    assert!(answers[1].is_ok() && answers[3].is_ok(), "{answers:?}");
    assert_eq!(two.pushes(3).await, ["warm", "121"]);
}

#[tokio::test(start_paused = true)]
async fn a_polite_client_gets_its_sends_in_beside_greedy_ones() {
    const GREEDY: u64 = 20;
    let mut stores = memory::stores();
    // 400 sends a second.
    stores.inbox = Arc::new(SlowStore {
        inner: stores.inbox,
        each: Duration::from_millis(50),
    });
    let limits = Limits {
        send_queue: 200,
        batch_sends: 20,
        send_rate: 1_000_000,
        send_burst: 1_000_000,
        ..Limits::default()
    };
    let world = service_fixture_with(stores, limits, ServerPolicy::default());
    let (accepted, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut greedy = tokio::task::JoinSet::new();
    for by in 0..GREEDY {
        // Each greedy user has more sends in progress than its share of the queue.
        for n in 0..20 {
            let service = world.service.clone();
            let (accepted, refused) = (Arc::clone(&accepted), Arc::clone(&refused));
            greedy.spawn(async move {
                loop {
                    let draft = to_user(1_000 + by * 20 + n, "greedy");
                    match service.send(from(100 + by), draft).await {
                        Ok(_) => accepted.fetch_add(1, Ordering::SeqCst),
                        Err(refusal) => {
                            assert_eq!(refusal.code(), 14, "{refusal:?}");
                            assert!(refusal.retry_after().is_some(), "{refusal:?}");
                            tokio::time::sleep(Duration::from_millis(50)).await;
                            refused.fetch_add(1, Ordering::SeqCst)
                        }
                    };
                }
            });
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for n in 0..30 {
        let draft = to_user(2, &n.to_string());
        let sent = world.service.send(from(1), draft).await;
        assert!(sent.is_ok(), "send {n} of the polite client: {sent:?}");
    }
    greedy.shutdown().await;
    assert_eq!(world.texts(2).await.len(), 30);
    let (accepted, refused) = (
        accepted.load(Ordering::SeqCst),
        refused.load(Ordering::SeqCst),
    );
    assert!(
        refused > accepted,
        "the load did not overload the node: {accepted} stored, {refused} refused"
    );
    world.stop().await;
}
