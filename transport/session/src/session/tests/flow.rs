//! Tests clients that read slowly, clients that write fast, and clients that take one frame at a
//! time.

use std::time::Duration;

use gimlet_core::id::{Generation, NodeId};
use gimlet_core::store::Route;
use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn acks_of_a_client_that_does_not_read_are_handled_and_its_output_is_bounded() {
    let house = test_server();
    let mut client = house.live(2, 7).await;
    client.stop_reading();
    let large = "x".repeat(20_000);
    for n in 0..100 {
        house.store(3, 2, &format!("{n:03}{large}")).await;
    }
    client.send(
        MESSAGE,
        &pb::MessageAck {
            device_ack: 1,
            receive_time: 0,
        },
    );
    client.send(
        MESSAGE,
        &pb::MessageAck {
            device_ack: 2,
            receive_time: 0,
        },
    );
    while client.untaken() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(client.held() < 128 * 1024, "{}", client.held());
    let owner = house
        .node
        .gateway()
        .hub()
        .owner(UserId::new(2).unwrap(), DeviceId::new(7).unwrap())
        .unwrap();
    assert!(owner.queued_bytes() <= 256 * 1024);
    client.read_again();
    for n in 0..100 {
        let push = client.pushed().await;
        assert_eq!(push.seq, n + 1);
        assert!(
            push.message_content
                .starts_with(format!("{n:03}").as_bytes())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_client_that_does_not_read_wait_and_are_answered_in_the_end() {
    let house = test_server();
    let mut client = house.live(2, 7).await;
    house.store(3, 2, &"x".repeat(50_000)).await;
    client.pushed().await;
    client.stop_reading();
    let asked: Vec<i64> = (0..50)
        .map(|_| client.send(SYNC, &pb::SyncInput { seq: 0 }))
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(client.untaken() > 40, "the socket is not read any more");
    assert!(client.held() < 128 * 1024);
    client.read_again();
    for id in asked {
        assert_eq!(client.output().await.request_id, id);
    }
}

#[tokio::test(start_paused = true)]
async fn many_pushes_leave_in_few_writes() {
    let house = test_server();
    let mut client = house.live(2, 7).await;
    client.stop_reading();
    for n in 0..50 {
        house.store(3, 2, &format!("text {n}")).await;
    }
    client.read_again();
    let mut writes = Vec::new();
    while writes.iter().map(Vec::len).sum::<usize>() < 50 {
        writes.push(client.write().await.unwrap());
    }
    assert!(writes.len() <= 5, "{} writes", writes.len());
}

/// Connects a legacy client that is live and has `count` messages pending.
async fn legacy_with(house: &TestServer, count: u64) -> LinkClient {
    let mut client = house.connect(WireKind::Tcp);
    client.sign_in(2, 7, "t", 0).await;
    client.sync(0).await;
    for n in 0..count {
        house.store(3, 2, &format!("text {n}")).await;
    }
    client
}

/// Returns the seq of the next push, which must be alone in its write.
async fn pushed_alone(client: &mut LinkClient) -> i64 {
    let write = client.write().await.unwrap();
    assert_eq!(write.len(), 1, "one frame, one write");
    message(&pb::Output::decode(write[0].clone()).unwrap()).seq
}

fn ack(client: &mut LinkClient, device_ack: i64) {
    let receive_time = 0;
    client.send(
        MESSAGE,
        &pb::MessageAck {
            device_ack,
            receive_time,
        },
    );
}

#[tokio::test(start_paused = true)]
async fn g3_a_legacy_client_that_acks_gets_the_next_push_after_its_ack_and_not_before() {
    let house = test_server();
    let mut client = legacy_with(&house, 20).await;
    let mut acked = Instant::now();
    for n in 1..=20 {
        assert_eq!(pushed_alone(&mut client).await, n);
        assert!(acked.elapsed() <= Duration::from_millis(50), "late: {n}");
        let written = Instant::now();
        // A slow network; the first ack shows that this client acks at all, and allows longer
        // waits.
        let way = Duration::from_millis(if n == 1 { 400 } else { 900 });
        let next = tokio::time::timeout(way, client.write()).await;
        assert!(next.is_err(), "a push before the ack of {n}");
        ack(&mut client, n);
        assert_eq!(written.elapsed(), way);
        acked = Instant::now();
    }
}

#[tokio::test(start_paused = true)]
async fn g3_a_legacy_client_that_never_acks_does_not_starve() {
    let house = test_server();
    let mut client = legacy_with(&house, 24).await;
    let start = Instant::now();
    for n in 1..=24 {
        assert_eq!(pushed_alone(&mut client).await, n);
    }
    // Three acks are awaited; after that a push takes 50 ms.
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(1_500), "{took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn g3_the_answer_to_a_heartbeat_waits_for_the_ack_of_a_push_it_has_crossed() {
    let house = test_server();
    let mut client = legacy_with(&house, 2).await;
    assert_eq!(pushed_alone(&mut client).await, 1);
    let beat = client.send(HEARTBEAT, &pb::Empty {});
    let early = tokio::time::timeout(Duration::from_millis(400), client.write()).await;
    assert!(early.is_err(), "{early:?}");
    ack(&mut client, 1);
    let write = client.write().await.unwrap();
    let output = pb::Output::decode(write[0].clone()).unwrap();
    assert_eq!((write.len(), output.request_id), (1, beat));
    assert_eq!(pushed_alone(&mut client).await, 2);
    // The answer is also written when another packet follows, in order, and when the stream ends.
    for kind in [SUBSCRIBE, HEARTBEAT] {
        let first = client.send(HEARTBEAT, &pb::Empty {});
        let second = client.send(kind, &pb::Empty {});
        if kind == HEARTBEAT {
            client.hang_up();
        }
        assert_eq!(client.output().await.request_id, first);
        assert_eq!(client.output().await.request_id, second);
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_tcp_client_gets_no_push_before_its_first_sync_reply() {
    let house = test_server();
    let mut client = house.connect(WireKind::Tcp);
    client.sign_in(2, 7, "t", 0).await;
    let sender = MessageSender::Business;
    let mut draft = MessageDraft::text(user(2), "live only");
    draft.persist = false;
    house.node.service().send(sender, draft).await.unwrap();
    client.sync(0).await;
    let push = client.pushed().await;
    assert_eq!((push.seq, push.message_content), (0, "live only".into()));
}

#[tokio::test(start_paused = true)]
async fn pipelined_sign_in_sync_and_subscribe_are_answered_in_order() {
    let house = test_server();
    let mut client = house.connect(WireKind::Tcp);
    client.send(
        SIGN_IN,
        &pb::SignInInput {
            device_id: 7,
            user_id: 2,
            token: "t".into(),
            protocol: 0,
        },
    );
    client.send(SYNC, &pb::SyncInput { seq: 0 });
    client.send(SUBSCRIBE, &pb::SubscribeRoomInput { room_id: 1, seq: 0 });
    for (kind, id) in [(SIGN_IN, 1), (SYNC, 2), (SUBSCRIBE, 3)] {
        let write = client.write().await.unwrap();
        assert_eq!(write.len(), 1);
        let output = pb::Output::decode(write[0].clone()).unwrap();
        assert_eq!(
            (output.r#type, output.request_id, output.code),
            (kind, id, 0)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_with_the_end_of_the_stream_is_still_done() {
    let house = test_server();
    let mut client = house.live(2, 7).await;
    house.store(3, 2, "hi").await;
    client.pushed().await;
    client.send(SEND, &to_user(3, "last words"));
    client.send(
        MESSAGE,
        &pb::MessageAck {
            device_ack: 1,
            receive_time: 0,
        },
    );
    client.hang_up();
    let (outputs, _) = client.closed().await;
    assert_eq!(outputs.len(), 1);
    assert_eq!((outputs[0].r#type, outputs[0].code), (SEND, 0));
    house.tasks.close();
    house.tasks.wait().await;
    house.node.stop().await;
    let acked = house.stores.device.acked(user(2)).await.unwrap();
    assert_eq!(acked, [(DeviceId::new(7).unwrap(), Seq::new(1))]);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_before_a_pause_is_not_written_after_it_to_who_was_superseded() {
    let house = test_server();
    let mut client = house.connect(WireKind::Tcp);
    client.sign_in(2, 7, "t", 0).await;
    client.sync(0).await;
    for n in 0..3 {
        house.store(3, 2, &format!("text {n}")).await;
    }
    // The other two pushes were taken from the hub with it and wait for the pacing.
    assert_eq!(client.pushed().await.seq, 1);
    // The process is paused, and the device signs in elsewhere.
    let elsewhere = Route {
        device: DeviceId::new(7).unwrap(),
        user: user(2),
        generation: Generation(99),
        node: NodeId::boot("elsewhere"),
        client: None,
    };
    house.stores.route.renew(&elsewhere.node).await.unwrap();
    house.stores.route.claim(&elsewhere).await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    client.heartbeat().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.heartbeat().await;
}

/// A client that ignored its refusals got as many as it asked for, each nearly as dear as a send.
#[tokio::test(start_paused = true)]
async fn a_client_that_ignores_refusals_is_read_more_slowly() {
    let house = house_with(|limits| (limits.send_rate, limits.send_burst) = (1, 1));
    let mut client = house.live(2, 7).await;
    let begun = tokio::time::Instant::now();
    for n in 1..=200_i64 {
        client.send(SEND, &to_user(3, &n.to_string()));
    }
    let mut refused = 0;
    for _ in 1..=200 {
        refused += usize::from(client.output().await.code == 8);
    }
    // 64 are refused at once. From then on it is read about as fast as its rate allows.
    let took = begun.elapsed();
    assert!((64..=150).contains(&refused), "{refused} refused");
    assert!(took > Duration::from_secs(50), "{took:?}");
    // Who stops gets in again at once.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let begun = tokio::time::Instant::now();
    client.send(SEND, &to_user(3, "polite"));
    assert_eq!(client.output().await.code, 0);
    assert!(begun.elapsed() < Duration::from_millis(10));
}
