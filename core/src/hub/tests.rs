//! The hub as its callers use it: ownership of devices, and deliveries to connections.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::*;
use crate::delivery::ConnectionDelivery;
use crate::envelope::Envelope;
use crate::id::{Generation, RoomId};
use crate::limits::Limits;
use crate::message::{Message, MessageReceiver, MessageSender};
use crate::store::Head;
use crate::test_fixtures;
use crate::testkit::helpers::{device, message, user};

fn at(head: u64) -> Head {
    Head {
        head: Seq::new(head),
        floor: Seq::ZERO,
    }
}

fn connect(
    hub: &ConnectionHub,
    who: u64,
    on: u64,
    generation: u64,
    protocol: u32,
) -> Arc<ConnectionHandle> {
    let identity = ConnectionIdentity {
        conn: hub.next_conn(),
        user: user(who),
        device: device(on),
        generation: Generation(generation),
        protocol,
        expires: 0,
        client: None,
    };
    let handle = Arc::new(ConnectionHandle::new(
        identity,
        false,
        &Arc::default(),
        hub.lag_counter(),
    ));
    hub.insert(&handle);
    handle
}

fn live(
    hub: &ConnectionHub,
    who: u64,
    on: u64,
    generation: u64,
    protocol: u32,
) -> Arc<ConnectionHandle> {
    let handle = connect(hub, who, on, generation, protocol);
    handle.synced(Seq::ZERO, Seq::ZERO, false);
    handle
}

fn envelope(from: u64, on: u64, bytes: usize) -> Arc<Envelope> {
    let sender = MessageSender::User {
        user: user(from),
        device: Some(device(on)),
    };
    test_fixtures::envelope(Message {
        sender,
        ..message(MessageReceiver::User(user(1)), vec![b'x'; bytes])
    })
}

fn push(hub: &ConnectionHub, to: u64, seq: u64, envelope: &Arc<Envelope>) {
    let to = vec![(user(to), Seq::new(seq))];
    hub.deliver(&[DeliveryBatch::Entries {
        envelope: Arc::clone(envelope),
        to,
    }]);
}

fn work(handle: &ConnectionHandle) -> Option<ConnectionWork> {
    work_at(handle, Instant::now())
}

fn work_at(handle: &ConnectionHandle, now: Instant) -> Option<ConnectionWork> {
    match handle.poll_work(&Context::from_waker(Waker::noop()), now) {
        Poll::Ready(work) => Some(work),
        Poll::Pending => None,
    }
}

fn seqs(handle: &ConnectionHandle) -> Vec<u64> {
    match work(handle) {
        Some(ConnectionWork::Deliver(batch)) => batch
            .iter()
            .flat_map(ConnectionDelivery::seqs)
            .map(Seq::get)
            .collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn entries_go_out_in_seq_order_without_repeats() {
    let hub = ConnectionHub::new(2);
    let phone = live(&hub, 1, 11, 1, 1);
    let e = envelope(2, 21, 10);
    for seq in [2, 1, 3, 2, 5, 4] {
        push(&hub, 1, seq, &e);
    }
    assert_eq!(seqs(&phone), [1, 2, 3, 4, 5]);
    assert!(work(&phone).is_none());
}

#[tokio::test]
async fn a_predecessor_that_does_not_come_is_read_from_the_inbox() {
    let hub = ConnectionHub::new(2);
    let phone = live(&hub, 1, 11, 1, 1);
    push(&hub, 1, 2, &envelope(2, 21, 10));
    assert!(work(&phone).is_none(), "entry 1 may still come");
    let later = phone
        .next_deadline()
        .expect("a parked entry has a deadline");
    assert!(matches!(work_at(&phone, later), Some(ConnectionWork::Read)));
}

#[tokio::test]
async fn the_senders_device_gets_a_step_without_a_body() {
    let hub = ConnectionHub::new(2);
    let (phone, laptop) = (live(&hub, 1, 11, 1, 1), live(&hub, 1, 12, 1, 1));
    push(&hub, 1, 1, &envelope(1, 11, 10));
    push(&hub, 1, 2, &envelope(2, 21, 10));
    assert_eq!(seqs(&phone), [2]);
    assert_eq!(seqs(&laptop), [1, 2]);
}

#[tokio::test]
async fn c5_a_device_of_another_user_before_did_not_send_for_this_one() {
    let hub = ConnectionHub::new(2);
    let phone = live(&hub, 1, 11, 2, 1);
    push(&hub, 1, 1, &envelope(9, 11, 10));
    assert_eq!(seqs(&phone), [1]);
}

#[tokio::test]
async fn a_slow_connection_lags_within_its_budget() {
    let hub = ConnectionHub::new(2);
    let phone = live(&hub, 1, 11, 1, 1);
    let e = envelope(2, 21, 10_000);
    for seq in 1..=200 {
        push(&hub, 1, seq, &e);
    }
    assert!(phone.queued_bytes() <= Limits::default().outbox_bytes);
    assert_eq!(hub.lags(), (1, 0));
    let mut served = 0;
    loop {
        match work(&phone) {
            Some(ConnectionWork::Deliver(batch)) => served += batch.len() as u64,
            Some(ConnectionWork::Read) => break,
            other => panic!("expected a read after {served} entries, got {other:?}"),
        }
    }
    assert_eq!(
        phone.begin_read(),
        Some(Seq::new(served)),
        "it continues where it stopped"
    );
    let rest = (served + 1..=200).map(|seq| (Seq::new(seq), Arc::clone(&e)));
    phone.fill(rest.collect(), false, Seq::new(200));
    assert_eq!(hub.lags(), (1, 1), "it has caught up");
    hub.hint(user(1), Seq::new(201));
    assert_eq!(hub.lags(), (2, 1));
    hub.remove(&phone);
    drop(phone);
    assert_eq!(hub.lags(), (2, 2), "a removed connection no longer lags");
}

#[tokio::test]
async fn c3_a_late_close_of_an_old_connection_unregisters_nothing() {
    let hub = ConnectionHub::new(2);
    let old = live(&hub, 1, 11, 1, 0);
    let new = live(&hub, 1, 11, 2, 0);
    assert!(!hub.remove(&old));
    push(&hub, 1, 1, &envelope(2, 21, 10));
    assert_eq!(seqs(&new), [1]);
    assert_eq!(hub.connections(), 1);
}

#[tokio::test]
async fn a_superseded_connection_gets_nothing_more() {
    let hub = ConnectionHub::new(2);
    let old = live(&hub, 1, 11, 1, 0);
    push(&hub, 1, 1, &envelope(2, 21, 10));
    let new = live(&hub, 1, 11, 2, 0);
    push(&hub, 1, 1, &envelope(2, 21, 10));
    assert!(
        work(&old).is_none(),
        "the queue is cleared, and the connection stays open"
    );
    assert!(old.is_superseded());
    assert_eq!(seqs(&new), [1]);
}

#[tokio::test]
async fn another_user_on_the_device_displaces_nobody() {
    let hub = ConnectionHub::new(2);
    let owner = live(&hub, 1, 11, 1, 1);
    let stranger = live(&hub, 5, 11, 2, 1);
    assert!(!owner.is_superseded());
    hub.supersede(user(5), device(11), Generation(9));
    assert!(!owner.is_superseded() && stranger.is_superseded());
    push(&hub, 1, 1, &envelope(2, 21, 10));
    push(&hub, 5, 1, &envelope(2, 21, 10));
    assert_eq!(seqs(&owner), [1]);
    assert_eq!(hub.on_device(device(11)).len(), 2);
    hub.remove(&stranger);
    assert!(hub.owner(user(1), device(11)).is_some());
    assert!(hub.owner(user(5), device(11)).is_none());
}

#[test]
fn an_idle_connection_is_small() {
    // Together with the counts of its `Arc`, one block of 320 bytes.
    assert!(
        size_of::<ConnectionHandle>() <= 304,
        "{}",
        size_of::<ConnectionHandle>()
    );
}

#[tokio::test]
async fn an_older_sign_in_does_not_take_the_device_back() {
    let hub = ConnectionHub::new(2);
    let new = live(&hub, 1, 11, 2, 1);
    let identity = ConnectionIdentity {
        generation: Generation(1),
        ..new.identity().clone()
    };
    let late = Arc::new(ConnectionHandle::new(
        identity,
        false,
        &Arc::default(),
        hub.lag_counter(),
    ));
    assert!(!hub.insert(&late));
    assert!(!new.is_superseded());
}

#[tokio::test]
async fn superseded_extension_clients_are_closed_and_legacy_ones_with_their_successor() {
    let hub = ConnectionHub::new(2);
    let ours = live(&hub, 1, 11, 1, 1);
    let olds: Vec<_> = (2..6).map(|g| live(&hub, 1, 11, g, 0)).collect();
    assert!(matches!(
        work(&ours),
        Some(ConnectionWork::Close(CloseReason::Superseded))
    ));
    let closed = |h: &ConnectionHandle| matches!(work(h), Some(ConnectionWork::Close(_)));
    assert_eq!(
        olds.iter().map(|h| closed(h)).collect::<Vec<_>>(),
        [true, false, false, false]
    );
    assert!(hub.remove(&olds[3]));
    assert!(olds[..3].iter().all(|h| closed(h)));
    assert_eq!(hub.connections(), 0);
}

#[tokio::test]
async fn without_a_sync_it_goes_live_from_where_the_inbox_stood_at_sign_in() {
    let hub = ConnectionHub::new(2);
    let phone = connect(&hub, 1, 11, 1, 0);
    phone.start(at(7));
    push(&hub, 1, 8, &envelope(2, 21, 10));
    assert!(work(&phone).is_none());
    let later = phone.next_deadline().expect("it goes live after a while");
    assert!(matches!(work_at(&phone, later), Some(ConnectionWork::Read)));
    assert_eq!(phone.begin_read(), Some(Seq::new(7)));
}

#[tokio::test]
async fn a_sync_removes_what_it_covers_from_the_queue() {
    let hub = ConnectionHub::new(2);
    let phone = live(&hub, 1, 11, 1, 0);
    let e = envelope(2, 21, 10);
    (1..=3).for_each(|seq| push(&hub, 1, seq, &e));
    phone.synced(Seq::ZERO, Seq::new(2), false);
    assert_eq!(seqs(&phone), [3]);
}

#[tokio::test]
async fn m9_only_numbers_of_served_entries_are_acks() {
    let hub = ConnectionHub::new(2);
    let phone = live(&hub, 1, 11, 1, 0);
    phone.offer_live(Seq::new(100_000), &envelope(2, 21, 10));
    push(&hub, 1, 1, &envelope(2, 21, 10));
    assert!(!phone.may_ack(Seq::new(1)), "it is still in the queue");
    assert_eq!(seqs(&phone), [100_000, 1]);
    assert!(phone.may_ack(Seq::new(1)));
    assert!(
        !phone.may_ack(Seq::new(100_000)),
        "a room's seq is not an inbox seq"
    );
}

#[tokio::test]
async fn a_read_that_ends_after_its_connection_was_superseded_serves_nothing() {
    let hub = ConnectionHub::new(2);
    let old = live(&hub, 1, 11, 1, 0);
    old.hint(Seq::new(1));
    assert_eq!(old.begin_read(), Some(Seq::ZERO));
    let _new = live(&hub, 1, 11, 2, 0);
    old.fill(vec![(Seq::new(1), envelope(2, 21, 10))], false, Seq::new(1));
    assert!(work(&old).is_none());
}

/// Each comparison of heads counted as a push.
#[tokio::test]
async fn entries_and_live_messages_are_counted_and_hints_are_not() {
    let hub = ConnectionHub::new(2);
    let _phone = live(&hub, 1, 11, 1, 1);
    let _laptop = live(&hub, 1, 12, 1, 1);
    hub.hint(user(1), Seq::new(1));
    assert_eq!(hub.pushed(), 0);
    push(&hub, 1, 1, &envelope(2, 21, 10));
    assert_eq!(hub.pushed(), 2);
}

/// The session's timer fired without a pause for a legacy client whose room history had failed.
#[tokio::test(start_paused = true)]
async fn a_superseded_connection_has_no_deadlines() {
    let room = RoomId::new(3).unwrap();
    for fails_before in [true, false] {
        let hub = ConnectionHub::new(2);
        let old = live(&hub, 1, 11, 1, 0);
        old.enter_room(Some((room, Seq::new(1))));
        old.hint(Seq::new(1));
        assert_eq!(old.begin_read(), Some(Seq::ZERO));
        assert_eq!(old.request_history(1), Some(room));
        let fail = || {
            old.read_failed();
            old.history_failed(room, 1);
        };
        if fails_before {
            fail();
            assert!(old.next_deadline().is_some());
        }
        let _new = live(&hub, 1, 11, 2, 0);
        if !fails_before {
            fail();
        }
        assert!(work(&old).is_none());
        assert_eq!(old.next_deadline(), None);
    }
}

#[tokio::test]
async fn s14_a_revoked_connection_is_served_nothing_more() {
    let hub = ConnectionHub::new(2);
    let phone = live(&hub, 1, 11, 1, 0);
    push(&hub, 1, 1, &envelope(2, 21, 10));
    assert_eq!(hub.disconnect(user(1), Some(device(11)), "signed out"), 1);
    assert!(phone.is_superseded());
    assert!(matches!(
        work(&phone),
        Some(ConnectionWork::Close(CloseReason::SignedOut))
    ));
}

#[tokio::test]
async fn a_switched_device_is_not_served_for_its_previous_user() {
    let hub = ConnectionHub::new(2);
    let (old, ours) = (live(&hub, 1, 11, 1, 0), live(&hub, 2, 11, 2, 1));
    for who in [1, 2] {
        hub.disconnect(user(who), Some(device(11)), DEVICE_SWITCHED);
    }
    assert!(old.is_superseded() && ours.is_superseded());
    assert!(work(&old).is_none(), "a legacy client stays open");
    assert!(matches!(
        work(&ours),
        Some(ConnectionWork::Close(CloseReason::DeviceSwitched))
    ));
    push(&hub, 1, 1, &envelope(2, 21, 10));
    assert!(work(&old).is_none());
}

#[tokio::test]
async fn s14_a_sign_in_under_way_does_not_outlive_a_revocation() {
    let hub = ConnectionHub::new(2);
    let begin = Instant::now();
    assert!(!hub.revoked_since(user(1), device(11), begin));
    hub.disconnect(user(1), Some(device(11)), "signed out");
    assert!(hub.revoked_since(user(1), device(11), begin));
    assert!(!hub.revoked_since(user(1), device(12), begin));
    hub.disconnect(user(1), None, "banned");
    assert!(hub.revoked_since(user(1), device(12), begin));
}

#[tokio::test]
async fn m9_a_rooms_number_is_no_ack_before_the_first_sync() {
    let hub = ConnectionHub::new(2);
    let phone = connect(&hub, 1, 11, 1, 0);
    phone.start(at(100));
    let later = phone.next_deadline().expect("it goes live after a while");
    phone.offer_live(Seq::new(50), &envelope(2, 21, 10));
    assert!(matches!(
        work_at(&phone, later),
        Some(ConnectionWork::Deliver(_))
    ));
    assert!(!phone.may_ack(Seq::new(50)));
}
