//! Group sends that are larger than one part.

use super::*;
use crate::limits::PART;

const LARGE: u64 = 2_500;

impl World {
    async fn heads(&self, of: impl Iterator<Item = u64>) -> Vec<u64> {
        let users: Vec<UserId> = of.map(user).collect();
        let heads = self.service.heads(&users).await.unwrap();
        heads.iter().map(|head| head.head.get()).collect()
    }

    /// Waits until all members have that many entries; it does not claim, which would take the job
    /// away from the runner.
    async fn settled(&self, members: u64, head: u64) {
        let all = async {
            while self.heads(1..=members).await.iter().any(|h| *h < head) {
                tokio::task::yield_now().await;
            }
        };
        let settled = tokio::time::timeout(Duration::from_mins(1), all).await;
        settled.expect("the runner finishes its jobs");
    }
}

#[tokio::test]
async fn a_large_group_gets_all_in_one_order() {
    let world = world();
    let group = world.group(1..=LARGE).await;
    assert!(usize::try_from(LARGE).unwrap() > 2 * PART);
    for n in 1..=3 {
        let text = format!("m{n}");
        let sent = world.service.send(from(n), to_group(group, &text)).await;
        assert!(sent.unwrap().seq > Seq::ZERO);
    }
    world.settled(LARGE, 3).await;
    for member in [4, 1_200, LARGE] {
        assert_eq!(world.texts(member).await, ["m1", "m2", "m3"]);
    }
    let heard = Arc::clone(&world.heard);
    world.stop().await;
    let entries = heard.entries();
    assert_eq!(entries.len(), 3 * usize::try_from(LARGE).unwrap());
    assert_eq!(entries.iter().collect::<HashSet<_>>().len(), entries.len());
}

#[tokio::test]
async fn a_push_to_a_large_group_is_finished_as_well() {
    let world = world();
    let group = world.group(1..=LARGE).await;
    let new = [user(2_600)];
    let added = world.service.add_members(user(7), group, &new);
    added.await.unwrap();
    world.settled(LARGE, 1).await;
    assert_eq!(world.pushes(1).await, ["120"]);
    assert_eq!(world.pushes(LARGE).await, ["120"]);
}

/// Stores a large send as a node does that dies before it works on the job.
async fn leave(stores: &Stores, group: GroupId) {
    let roster = stores.group.roster(group).await.unwrap().unwrap();
    let message = crate::message::Message {
        id: crate::id::MessageId::generate(),
        sender: from(1),
        receiver: Receiver::Group(group),
        mentions: Vec::new(),
        kind: 1,
        content: Content("left".into()),
        sent_at: Timestamp(1),
    };
    let append = crate::store::Append {
        message: Arc::new(message),
        recipients: roster.members.iter().map(|(user, _)| *user).collect(),
        key: None,
        roster: Some((group, roster.version)),
    };
    stores.inbox.append(&[append]).await.unwrap();
}

#[tokio::test]
async fn what_a_node_leaves_behind_is_finished_by_the_next() {
    let stores = memory::stores();
    let first = world_of(stores.clone(), Limits::default(), Policy::default());
    let group = first.group(1..=LARGE).await;
    first.stop().await;
    // The node dies before it works on the job.
    leave(&stores, group).await;
    let second = world_of(stores, Limits::default(), Policy::default());
    second.settled(LARGE, 1).await;
    assert_eq!(second.texts(LARGE).await, ["left"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_never_idle_finds_what_others_leave_behind() {
    let stores = memory::stores();
    let world = world_of(stores.clone(), Limits::default(), Policy::default());
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
