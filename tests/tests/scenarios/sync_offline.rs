//! Missed messages arrive later, in order and without holes.

use gimlet_tests::scenario::{BareConnection, Device, MatrixCell, ScenarioUser};

use crate::{CoveredCells, ScenarioCase, stories};

pub(crate) fn all() -> Vec<ScenarioCase> {
    stories!(sync_offline,
        CoveredCells::Every => [
            an_absent_device_gets_everything_in_order,
            two_hundred_come_in_pages,
            a_device_goes_on_where_it_stopped,
            two_devices_have_different_positions,
            what_is_sent_between_sign_in_and_sync_is_not_lost,
            a_message_that_fills_a_frame_stops_no_sync,
            m17_a_message_keeps_the_time_it_was_sent_at,
        ],
        // The HTTP API refuses such a page.
        CoveredCells::Packets => [a_seq_above_the_head_is_an_empty_page],
    )
}

async fn many(from: &Device, to: &ScenarioUser, range: std::ops::Range<usize>) {
    use std::future::IntoFuture as _;
    let sends = range.map(|n| from.sends(format!("{n}")).to(to).into_future());
    futures_util::future::join_all(sends).await;
}

async fn an_absent_device_gets_everything_in_order(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    for n in 1..=120 {
        alice.phone.sends(format!("{n}")).to(&bob).await;
    }
    bob.phone.switches_on().await;
    for n in 1..=120 {
        bob.phone.receives(format!("{n}")).at(n).await;
    }
    bob.phone.is_up_to_date().await;
    alice.phone.sends("live").to(&bob).await;
    bob.phone.receives("live").at(121).await;
}

async fn two_hundred_come_in_pages(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    many(&alice.phone, &bob, 0..200).await;
    let mut bare = world.bare().await;
    bare.signs_in(&bob.phone.who, 1).await;
    let (mut seq, mut sizes) = (0, Vec::new());
    loop {
        let page = bare.page(seq).await;
        sizes.push(page.messages.len());
        for message in &page.messages {
            assert_eq!(message.seq, seq + 1);
            seq = message.seq;
        }
        assert_eq!((page.head, page.floor), (200, 0));
        if !page.has_more {
            break;
        }
    }
    assert_eq!(sizes, [50, 50, 50, 50]);
}

async fn a_device_goes_on_where_it_stopped(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    for away in 0..3 {
        let (seen, missed) = (2 * away + 1, 2 * away + 2);
        alice.phone.sends(format!("seen {away}")).to(&bob).await;
        bob.phone.receives(format!("seen {away}")).at(seen).await;
        // The client counts an event as handled when the next one is requested: receiving a live
        // message does this.
        alice.phone.sends("mark").to(&bob).unkept().await;
        bob.phone.receives_live().await;
        bob.phone.goes_offline().await;
        alice.phone.sends(format!("missed {away}")).to(&bob).await;
        bob.phone.switches_on().await;
        bob.phone
            .receives(format!("missed {away}"))
            .at(missed)
            .await;
        bob.phone.is_up_to_date().await;
    }
}

async fn two_devices_have_different_positions(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let tablet = bob.absent_device("tablet").await;
    alice.phone.sends("one").to(&bob).await;
    bob.phone.receives("one").at(1).await;
    tablet.switches_on().await;
    tablet.receives("one").at(1).await;
    tablet.goes_offline().await;
    alice.phone.sends("two").to(&bob).await;
    bob.phone.receives("two").at(2).await;
    let mut bare = world.bare().await;
    bare.signs_in(&tablet.who, 1).await;
    let seqs =
        |page: Vec<gimlet_client::pb::Message>| page.iter().map(|m| m.seq).collect::<Vec<_>>();
    assert_eq!(seqs(bare.syncs(1).await), [2]);
    assert_eq!(seqs(bare.syncs(0).await), [1, 2]);
}

async fn a_seq_above_the_head_is_an_empty_page(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    alice.phone.sends("one").to(&bob).await;
    let mut bare = world.bare().await;
    bare.signs_in(&bob.phone.who, 1).await;
    let page = bare.page(1_000).await;
    assert!(page.messages.is_empty() && !page.has_more);
    assert_eq!(page.head, 1);
    alice.phone.sends("two").to(&bob).await;
    assert_eq!(bare.pushed().await.seq, 2, "the cursor stands at the head");
}

async fn what_is_sent_between_sign_in_and_sync_is_not_lost(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    alice.phone.sends("1").to(&bob).await;
    let mut bare = world.bare().await;
    bare.signs_in(&bob.phone.who, 1).await;
    alice.phone.sends("2").to(&bob).await;
    let mut seqs = seqs_of(&mut bare).await;
    alice.phone.sends("3").to(&bob).await;
    while seqs.len() < 3 {
        seqs.push(bare.pushed().await.seq);
    }
    assert_eq!(seqs, [1, 2, 3]);
}

async fn seqs_of(bare: &mut BareConnection) -> Vec<i64> {
    bare.syncs(0)
        .await
        .iter()
        .map(|message| message.seq)
        .collect()
}

/// M-12: gim returned an empty page with `has_more` for such a message, endlessly.
async fn a_message_that_fills_a_frame_stops_no_sync(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    let huge = "x".repeat(60 * 1024 - 4);
    for text in ["before", &huge, &huge, "after"] {
        alice.phone.sends(text).to(&bob).await;
    }
    let mut bare = world.bare().await;
    bare.signs_in(&bob.phone.who, 1).await;
    assert_eq!(seqs_of(&mut bare).await, [1, 2, 3, 4]);
    let (code, _) = alice
        .phone
        .sends(format!("{huge}y"))
        .to(&bob)
        .is_refused()
        .await;
    assert_eq!(code, 10_001);
}

/// The stored time is neither that of the SYNC nor the server's.
async fn m17_a_message_keeps_the_time_it_was_sent_at(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.absent("Alice").await, world.absent("Bob").await);
    let mut bare = world.bare().await;
    bare.signs_in(&alice.phone.who, 1).await;
    // JSON takes no number that JavaScript could not read back.
    let largest = match world.wire().bridged() {
        Some(_) => (1 << 53) - 1,
        None => i64::MAX,
    };
    let times = [1, 1_600_000_000_123, 0, -5, largest];
    for time in times {
        let send = gimlet_client::pb::SendMessageReq {
            receiver_type: 1,
            receiver_id: bob.id,
            message_type: 1,
            send_time: time,
            is_persist: true,
            ..Default::default()
        };
        let kind = gimlet_client::pb::PackageType::PtSend;
        assert_eq!(bare.asks(kind, 5, &send).await.code, 0, "{time}");
    }
    let mut reader = world.bare().await;
    reader.signs_in(&bob.phone.who, 1).await;
    let mut kept: Vec<i64> = reader.syncs(0).await.iter().map(|m| m.send_time).collect();
    // N-B6: a send without a time gets the current time, not 1970.
    assert!(kept[2] > 1_700_000_000_000, "{kept:?}");
    kept[2] = 0;
    assert_eq!(kept, times);
}
