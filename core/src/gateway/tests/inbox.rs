//! The inbox on a live connection: pushes, SYNC pages, and no loss between the two.

use super::*;
use crate::message::Message;
use crate::store::AppendRequest;
use crate::test_fixtures::direct_send;

/// Stores an entry without a push, like a push that was lost.
async fn store_silently(stores: &StoreSet, from: u64, to: u64) {
    store(stores, from, None, to).await;
}

/// Stores an own send of this device without a push.
async fn store_from(stores: &StoreSet, who: u64, on: u64) {
    store(stores, who, DeviceId::new(on), who).await;
}

async fn store(stores: &StoreSet, from: u64, device: Option<DeviceId>, to: u64) {
    let (append, _) = direct_send(Some(from), to, "silent");
    let message = Message {
        sender: MessageSender::User {
            user: user(from),
            device,
        },
        ..(*append.message).clone()
    };
    let append = AppendRequest {
        message: Arc::new(message),
        recipients: Arc::from([user(to)]),
        ..append
    };
    stores.inbox.append(&[append]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_is_live_on_every_device_but_the_one_that_sent_it() {
    let stores = memory::stores();
    let node = node(&stores);
    let (phone, _) = live(&node, 1, 11, 0).await;
    let (laptop, _) = live(&node, 1, 12, 0).await;
    let (bob, _) = live(&node, 2, 21, 0).await;
    assert_eq!(send(&node, 1, 11, 2).await, 1);
    send(&node, 2, 21, 1).await;
    assert_eq!(next(&phone, 1).await, [2], "its own send needs no body");
    assert_eq!(next(&laptop, 2).await, [1, 2]);
    assert_eq!(next(&bob, 1).await, [1]);
}

/// A client whose sends are answered elsewhere, for example over HTTP, has no other way to learn of
/// them in order.
#[tokio::test(start_paused = true)]
async fn an_echoing_connection_gets_its_own_sends_in_order() {
    let stores = memory::stores();
    let node = node(&stores);
    let request = SignInRequest {
        user: user(1),
        device: DeviceId::new(11).unwrap(),
        token: "any".to_owned(),
        client: None,
        protocol: 1,
        legacy: false,
        echo: true,
        resume_after: Seq::ZERO,
    };
    let phone = node.gateway().sign_in(request).await.unwrap();
    sync(&phone, 0).await;
    send(&node, 1, 11, 2).await;
    send(&node, 2, 21, 1).await;
    assert_eq!(next(&phone, 2).await, [1, 2], "pushed");
    // Lost pushes are read from the inbox.
    store_from(&stores, 1, 11).await;
    let _ = phone.heartbeat();
    assert_eq!(next(&phone, 1).await, [3], "read");
}

#[tokio::test(start_paused = true)]
async fn m13_a_lost_last_push_is_found_by_the_heartbeat() {
    let stores = memory::stores();
    let node = node(&stores);
    let (bob, _) = live(&node, 2, 21, 0).await;
    store_silently(&stores, 1, 2).await;
    let _ = bob.heartbeat();
    assert_eq!(next(&bob, 1).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_push_before_another_is_read_from_the_inbox() {
    let stores = memory::stores();
    let node = node(&stores);
    let (bob, _) = live(&node, 2, 21, 0).await;
    store_silently(&stores, 1, 2).await;
    send(&node, 1, 11, 2).await;
    assert_eq!(next(&bob, 2).await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn m16_what_is_sent_between_sign_in_and_sync_is_not_lost() {
    let stores = memory::stores();
    let node = node(&stores);
    let bob = sign_in(&node, 2, 21, 1, false).await;
    send(&node, 1, 11, 2).await;
    let page = bob.sync(Seq::ZERO).await.unwrap();
    send(&node, 1, 11, 2).await;
    assert_eq!(page.items.len(), 1);
    bob.synced(Seq::ZERO, page.upto, page.more);
    assert_eq!(
        next(&bob, 1).await,
        [2],
        "it arrived after the page was read and before the connection was live"
    );
}

#[tokio::test(start_paused = true)]
async fn m16_what_is_sent_between_sign_in_and_a_sync_from_its_head_is_not_lost() {
    let stores = memory::stores();
    let node = node(&stores);
    send(&node, 1, 11, 2).await;
    let bob = sign_in(&node, 2, 21, 1, false).await;
    send(&node, 1, 11, 2).await;
    assert_eq!(sync(&bob, 1).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn a_sync_from_where_the_inbox_stood_at_sign_in_reads_nothing() {
    let stores = memory::stores();
    let node = node(&stores);
    send(&node, 1, 11, 2).await;
    send(&node, 1, 11, 2).await;
    stores.inbox.trim(user(2), Seq::new(1)).await.unwrap();
    let bob = sign_in(&node, 2, 21, 1, false).await;
    store_silently(&stores, 1, 2).await;
    let page = bob.sync(Seq::new(2)).await.unwrap();
    assert!(page.items.is_empty() && !page.more, "{page:?}");
    let (head, floor) = (page.head.head.get(), page.head.floor.get());
    assert_eq!((page.upto.get(), head, floor), (2, 2, 1));
    bob.synced(Seq::new(2), page.upto, page.more);
    let _ = bob.heartbeat();
    assert_eq!(
        next(&bob, 1).await,
        [3],
        "the heartbeat still finds a lost push"
    );
}

#[tokio::test(start_paused = true)]
async fn a_sync_from_elsewhere_or_later_reads_the_inbox() {
    let stores = memory::stores();
    let node = node(&stores);
    send(&node, 1, 11, 2).await;
    let bob = sign_in(&node, 2, 21, 1, false).await;
    store_silently(&stores, 1, 2).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(sync(&bob, 1).await, [2], "after a while the inbox is read");
    let bob = sign_in(&node, 2, 21, 1, false).await;
    assert_eq!(sync(&bob, 1).await, [2]);
    assert_eq!(sync(&bob, 2).await, [0; 0]);
    store_silently(&stores, 1, 2).await;
    assert_eq!(
        sync(&bob, 2).await,
        [3],
        "a live connection syncs because it misses entries"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ignores_has_more_is_pushed_the_rest() {
    let stores = memory::stores();
    let node = node(&stores);
    for _ in 0..120 {
        send(&node, 1, 11, 2).await;
    }
    let bob = sign_in(&node, 2, 21, 0, false).await;
    let page = bob.sync(Seq::ZERO).await.unwrap();
    assert!(page.more);
    bob.synced(Seq::ZERO, page.upto, page.more);
    assert_eq!(next(&bob, 70).await, (51..=120).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_syncs_is_pushed_what_is_new_since_sign_in() {
    let stores = memory::stores();
    let node = node(&stores);
    send(&node, 1, 11, 2).await;
    let bob = sign_in(&node, 2, 21, 0, false).await;
    send(&node, 1, 11, 2).await;
    assert_eq!(next(&bob, 1).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn a_seq_above_the_head_sets_the_cursor_to_the_head() {
    let stores = memory::stores();
    let node = node(&stores);
    send(&node, 1, 11, 2).await;
    let (bob, got) = live(&node, 2, 21, 1_000).await;
    assert!(got.is_empty());
    send(&node, 1, 11, 2).await;
    assert_eq!(next(&bob, 1).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn m10_fims_own_sends_do_not_hide_pushes_it_has_missed() {
    let stores = memory::stores();
    let node = node(&stores);
    let fim = sign_in(&node, 2, 21, 0, true).await;
    sync(&fim, 0).await;
    send(&node, 1, 11, 2).await;
    assert_eq!(next(&fim, 1).await, [1]);
    fim.ack(Seq::new(1));
    send(&node, 1, 11, 2).await; // 2: pushed, and lost with the connection
    send(&node, 2, 21, 1).await; // 3: its own, which fim now names
    drop(fim);
    let fim = sign_in(&node, 2, 21, 0, true).await;
    assert_eq!(sync(&fim, 3).await, [2]);
}

/// A legacy client that reconnects after it has sent many messages from this device.
#[tokio::test(start_paused = true)]
async fn d12_a_sync_over_nothing_but_own_sends_reads_a_few_pages_at_a_time() {
    let stores = memory::stores();
    let node = node(&stores);
    send(&node, 1, 11, 2).await;
    let fim = sign_in(&node, 2, 21, 0, true).await;
    sync(&fim, 0).await;
    fim.ack(Seq::new(1));
    for _ in 0..500 {
        send(&node, 2, 21, 1).await;
    }
    drop(fim);
    // 502: pushed while the device was offline. 503: its own send, which it names.
    send(&node, 1, 11, 2).await;
    send(&node, 2, 21, 1).await;
    let fim = sign_in(&node, 2, 21, 0, true).await;
    let (mut got, mut asks) = (Vec::new(), 0);
    loop {
        let page = fim.sync(Seq::new(503)).await.unwrap();
        assert!(page.upto.get() - page.from.get() <= 200, "{page:?}");
        got.extend(page.items.iter().map(|(seq, _)| seq.get()));
        fim.synced(page.from, page.upto, page.more);
        asks += 1;
        if !page.more {
            break;
        }
    }
    assert_eq!((got, asks), (vec![502], 3));
}

/// As above for a client that ignores `has_more`: the gateway reads the inbox on for it.
#[tokio::test(start_paused = true)]
async fn d12_what_lies_behind_own_sends_is_pushed_to_who_does_not_ask_again() {
    let stores = memory::stores();
    let node = node(&stores);
    send(&node, 1, 11, 2).await;
    let fim = sign_in(&node, 2, 21, 0, true).await;
    sync(&fim, 0).await;
    fim.ack(Seq::new(1));
    for _ in 0..500 {
        send(&node, 2, 21, 1).await;
    }
    drop(fim);
    send(&node, 1, 11, 2).await;
    send(&node, 2, 21, 1).await;
    let fim = sign_in(&node, 2, 21, 0, true).await;
    let page = fim.sync(Seq::new(503)).await.unwrap();
    assert!(page.items.is_empty() && page.more);
    fim.synced(page.from, page.upto, page.more);
    assert_eq!(next(&fim, 1).await, [502]);
}

#[tokio::test(start_paused = true)]
async fn m8_m11_acks_are_per_device_and_only_go_forward() {
    let stores = memory::stores();
    let node = node(&stores);
    for _ in 0..3 {
        send(&node, 1, 11, 2).await;
    }
    let (phone, _) = live(&node, 2, 21, 0).await;
    phone.ack(Seq::new(3));
    phone.ack(Seq::new(1));
    phone.ack(Seq::new(100));
    drop(phone);
    node.stop().await;
    let device = |n| DeviceId::new(n).unwrap();
    assert_eq!(
        stores.device.acked(user(2)).await.unwrap(),
        [(device(21), Seq::new(3))]
    );
}
