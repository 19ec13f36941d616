//! Room fan-out over real handles: the items that members get, and when.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::task::yield_now;
use tokio::time::Instant;

use super::*;
use crate::delivery::ConnectionDelivery;
use crate::hub::{ConnectionIdentity, ConnectionWork};
use crate::id::{DeviceId, Generation, UserId};
use crate::message::MessageReceiver;
use crate::seq::Seq;
use crate::store::StreamId;
use crate::test_fixtures::envelope;
use crate::testkit::helpers::message;

fn room() -> RoomId {
    RoomId::new(1).unwrap()
}

/// Counts how often a member's task was woken.
#[derive(Default)]
struct MemberWaker(AtomicUsize);

impl Wake for MemberWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct FanoutMember {
    handle: Arc<ConnectionHandle>,
    alarm: Arc<MemberWaker>,
}

impl FanoutMember {
    /// Connects, and subscribes to the room from `from` on.
    fn new(hub: &ConnectionHub, n: u64, from: u64) -> Self {
        let identity = ConnectionIdentity {
            conn: hub.next_conn(),
            user: UserId::new(n).unwrap(),
            device: DeviceId::new(n).unwrap(),
            generation: Generation(1),
            protocol: 1,
            expires: 0,
            client: None,
        };
        let handle = ConnectionHandle::new(identity, false, &Arc::default(), hub.lag_counter());
        handle.synced(Seq::ZERO, Seq::ZERO, false);
        handle.enter_room(Some((room(), Seq::new(from))));
        let member = Self {
            handle: Arc::new(handle),
            alarm: Arc::default(),
        };
        assert_eq!(member.got(), [0; 0], "it has nothing yet");
        member
    }

    /// Returns the seqs that it gets at once; then it waits for more.
    fn got(&self) -> Vec<u64> {
        let waker = Waker::from(Arc::clone(&self.alarm));
        let poll = || {
            self.handle
                .poll_work(&Context::from_waker(&waker), Instant::now())
        };
        let Poll::Ready(ConnectionWork::Deliver(batch)) = poll() else {
            return Vec::new();
        };
        assert!(poll().is_pending());
        batch
            .iter()
            .flat_map(ConnectionDelivery::seqs)
            .map(Seq::get)
            .collect()
    }

    fn woken(&self) -> usize {
        self.alarm.0.load(Ordering::Relaxed)
    }
}

struct FanoutFixture {
    hub: Arc<ConnectionHub>,
    fanout: Arc<RoomFanout>,
}

impl FanoutFixture {
    fn new() -> Self {
        let hub = Arc::new(ConnectionHub::new(1));
        let fanout = Arc::new(RoomFanout::new(
            room(),
            Arc::clone(&hub),
            TaskTracker::new(),
        ));
        Self { hub, fanout }
    }

    fn enter(&self, n: u64) -> FanoutMember {
        let member = FanoutMember::new(&self.hub, n, 0);
        self.fanout.enter(&member.handle);
        member
    }

    fn leave(&self, member: &FanoutMember) -> (bool, usize) {
        member.handle.enter_room(None);
        self.fanout.leave(member.handle.identity().conn)
    }

    /// Waits until the flush is over.
    async fn settle(&self) {
        while lock(&self.fanout.waiting).expected {
            yield_now().await;
        }
    }

    fn say(&self, seqs: impl IntoIterator<Item = u64>) {
        for seq in seqs {
            self.fanout.deliver(&item(seq, 10));
        }
    }
}

fn item(seq: u64, bytes: usize) -> Arc<RoomItem> {
    let message = message(MessageReceiver::Room(room()), vec![b'x'; bytes]);
    Arc::new(RoomItem {
        room: room(),
        stream: StreamId(1),
        seq: Seq::new(seq),
        envelope: envelope(message),
    })
}

#[tokio::test]
async fn what_is_published_together_is_handed_over_together() {
    let here = FanoutFixture::new();
    let members = [1, 2, 3].map(|n| here.enter(n));
    for begin in [1, 17, 33] {
        here.say(begin..begin + 16);
        let woken = members.each_ref().map(FanoutMember::woken);
        assert_eq!(members[0].got(), [0; 0], "the flush has not begun");
        here.settle().await;
        for (member, before) in members.iter().zip(woken) {
            assert_eq!(member.got(), (begin..begin + 16).collect::<Vec<_>>());
            assert_eq!(member.woken(), before + 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_expected_after_a_burst() {
    let here = FanoutFixture::new();
    let member = here.enter(1);
    for (seqs, burst) in [(1..=1, false), (2..=3, true), (4..=5, true), (6..=6, false)] {
        here.say(seqs.clone());
        here.settle().await;
        assert_eq!(member.got(), seqs.collect::<Vec<_>>());
        assert_eq!(lock(&here.fanout.waiting).burst, burst);
    }
}

#[tokio::test]
async fn a_member_that_joins_or_leaves_before_the_flush_gets_none_of_it() {
    let here = FanoutFixture::new();
    let (stays, goes) = (here.enter(1), here.enter(2));
    here.say([1]);
    assert_eq!(here.leave(&goes), (true, 1));
    assert_eq!(here.leave(&goes), (false, 1));
    let comes = here.enter(3);
    assert_eq!(stays.got(), [1], "a new member finds nothing pending");
    here.say([2]);
    here.settle().await;
    assert_eq!((stays.got(), comes.got()), (vec![2], vec![2]));
    assert_eq!(goes.got(), [0; 0]);
    assert_eq!(goes.woken(), 0);
}

#[tokio::test]
async fn whoever_leaves_or_enters_twice_every_other_stays_once() {
    let here = FanoutFixture::new();
    let members: Vec<FanoutMember> = (1..=20).map(|n| here.enter(n)).collect();
    for member in members.iter().step_by(3) {
        here.leave(member);
    }
    for member in members.iter().skip(1).step_by(3) {
        assert_eq!(here.fanout.enter(&member.handle), 13);
    }
    here.say([1]);
    here.settle().await;
    for (at, member) in members.iter().enumerate() {
        let want: &[u64] = if at % 3 == 0 { &[] } else { &[1] };
        assert_eq!(member.got(), want, "member {at}");
    }
}

#[tokio::test]
async fn what_waits_is_bounded_without_the_task() {
    let here = FanoutFixture::new();
    let member = here.enter(1);
    here.say(1..=MAX_PENDING_ITEMS_AND_BYTES.0 as u64);
    assert_eq!(
        member.got(),
        (1..=MAX_PENDING_ITEMS_AND_BYTES.0 as u64).collect::<Vec<_>>()
    );
    let large = MAX_PENDING_ITEMS_AND_BYTES.1 / 2;
    for seq in [100, 101] {
        assert_eq!(member.got(), [0; 0]);
        here.fanout.deliver(&item(seq, large));
    }
    assert_eq!(member.got(), [100, 101]);
}

#[tokio::test]
async fn a_hole_comes_behind_what_waits() {
    let here = FanoutFixture::new();
    let member = here.enter(1);
    here.say([1, 2]);
    here.fanout.interrupted();
    let cx = Context::from_waker(Waker::noop());
    let poll = || member.handle.poll_work(&cx, Instant::now());
    assert!(matches!(poll(), Poll::Ready(ConnectionWork::Deliver(_))));
    assert!(matches!(poll(), Poll::Ready(ConnectionWork::Read)));
    assert_eq!(member.handle.request_history(1), Some(room()));
    assert_eq!(member.handle.requested_from(room(), 1), Some(Seq::new(3)));
}
