//! Limits: behavior at each limit, and continued service for all others.

use std::future::IntoFuture as _;

use gimlet_client::pb::{self, PackageType, SendMessageReq};
use gimlet_tests::scenario::{MatrixCell, packet};
use prost::Message as _;

use crate::{CoveredCells, ScenarioCase, stories};

pub(crate) fn all() -> Vec<ScenarioCase> {
    stories!(limits, CoveredCells::Every => [
        a_sender_over_its_rate_gets_a_retry_time,
        the_library_waits_and_goes_on_by_itself,
        hundreds_of_sends_in_one_write_are_answered_in_order,
        a_connection_that_reads_and_syncs_does_not_wait_for_itself,
        a_full_group_is_full,
        who_guesses_tokens_locks_nobody_out_who_has_one,
        m19_many_may_be_mentioned_and_more_are_refused,
        r8_room_messages_have_a_size_and_a_rate,
    ])
}

fn send(to: i64, text: &str) -> SendMessageReq {
    SendMessageReq {
        receiver_type: pb::ReceiverType::RtUser.into(),
        receiver_id: to,
        message_type: pb::MessageType::MtText.into(),
        message_content: pb::Text {
            text: text.to_owned(),
        }
        .encode_to_vec()
        .into(),
        is_persist: true,
        client_message_id: text.to_owned(),
        ..SendMessageReq::default()
    }
}

/// S-9.
async fn a_sender_over_its_rate_gets_a_retry_time(cell: &MatrixCell) {
    let world = cell
        .start_with(|config| {
            config.limits.node.send_rate = 1;
            config.limits.node.send_burst = 3;
        })
        .await;
    let (alice, bob) = (world.absent("Alice").await, world.person("Bob").await);
    let mut bare = world.bare().await;
    bare.signs_in(&alice.phone.who, 1).await;
    let mut codes = Vec::new();
    for n in 0..5 {
        let output = bare
            .asks(PackageType::PtSend, n, &send(bob.id, &format!("{n}")))
            .await;
        if output.code != 0 {
            assert!(output.retry_after_ms > 0, "{output:?}");
        }
        codes.push(output.code);
    }
    assert_eq!(codes, [0, 0, 0, 8, 8]);
    // Other users have rates of their own.
    bob.phone.sends("not me").to(&bob).await;
}

async fn the_library_waits_and_goes_on_by_itself(cell: &MatrixCell) {
    let world = cell
        .start_with(|config| {
            config.limits.node.send_rate = 20;
            config.limits.node.send_burst = 5;
        })
        .await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let sends = (0..10).map(|n| alice.phone.sends(format!("{n}")).to(&bob).into_future());
    let sent = futures_util::future::join_all(sends).await;
    let mut seqs: Vec<i64> = sent.iter().map(|sent| sent.seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
}

async fn hundreds_of_sends_in_one_write_are_answered_in_order(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.absent("Alice").await, world.person("Bob").await);
    let mut bare = world.bare().await;
    bare.signs_in(&alice.phone.who, 1).await;
    // Far more than the limit of unanswered sends.
    let sends = (1..=300).map(|n| {
        packet(
            PackageType::PtSend.into(),
            n,
            &send(bob.id, &format!("{n}")),
        )
    });
    bare.writes_at_once(&sends.collect::<Vec<_>>()).await;
    for n in 1..=300 {
        let output = bare.answer().await;
        assert_eq!(
            (output.request_id, output.code),
            (n, 0),
            "{}",
            output.message
        );
        let sent = pb::SendMessageResp::decode(output.data).unwrap();
        assert_eq!(
            sent.seq, n,
            "stored in the order in which they were written"
        );
    }
    for n in 1..=300 {
        bob.phone.receives(format!("{n}")).at(n).await;
    }
}

/// The whole node has one read permit: the read of a connection that fell behind and its own SYNCs
/// take it in turn.
async fn a_connection_that_reads_and_syncs_does_not_wait_for_itself(cell: &MatrixCell) {
    let world = cell
        .start_with(|config| config.limits.node.parallel_reads = 1)
        .await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    let mut bare = world.bare().await;
    bare.signs_in(&bob.phone.who, 1).await;
    let large = "x".repeat(50_000);
    for n in 0..40 {
        alice.phone.sends(format!("{n} {large}")).to(&bob).await;
    }
    let syncs = (1..=20).map(|n| {
        let input = pb::SyncInput { seq: 0 };
        packet(PackageType::PtSync.into(), n, &input)
    });
    bare.writes_at_once(&syncs.collect::<Vec<_>>()).await;
    for n in 1..=20 {
        let output = bare.answer().await;
        assert_eq!(
            (output.request_id, output.code),
            (n, 0),
            "{}",
            output.message
        );
    }
}

async fn a_full_group_is_full(cell: &MatrixCell) {
    let world = cell
        .start_with(|config| config.limits.node.group_members = 3)
        .await;
    let alice = world.person("Alice").await;
    let (bob, carol) = (world.absent("Bob").await, world.absent("Carol").await);
    let dave = world.absent("Dave").await;
    let group = alice.phone.creates_a_group(&[&bob, &carol]).await;
    let api = alice.phone.api();
    let refused = api
        .add_group_members(group.id, &[dave.id])
        .await
        .unwrap_err();
    assert_eq!(refused.code, 8);
    assert!(refused.message.contains('3'), "{refused}");
    let refused = api.create_group("x", &[bob.id, carol.id, dave.id]).await;
    assert_eq!(refused.unwrap_err().code, 8);
    assert_eq!(api.group_members(group.id).await.unwrap().len(), 3);
}

/// Behind a proxy on this machine every client comes from loopback, so guesses are slowed down per
/// user; elsewhere they are counted per address (C-22, A12).
async fn who_guesses_tokens_locks_nobody_out_who_has_one(cell: &MatrixCell) {
    let world = cell
        .start_with(|config| config.limits.node.failed_sign_ins = 3)
        .await;
    let (alice, bob) = (world.absent("Alice").await, world.absent("Bob").await);
    let mut bare = world.bare().await;
    let mut codes = Vec::new();
    for n in 0..5 {
        let mut who = alice.phone.who.clone();
        who.token = format!("guess {n}");
        codes.push(bare.tries_to_sign_in(&who, 1).await.code);
    }
    // Behind a proxy one further attempt per second is checked.
    assert_eq!(codes.iter().take(3).collect::<Vec<_>>(), [&10_000; 3]);
    assert!(codes.contains(&8), "{codes:?}");
    alice.phone.comes_back().await;
    bob.phone.comes_back().await;
    alice.phone.sends("hi").to(&bob).await;
    bob.phone.receives("hi").at(1).await;
}

async fn m19_many_may_be_mentioned_and_more_are_refused(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let many: Vec<i64> = (1..=200).map(|n| i64::MAX - n).collect();
    alice
        .phone
        .sends("all of you")
        .to(&bob)
        .mentioning(&many)
        .await;
    assert_eq!(bob.phone.receives("all of you").at(1).await.mentions, many);
    let more: Vec<i64> = (1..=201).collect();
    let sending = alice.phone.sends("and you").to(&bob).mentioning(&more);
    let (code, text) = sending.is_refused().await;
    assert_eq!(code, 10_001);
    assert!(text.contains("200"), "{text}");
}

async fn r8_room_messages_have_a_size_and_a_rate(cell: &MatrixCell) {
    let world = cell
        .start_with(|config| {
            config.limits.node.send_rate = 1;
            config.limits.node.send_burst = 3;
        })
        .await;
    let alice = world.absent("Alice").await;
    let api = alice.phone.api();
    let huge = gimlet_client::MessageContent::text("x".repeat(61_441));
    assert_eq!(
        api.push_room(5, &huge, true).await.unwrap_err().code,
        10_001
    );
    assert_eq!(
        api.push_room(0, &huge, true).await.unwrap_err().code,
        10_001
    );
    let small = gimlet_client::MessageContent::text("x");
    let mut last = Ok(());
    for _ in 0..6 {
        last = api.push_room(5, &small, true).await;
    }
    assert_eq!(last.unwrap_err().code, 8);
}
