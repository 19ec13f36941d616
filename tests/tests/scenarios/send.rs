//! Messages from one user to another.

use gimlet_client::{MessageContent, MessageDraft};
use gimlet_tests::scenario::{MatrixCell, MessageReceiver as _};

use crate::{CoveredCells, ScenarioCase, stories};

pub(crate) fn all() -> Vec<ScenarioCase> {
    stories!(send, CoveredCells::Every => [
        a_message_arrives_with_all_it_had,
        both_ends_number_their_own_copy,
        a_message_to_oneself_is_one_entry,
        what_is_not_kept_is_live_only,
        odd_content_arrives_as_it_was,
        a_conversation_keeps_its_order,
    ])
}

async fn a_message_arrives_with_all_it_had(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let sent = alice
        .phone
        .sends("hi")
        .to(&bob)
        .mentioning(&[bob.id, 7])
        .await;
    assert_eq!(sent.seq, 1, "Alice's own copy");
    let got = bob
        .phone
        .receives("hi")
        .at(1)
        .from(&alice)
        .within(&bob)
        .await;
    assert_eq!(got.mentions, [bob.id, 7]);
    assert_eq!(got.message_id, sent.message_id);
    assert!(!got.own);
    assert!(
        format!("{:?}", got.sender).contains("Alice"),
        "{:?}",
        got.sender
    );
}

async fn both_ends_number_their_own_copy(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let carol = world.person("Carol").await;
    carol.phone.sends("first").to(&bob).await;
    let sent = alice.phone.sends("second").to(&bob).await;
    assert_eq!(sent.seq, 1);
    bob.phone.receives("first").at(1).await;
    bob.phone.receives("second").at(2).await;
}

async fn a_message_to_oneself_is_one_entry(cell: &MatrixCell) {
    let world = cell.start().await;
    let alice = world.person("Alice").await;
    let laptop = alice.device("laptop").await;
    let sent = alice.phone.sends("remember the milk").to(&alice).await;
    assert_eq!(sent.seq, 1);
    let got = laptop.receives("remember the milk").at(1).await;
    assert!(got.own && !got.own_device);
    assert_eq!(alice.phone.sends("and bread").to(&alice).await.seq, 2);
}

async fn what_is_not_kept_is_live_only(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let sent = alice.phone.sends("typing …").to(&bob).unkept().await;
    assert_eq!(sent.seq, 0);
    let got = bob.phone.receives_live().await;
    assert_eq!(got.content, MessageContent::text("typing …"));
    alice.phone.sends("done").to(&bob).await;
    bob.phone.receives("done").at(1).await;
}

async fn odd_content_arrives_as_it_was(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("🦀 أليس").await, world.person("Bob").await);
    for text in [
        "",
        "🦀 → Ω",
        "a\0b",
        "\u{202e}right to left",
        &"x".repeat(20_000),
    ] {
        alice.phone.sends(text).to(&bob).await;
        bob.phone.receives(text).await;
    }
    let bytes = MessageContent::Other {
        kind: 99,
        bytes: vec![0xff, 0, 0xfe].into(),
    };
    let draft = MessageDraft::new(bob.receiver(), bytes.clone());
    alice.phone.client().send_draft(draft).await.unwrap();
    let gimlet_client::ClientEvent::Message(got) = bob.phone.next_entry().await else {
        panic!("a message");
    };
    assert_eq!(got.content, bytes);
    assert!(format!("{:?}", got.sender).contains("أليس"));
}

async fn a_conversation_keeps_its_order(cell: &MatrixCell) {
    let world = cell.start().await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    for turn in 0..20 {
        let seq = 2 * turn + 1;
        let asked = format!("ping {turn}");
        assert_eq!(alice.phone.sends(&asked).to(&bob).await.seq, seq);
        bob.phone.receives(&asked).at(seq).await;
        let reply = format!("pong {turn}");
        assert_eq!(bob.phone.sends(&reply).to(&alice).await.seq, seq + 1);
        alice.phone.receives(&reply).at(seq + 1).await;
    }
}
