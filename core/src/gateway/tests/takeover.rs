//! Takeover of a device: the newer connection is served, on this node or on another, and none once
//! the node shuts down.

use super::*;
use crate::auth::SignInFailures;
use crate::gateway::displaced::was_overtaken;
use crate::id::Generation;
use crate::store::Route;

/// Signs the device in on another node.
async fn sign_in_elsewhere(stores: &StoreSet, who: u64, on: u64) {
    let elsewhere = Route {
        device: DeviceId::new(on).unwrap(),
        user: user(who),
        generation: Generation(99),
        node: NodeId::boot("elsewhere"),
        client: None,
    };
    stores.route.renew(&elsewhere.node).await.unwrap();
    stores.route.claim(&elsewhere).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn c4_a_superseded_connection_can_neither_send_nor_sync() {
    let stores = memory::stores();
    let node = node(&stores);
    let (old, _) = live(&node, 2, 21, 0).await;
    let (_new, _) = live(&node, 2, 21, 0).await;
    assert_eq!(old.sync(Seq::ZERO).await.unwrap_err().code(), 10000);
    assert_eq!(
        old.send(MessageDraft::text(user(1), "x"))
            .await
            .unwrap_err()
            .code(),
        10000
    );
}

#[tokio::test(start_paused = true)]
async fn the_node_going_away_tells_everyone_when_to_come_back() {
    let stores = memory::stores();
    let node = node(&stores);
    let (bob, _) = live(&node, 2, 21, 0).await;
    node.gateway().close_all(Duration::from_secs(5));
    let ConnectionWork::Close(CloseReason::Shutdown { after }) = work(&bob).await else {
        panic!("it should be closed")
    };
    assert!(after <= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_nothing_is_served_before_the_routes_are_compared() {
    let stores = memory::stores();
    let node = node(&stores);
    let (moved, _) = live(&node, 1, 10, 0).await;
    let (stayed, _) = live(&node, 2, 20, 0).await;
    // The process is paused; the device signs in elsewhere, and a push is in the socket.
    sign_in_elsewhere(&stores, 1, 10).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    for who in [1, 2] {
        send(&node, 3, 30, who).await;
    }
    assert!(matches!(
        work(&moved).await,
        ConnectionWork::Close(CloseReason::Superseded)
    ));
    assert_eq!(next(&stayed, 1).await, [1]);
    assert!(moved.send(MessageDraft::text(user(2), "x")).await.is_err());
    drop((moved, stayed));
    node.stop().await;
}

#[tokio::test]
async fn a_sign_in_that_was_overtaken_is_no_wrong_token() {
    let stores = memory::stores();
    let node = node(&stores);
    sign_in_elsewhere(&stores, 1, 10).await;
    let request = SignInRequest {
        user: user(1),
        device: DeviceId::new(10).unwrap(),
        token: "any".to_owned(),
        client: None,
        protocol: 1,
        legacy: false,
        echo: false,
        resume_after: Seq::ZERO,
    };
    let refusal = node.gateway().sign_in(request).await.unwrap_err();
    assert!(was_overtaken(&refusal), "{refusal}");
    assert!(was_displaced(&refusal), "{refusal}");
    assert_eq!(refusal.code(), 10_000);
    assert!(!was_overtaken(&RequestRefusal::Unauthorized(
        "the token is wrong"
    )));
    node.stop().await;
}

/// Otherwise a request with a wrong position would cut off the device's live connection.
#[tokio::test(start_paused = true)]
async fn a_sign_in_that_continues_after_the_head_is_refused_and_ends_no_connection() {
    let stores = memory::stores();
    let node = node(&stores);
    let (live, _) = live(&node, 2, 21, 0).await;
    let request = |resume_after| SignInRequest {
        user: user(2),
        device: DeviceId::new(21).unwrap(),
        token: "any".to_owned(),
        client: None,
        protocol: 1,
        legacy: false,
        echo: false,
        resume_after,
    };
    let refused = node.gateway().sign_in(request(Seq::new(1))).await;
    let refusal = refused.unwrap_err();
    assert_eq!(refusal.code(), 10_001);
    assert!(
        refusal
            .to_string()
            .contains("above the inbox's last entry 0")
    );
    assert!(!live.handle().is_superseded());
    send(&node, 1, 10, 2).await;
    assert_eq!(next(&live, 1).await, [1]);
    let newer = node.gateway().sign_in(request(Seq::new(1))).await.unwrap();
    assert!(live.handle().is_superseded());
    drop((live, newer));
    node.stop().await;
}

/// Otherwise a client that reconnects a few times would lock itself out.
#[tokio::test]
async fn an_overtaken_sign_in_does_not_count_as_a_guess_at_any_entry_point() {
    let stores = memory::stores();
    let node = node(&stores);
    sign_in_elsewhere(&stores, 1, 10).await;
    let failures = SignInFailures::new(1);
    for _ in 0..20 {
        let request = SignInRequest {
            user: user(1),
            device: DeviceId::new(10).unwrap(),
            token: "any".to_owned(),
            client: Some(SocketAddr::from(([192, 0, 2, 1], 1))),
            protocol: 1,
            legacy: false,
            echo: false,
            resume_after: Seq::ZERO,
        };
        let signed_in = node.gateway().sign_in_limited(&failures, request);
        assert_eq!(signed_in.await.unwrap_err().code(), 10_000);
    }
    assert_eq!(failures.failed(), 0);
    node.stop().await;
}
