//! A device that reads slowly: no message is lost, the device stays connected, and no other device
//! waits.

use gimlet_client::pb::{MessageSend, Output, PackageType};
use gimlet_tests::scenario::MatrixCell;
use prost::Message as _;

use crate::{CoveredCells, ScenarioCase, stories};

pub(crate) fn all() -> Vec<ScenarioCase> {
    stories!(lagging, CoveredCells::Every => [
        who_does_not_read_for_long_gets_everything_in_the_end,
        a_slow_application_gets_everything_and_may_send_meanwhile,
    ])
}

/// More messages than all buffers of the sockets hold.
const COUNT: i64 = 150;
const SIZE: usize = 50_000;

/// C-12, C-14, M-13.
async fn who_does_not_read_for_long_gets_everything_in_the_end(cell: &MatrixCell) {
    let world = cell
        .start_with(|config| config.limits.node.outbox_bytes = 64 * 1024)
        .await;
    let (alice, bob) = (world.person("Alice").await, world.absent("Bob").await);
    let tablet = bob.device("tablet").await;
    let mut slow = world.bare().await;
    slow.signs_in(&bob.phone.who, 1).await;
    slow.syncs(0).await;
    for n in 1..=COUNT {
        let text = format!("{n:0>SIZE$}");
        alice.phone.sends(&text).to(&bob).await;
        tablet.receives(text).at(n).await;
    }
    for seq in 1..=COUNT {
        let Output { r#type, data, .. } = slow.next().await.unwrap();
        assert_eq!(r#type, i32::from(PackageType::PtMessage));
        let message = MessageSend::decode(data).unwrap().message.unwrap();
        assert_eq!(message.seq, seq);
        assert!(message.message_content.len() > SIZE);
    }
    assert_eq!(slow.beats().await.code, 0, "it is still signed in");
}

async fn a_slow_application_gets_everything_and_may_send_meanwhile(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    for n in 1..=400 {
        alice.phone.sends(format!("{n}")).to(&bob).await;
    }
    // Bob's application has not read any of them.
    assert_eq!(bob.phone.sends("wait").to(&alice).await.seq, 401);
    for n in 1..=400 {
        bob.phone.receives(format!("{n}")).at(n).await;
    }
    alice.phone.receives("wait").at(401).await;
}
