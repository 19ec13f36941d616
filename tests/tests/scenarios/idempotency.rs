//! Law 4: a repeated send stores nothing and is answered like the first.

use std::future::IntoFuture as _;

use gimlet_client::pb::{self, PackageType, SendMessageReq};
use gimlet_tests::scenario::{BareConnection, GrpcServices, MatrixCell, ScenarioUser};
use prost::Message as _;

use crate::{CoveredCells, ScenarioCase, stories};

pub(crate) fn all() -> Vec<ScenarioCase> {
    stories!(idempotency, CoveredCells::Every => [
        twenty_parallel_repeats_over_several_connections_are_one_message,
        another_content_with_the_same_id_is_a_conflict,
        a_repeat_over_grpc_and_the_socket_is_one_message,
        a_repeat_by_request_id_is_one_message,
        what_is_not_kept_is_not_remembered,
    ])
}

fn message(to: &ScenarioUser, text: &str, id: &str) -> SendMessageReq {
    SendMessageReq {
        receiver_type: pb::ReceiverType::RtUser.into(),
        receiver_id: to.id,
        message_type: pb::MessageType::MtText.into(),
        message_content: pb::Text {
            text: text.to_owned(),
        }
        .encode_to_vec()
        .into(),
        send_time: 1_700_000_000_000,
        is_persist: true,
        client_message_id: id.to_owned(),
        ..SendMessageReq::default()
    }
}

async fn sends(bare: &mut BareConnection, request: &SendMessageReq) -> (i32, pb::SendMessageResp) {
    let output = bare.asks(PackageType::PtSend, 7, request).await;
    (
        output.code,
        pb::SendMessageResp::decode(output.data).unwrap(),
    )
}

/// M-6.
async fn twenty_parallel_repeats_over_several_connections_are_one_message(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let devices = [
        alice.device("laptop").await,
        alice.device("tablet").await,
        alice.device("watch").await,
    ];
    let sends = (0..20).map(|n| {
        let from = devices.get(n % 4).unwrap_or(&alice.phone);
        from.sends("once").to(&bob).with_id("same").into_future()
    });
    let sent = futures_util::future::join_all(sends).await;
    for one in &sent {
        assert_eq!((one.seq, &one.message_id), (1, &sent[0].message_id));
    }
    assert_eq!(sent.iter().filter(|one| !one.repeated).count(), 1);
    bob.phone.receives("once").at(1).await;
    alice.phone.sends("next").to(&bob).await;
    bob.phone.receives("next").at(2).await;
}

async fn another_content_with_the_same_id_is_a_conflict(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    alice.phone.sends("one").to(&bob).with_id("x").await;
    let (code, _) = alice
        .phone
        .sends("two")
        .to(&bob)
        .with_id("x")
        .is_refused()
        .await;
    assert_eq!(code, 6);
    let (code, _) = alice
        .phone
        .sends("one")
        .to(&alice)
        .with_id("x")
        .is_refused()
        .await;
    assert_eq!(code, 6, "another receiver");
    // Client message ids are scoped to their sender.
    assert!(
        !bob.phone
            .sends("one")
            .to(&alice)
            .with_id("x")
            .await
            .repeated
    );
    assert!(
        alice
            .phone
            .sends("one")
            .to(&bob)
            .with_id("x")
            .await
            .repeated
    );
}

async fn a_repeat_over_grpc_and_the_socket_is_one_message(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.absent("Alice").await, world.person("Bob").await);
    let request = message(&bob, "once", "grpc and socket");
    let mut bare = world.bare().await;
    bare.signs_in(&alice.phone.who, 1).await;
    let (code, first) = sends(&mut bare, &request).await;
    assert_eq!((code, first.seq, first.repeated), (0, 1, false));
    let calls = world.calls().await;
    let later = SendMessageReq {
        send_time: 1_800_000_000_000,
        ..request
    };
    let signed = GrpcServices::signed(&alice.phone.who, later);
    let again = GrpcServices::answer(calls.logic.clone().send_message(signed).await).unwrap();
    assert_eq!(
        again,
        pb::SendMessageResp {
            repeated: true,
            ..first
        }
    );
    bob.phone.receives("once").at(1).await;
}

async fn a_repeat_by_request_id_is_one_message(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.absent("Alice").await, world.person("Bob").await);
    let calls = world.calls().await;
    let mut seqs = Vec::new();
    for request_id in ["71", "71", "72"] {
        let mut signed = GrpcServices::signed(&alice.phone.who, message(&bob, "hi", ""));
        signed
            .metadata_mut()
            .insert("request_id", request_id.parse().unwrap());
        let sent = GrpcServices::answer(calls.logic.clone().send_message(signed).await).unwrap();
        seqs.push(sent.seq);
    }
    assert_eq!(seqs, [1, 1, 2]);
    bob.phone.receives("hi").at(1).await;
    bob.phone.receives("hi").at(2).await;
}

async fn what_is_not_kept_is_not_remembered(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    for _ in 0..2 {
        let sent = alice
            .phone
            .sends("ring")
            .to(&bob)
            .unkept()
            .with_id("ring")
            .await;
        assert_eq!((sent.seq, sent.repeated), (0, false));
        bob.phone.receives_live().await;
    }
}
