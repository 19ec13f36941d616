//! A revoked token or a disconnected device neither sends nor receives after the answer.

use gimlet_client::{ClientEvent, pb};
use gimlet_tests::scenario::{GrpcServices, MatrixCell};
use pb::PackageType as Kind;

use crate::{CoveredCells, ScenarioCase, stories};

pub(crate) fn all() -> Vec<ScenarioCase> {
    stories!(revocation, CoveredCells::Every => [
        signing_out_ends_the_connection_and_the_token,
        a_backend_disconnects_a_device,
        nothing_is_received_after_the_answer,
    ])
}

async fn signing_out_ends_the_connection_and_the_token(cell: &MatrixCell) {
    let world = cell.start().await;
    let bob = world.person("Bob").await;
    let tablet = bob.device("tablet").await;
    bob.phone.api().sign_out().await.unwrap();
    let ClientEvent::SignedOut { code, .. } = bob.phone.receives_session_end().await else {
        panic!("signed out")
    };
    assert_eq!(code, i32::from(pb::CloseCode::TokenRevoked));
    let mut bare = world.bare().await;
    assert_eq!(bare.tries_to_sign_in(&bob.phone.who, 1).await.code, 10_000);
    assert_eq!(bob.phone.api().friends().await.unwrap_err().code, 10_000);
    bob.phone.goes_offline().await;
    tablet.sends("still here").to(&bob).await;
}

async fn a_backend_disconnects_a_device(cell: &MatrixCell) {
    let world = cell.start().await;
    let bob = world.person("Bob").await;
    let tablet = bob.device("tablet").await;
    let request = pb::DisconnectReq {
        user_id: bob.id,
        device_id: bob.phone.who.device_id,
        reason: "the account was locked".into(),
    };
    let calls = world.calls().await;
    GrpcServices::answer(calls.backend.clone().disconnect(request.clone()).await).unwrap();
    let ClientEvent::SignedOut { code, message, .. } = bob.phone.receives_session_end().await
    else {
        panic!("signed out")
    };
    assert_eq!(code, i32::from(pb::CloseCode::Disconnected));
    assert!(message.contains("locked"), "{message}");
    tablet.sends("still here").to(&bob).await;
    let all = pb::DisconnectReq {
        device_id: 0,
        ..request
    };
    GrpcServices::answer(calls.backend.clone().disconnect(all).await).unwrap();
    tablet.receives_session_end().await;
}

async fn nothing_is_received_after_the_answer(cell: &MatrixCell) {
    let world = cell.start().await;
    let alice = world.person("Alice").await;
    for protocol in [0, 1, 0, 1] {
        let bob = world.absent("Bob").await;
        let mut bare = world.bare().await;
        bare.signs_in(&bob.phone.who, protocol).await;
        bare.syncs(0).await;
        for n in 0..5 {
            alice.phone.sends(format!("before {n}")).to(&bob).await;
        }
        bob.phone.api().sign_out().await.unwrap();
        for n in 0..5 {
            alice.phone.sends(format!("after {n}")).to(&bob).await;
        }
        // It cannot send either: the server answers with an error or has closed the connection.
        let send = pb::SendMessageReq::default();
        let body = gimlet_tests::scenario::packet(Kind::PtSend.into(), 9, &send);
        let _ = bare.try_write(&body).await;
        bare.ends().await;
        let late: Vec<i64> = bare
            .pushes()
            .iter()
            .map(|m| m.seq)
            .filter(|s| *s > 5)
            .collect();
        assert!(late.is_empty(), "pushed after the answer: {late:?}");
    }
}
