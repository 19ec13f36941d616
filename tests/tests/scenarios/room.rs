//! Rooms: live messages to subscribers, and a short history.

use gimlet_client::{ClientEvent, MessageContent};
use gimlet_tests::scenario::{Device, MatrixCell};

use crate::{CoveredCells, ScenarioCase, stories};

pub(crate) fn all() -> Vec<ScenarioCase> {
    stories!(room, CoveredCells::Every => [
        two_followers_hear_the_same_in_order,
        history_begins_with_the_requested_seq,
        following_another_room_moves,
        r1_trimming_history_always_ends,
        c16_c17_following_while_others_push_loses_nobody,
        m9_room_numbers_are_no_acks_of_the_inbox,
        a_broadcast_reaches_all_and_is_not_stored,
        a_room_is_resubscribed_after_a_cut,
    ])
}

async fn pushes(device: &Device, room: i64, text: &str) {
    let content = MessageContent::text(text);
    device.api().push_room(room, &content, true).await.unwrap();
}

async fn follows(device: &Device, room: i64, from: i64) {
    device.client().subscribe(room, from).await.unwrap();
}

async fn expect_message(device: &Device, text: &str, seq: i64) {
    let received = device.receives_room_message().await;
    assert_eq!(
        (received.content, received.seq),
        (MessageContent::text(text), seq)
    );
}

async fn two_followers_hear_the_same_in_order(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    for device in [&alice.phone, &bob.phone] {
        follows(device, 5, 0).await;
    }
    for n in 1..=40 {
        pushes(&alice.phone, 5, &format!("{n}")).await;
    }
    for device in [&alice.phone, &bob.phone] {
        for n in 1..=40 {
            expect_message(device, &format!("{n}"), n).await;
        }
    }
}

async fn history_begins_with_the_requested_seq(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    for n in 1..=5 {
        pushes(&alice.phone, 5, &format!("{n}")).await;
    }
    follows(&bob.phone, 5, 3).await;
    for n in 3..=5 {
        expect_message(&bob.phone, &format!("{n}"), n).await;
    }
    pushes(&alice.phone, 5, "live").await;
    expect_message(&bob.phone, "live", 6).await;
    let carol = world.person("Carol").await;
    follows(&carol.phone, 5, 0).await;
    pushes(&alice.phone, 5, "live too").await;
    expect_message(&carol.phone, "live too", 7).await;
}

/// C-18.
async fn following_another_room_moves(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    follows(&bob.phone, 5, 0).await;
    follows(&bob.phone, 6, 0).await;
    pushes(&alice.phone, 5, "left behind").await;
    pushes(&alice.phone, 6, "here").await;
    expect_message(&bob.phone, "here", 1).await;
    bob.phone.client().unsubscribe().await.unwrap();
    pushes(&alice.phone, 6, "nobody listens").await;
    follows(&bob.phone, 5, 0).await;
    pushes(&alice.phone, 5, "back").await;
    expect_message(&bob.phone, "back", 2).await;
}

/// The room takes more messages than gim's trim loop survives, and still works.
async fn r1_trimming_history_always_ends(cell: &MatrixCell) {
    let world = cell
        .start_with(|config| config.limits.node.send_burst = 2_000)
        .await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let push = |n: i64| {
        let api = alice.phone.api();
        async move {
            api.push_room(5, &MessageContent::text(format!("{n}")), true)
                .await
        }
    };
    for tens in 0..25 {
        let some = futures_util::future::join_all((0..45).map(|n| push(45 * tens + n))).await;
        assert!(some.iter().all(Result::is_ok), "{some:?}");
    }
    // 1,125 messages were pushed to be kept; the history's limit is 1,000.
    follows(&bob.phone, 5, 1).await;
    let first = bob.phone.receives_room_message().await.seq;
    assert_eq!(first, 126);
    for seq in first + 1..=1_125 {
        assert_eq!(bob.phone.receives_room_message().await.seq, seq);
    }
}

async fn c16_c17_following_while_others_push_loses_nobody(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    for turn in 1..=20_i64 {
        let followed = async {
            follows(&bob.phone, turn, 1).await;
        };
        let pushed = async {
            for text in ["1", "2", "3"] {
                pushes(&alice.phone, turn, text).await;
            }
        };
        tokio::join!(followed, pushed);
        for seq in 1..=3 {
            expect_message(&bob.phone, &format!("{seq}"), seq).await;
        }
        if turn % 2 == 0 {
            bob.phone.client().unsubscribe().await.unwrap();
        }
    }
}

async fn m9_room_numbers_are_no_acks_of_the_inbox(cell: &MatrixCell) {
    let world = cell
        .start_with(|config| {
            config.policy.sync_from_zero = gimlet_server::config::SyncFromZero::DeviceAck;
        })
        .await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    alice.phone.sends("1").to(&bob).await;
    let mut bare = world.bare().await;
    bare.signs_in(&bob.phone.who, 1).await;
    assert_eq!(bare.syncs(0).await.len(), 1);
    let subscribe = gimlet_client::pb::SubscribeRoomInput { room_id: 5, seq: 0 };
    let kind = gimlet_client::pb::PackageType::PtSubscribeRoom;
    assert_eq!(bare.asks(kind, 9, &subscribe).await.code, 0);
    for n in 1..=9 {
        pushes(&alice.phone, 5, &format!("{n}")).await;
        bare.pushed().await;
        bare.acks(n).await;
    }
    for text in ["2", "3"] {
        alice.phone.sends(text).to(&bob).await;
    }
    // Seq 2 had been acknowledged only as a number of the room. The ack of 1 counts.
    drop(bare);
    let mut again = world.bare().await;
    again.signs_in(&bob.phone.who, 1).await;
    let seqs: Vec<i64> = again.syncs(0).await.iter().map(|m| m.seq).collect();
    assert!(seqs.ends_with(&[2, 3]), "something was skipped: {seqs:?}");
}

async fn a_broadcast_reaches_all_and_is_not_stored(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let push = gimlet_client::pb::PushAllReq {
        message_type: 1,
        message_content: bytes::Bytes::from_static(b"\x0a\x04news"),
        send_time: 1,
    };
    world.calls().await.backend.push_all(push).await.unwrap();
    for person in [&alice, &bob] {
        assert_eq!(
            person.phone.receives_broadcast().await.content,
            MessageContent::text("news")
        );
    }
    alice.phone.sends("hi").to(&bob).await;
    assert!(matches!(bob.phone.next_entry().await, ClientEvent::Message(m) if m.seq == 1));
}

async fn a_room_is_resubscribed_after_a_cut(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    follows(&bob.phone, 5, 0).await;
    pushes(&alice.phone, 5, "1").await;
    expect_message(&bob.phone, "1", 1).await;
    world.cable().lead(&[]);
    bob.phone.is_disconnected().await;
    for text in ["2", "3"] {
        pushes(&alice.phone, 5, text).await;
    }
    world.cable().lead(&world.fronts());
    for seq in 2..=3 {
        expect_message(&bob.phone, &format!("{seq}"), seq).await;
    }
}
