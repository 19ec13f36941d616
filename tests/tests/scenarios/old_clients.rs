//! Clients of gim, without our extension.

use std::time::Duration;

use gimlet_client::pb::{self, PackageType as Kind};
use gimlet_tests::scenario::{BareConnection, MatrixCell, ScenarioWire, packet};
use prost::Message as _;
use tokio::time::Instant;

use crate::{CoveredCells, ScenarioCase, stories};

pub(crate) fn all() -> Vec<ScenarioCase> {
    stories!(old_clients,
        CoveredCells::Protobuf => [
            sign_in_sync_and_subscribe_in_one_write,
            who_ignores_has_more_is_pushed_the_rest,
            answers_are_as_gim_gave_them,
        ],
        CoveredCells::Only(ScenarioWire::Ws) => [a_url_signs_in],
        CoveredCells::Only(ScenarioWire::Tcp) => [
            frames_come_one_by_one_with_time_between,
            pages_fit_the_buffer_of_an_old_client,
        ],
    )
}

async fn sign_in_sync_and_subscribe_in_one_write(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    alice.phone.sends("hi").to(&bob).await;
    let sign_in = pb::SignInInput {
        device_id: bob.phone.who.device_id,
        user_id: bob.id,
        token: bob.phone.who.token.clone(),
        protocol: 0,
    };
    let subscribe = pb::SubscribeRoomInput { room_id: 5, seq: 0 };
    let mut bare = world.bare().await;
    bare.writes_at_once(&[
        packet(Kind::PtSignIn.into(), 11, &sign_in),
        packet(Kind::PtSync.into(), 12, &pb::SyncInput { seq: 0 }),
        packet(Kind::PtSubscribeRoom.into(), 13, &subscribe),
    ])
    .await;
    let signed_in = bare.answer().await;
    assert_eq!((signed_in.request_id, signed_in.code), (11, 0));
    let synced = bare.answer().await;
    assert_eq!(synced.request_id, 12);
    let page = pb::SyncOutput::decode(synced.data).unwrap();
    assert_eq!(page.messages.len(), 1);
    let subscribed = bare.answer().await;
    assert_eq!((subscribed.request_id, subscribed.code), (13, 0));
    let content = gimlet_client::MessageContent::text("in the room");
    alice
        .phone
        .api()
        .push_room(5, &content, false)
        .await
        .unwrap();
    assert_eq!(bare.pushed().await.receiver_id, 5);
}

async fn who_ignores_has_more_is_pushed_the_rest(cell: &MatrixCell) {
    let world = cell
        .start_with(|config| config.limits.node.sync_wait = Duration::from_millis(100))
        .await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    for n in 1..=60 {
        alice.phone.sends(format!("{n}")).to(&bob).await;
    }
    let mut bare = world.bare().await;
    bare.signs_in(&bob.phone.who, 0).await;
    let page = bare.page(0).await;
    assert!(page.has_more);
    let mut last = page.messages.last().unwrap().seq;
    while last < 60 {
        let next = bare.pushed().await.seq;
        assert_eq!(next, last + 1);
        last = next;
        bare.acks(last).await;
    }
}

async fn answers_are_as_gim_gave_them(cell: &MatrixCell) {
    let world = cell.start().await;
    let bob = world.absent("Bob").await;
    let mut bare = world.bare().await;
    let signed_in = bare.signs_in(&bob.phone.who, 0).await;
    assert!(
        signed_in.data.is_empty(),
        "sign-in has no data for old clients"
    );
    let beat = bare.beats().await;
    assert_eq!((beat.code, beat.request_id), (0, 4));
    assert!(beat.data.is_empty());
    // A client that speaks the extension receives more fields.
    let mut ours = world.bare().await;
    let signed_in = ours.signs_in(&bob.phone.who, 1).await;
    let output = pb::SignInOutput::decode(signed_in.data).unwrap();
    assert!(output.epoch != 0 && output.head == 0);
}

async fn a_url_signs_in(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    let who = &bob.phone.who;
    let query = |token: &str| {
        format!(
            "?user_id={}&device_id={}&token={token}&request_id=5",
            who.user_id, who.device_id
        )
    };
    let mut bare = BareConnection::ws(&world, &query(&who.token)).await;
    // The first answer is that of the SYNC: a sign-in by URL has none.
    assert!(bare.page(0).await.messages.is_empty());
    alice.phone.sends("hi").to(&bob).await;
    assert_eq!(bare.pushed().await.seq, 1);
    let mut wrong = BareConnection::ws(&world, &query("wrong")).await;
    let refused = wrong.answer().await;
    assert_eq!((refused.r#type(), refused.code), (Kind::PtSignIn, 10_000));
    // The connection may still sign in with a packet.
    wrong.signs_in(who, 0).await;
}

/// A legacy client parses one frame per read.
async fn frames_come_one_by_one_with_time_between(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    let mut bare = world.bare().await;
    bare.signs_in(&bob.phone.who, 0).await;
    bare.syncs(0).await;
    // Measured from before the first frame: this side may read late, never early.
    let before = Instant::now();
    for n in 1..=4 {
        alice.phone.sends(format!("{n}")).to(&bob).await;
    }
    // All four are stored. The server waits for the ack of the first, and pushes the next one after
    // the wait even without it.
    for seq in 1..=2 {
        assert_eq!(bare.pushed().await.seq, seq);
    }
    let paced = before.elapsed();
    assert!(
        paced >= Duration::from_millis(500),
        "two frames within {paced:?}"
    );
    // After an ack the next one follows at once; only its arrival is checked here.
    for seq in 3..=4 {
        bare.acks(seq - 1).await;
        assert_eq!(bare.pushed().await.seq, seq);
    }
}

async fn pages_fit_the_buffer_of_an_old_client(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    for size in [10, 400, 400, 400, 2_000, 10, 10, 30_000, 900, 10] {
        alice.phone.sends("x".repeat(size)).to(&bob).await;
    }
    let mut bare = world.bare().await;
    bare.signs_in(&bob.phone.who, 0).await;
    let (mut seq, mut more) = (0, true);
    while more {
        let output = bare.asks(Kind::PtSync, 2, &pb::SyncInput { seq }).await;
        let body = output.encoded_len();
        let page = pb::SyncOutput::decode(output.data).unwrap();
        let alone = page.messages.len() == 1;
        assert!(alone || body <= 1_022, "{body} bytes");
        for message in &page.messages {
            assert_eq!(message.seq, seq + 1);
            seq = message.seq;
        }
        more = page.has_more;
    }
    assert_eq!(seq, 10);
}
