//! Races over whole servers: a reader never skips a hole (M-1, M-2, M-14), and every byte goes to
//! its own user (C-1, C-2).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation should panic"
)]

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use gimlet_client::{ClientEvent, MessageContent, MessageDraft, MessageTarget, pb};
use gimlet_tests::scenario::{
    BareConnection, MatrixCell, ScenarioFixture, ScenarioStore, ScenarioUser, ScenarioWire,
};
use prost::Message as _;
use tokio::runtime::Builder;

const SENDS: i64 = 200;
const SENDERS: usize = 20;

/// Runs a test in a cell of its own.
fn run<'a, F: Future<Output = ()>>(cell: &'a MatrixCell, story: impl FnOnce(&'a MatrixCell) -> F) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        story(cell).await;
        cell.end().await;
    });
}

#[test]
fn two_hundred_sends_leave_no_hole_for_a_reader_on_memory() {
    run(
        &MatrixCell::new(ScenarioStore::Memory, ScenarioWire::Tcp),
        two_hundred_sends,
    );
}

#[test]
fn two_hundred_sends_leave_no_hole_for_a_reader_on_sled() {
    run(
        &MatrixCell::new(ScenarioStore::Sled, ScenarioWire::Tcp),
        two_hundred_sends,
    );
}

#[test]
fn every_byte_belongs_to_its_user_on_memory() {
    run(
        &MatrixCell::new(ScenarioStore::Memory, ScenarioWire::Ws),
        churning_connections,
    );
}

#[test]
fn every_byte_belongs_to_its_user_on_sled() {
    run(
        &MatrixCell::new(ScenarioStore::Sled, ScenarioWire::Tcp),
        churning_connections,
    );
}

async fn two_hundred_sends(cell: &MatrixCell) {
    let world = cell.start().await;
    let senders = join_all((0..SENDERS).map(|_| world.person("Sender"))).await;
    let bob = world.person("Bob").await;
    let tablet = bob.absent_device("tablet").await;
    let mut reader = world.bare().await;
    reader.signs_in(&tablet.who, 1).await;
    let sends = senders.iter().enumerate().map(|(who, sender)| {
        let bob = &bob;
        async move {
            let all = (0..10).map(|n| sender.phone.sends(format!("{who} {n}")).to(bob));
            join_all(all.map(std::future::IntoFuture::into_future)).await
        }
    });
    let reads = async {
        // Each page begins right after the last one: an entry that appeared late would be skipped.
        let mut texts = BTreeSet::new();
        let mut seq = 0;
        while seq < SENDS {
            for message in reader.page(seq).await.messages {
                assert_eq!(message.seq, seq + 1, "a hole, or a repeat");
                seq = message.seq;
                texts.insert(text(&message));
            }
            reader.pushes();
        }
        texts
    };
    let live = async {
        let mut texts = BTreeSet::new();
        for seq in 1..=SENDS {
            let ClientEvent::Message(message) = bob.phone.next_entry().await else {
                panic!("a message")
            };
            assert_eq!(message.seq, seq);
            let MessageContent::Text(text) = message.content else {
                panic!("a text")
            };
            texts.insert(text);
        }
        texts
    };
    let (sent, read, pushed) = tokio::join!(join_all(sends), reads, live);
    assert!(sent.iter().flatten().all(|sent| !sent.repeated));
    assert_eq!(read.len(), 200);
    assert_eq!(read, pushed);
}

fn text(message: &pb::Message) -> String {
    pb::Text::decode(message.message_content.clone())
        .unwrap()
        .text
}

/// Every message to a user names that user; connections of other users come and go meanwhile, also
/// with data in flight to them.
async fn churning_connections(cell: &MatrixCell) {
    let world = cell.start().await;
    let people = join_all((0..8).map(|_| world.absent("Somebody"))).await;
    let writers = join_all((0..4).map(|_| world.person("Writer"))).await;
    let done = AtomicBool::new(false);
    let writing = async {
        let all = writers.iter().enumerate().map(|(who, writer)| {
            let people = &people;
            async move {
                for n in 0..50 {
                    let to = &people[(who + n) % people.len()];
                    let kept = n % 2 == 0;
                    let words = format!("for {} {who} {n}", to.id);
                    let mut draft =
                        MessageDraft::new(MessageTarget::User(to.id), MessageContent::Text(words));
                    draft.persist = kept;
                    writer.phone.client().send_draft(draft).await.unwrap();
                    let room = MessageContent::text("in the room");
                    writer.phone.api().push_room(9, &room, false).await.unwrap();
                }
            }
        });
        join_all(all).await;
        done.store(true, Ordering::SeqCst);
    };
    let churn = people
        .iter()
        .map(|person| comes_and_goes(&world, person, &done));
    let ((), turns) = tokio::join!(writing, join_all(churn));
    assert!(turns.iter().all(|turns| *turns > 0), "{turns:?}");
    for person in &people {
        let mut bare = world.bare().await;
        bare.signs_in(&person.phone.who, 1).await;
        let inbox = bare.syncs(0).await;
        let kept = |who: &usize| {
            let evens = (0..50).step_by(2);
            evens
                .filter(|n| people[(who + n) % people.len()].id == person.id)
                .count()
        };
        assert_eq!(
            inbox.len(),
            (0..writers.len()).map(|who| kept(&who)).sum::<usize>()
        );
        for message in inbox {
            is_mine(person, &message);
        }
    }
}

/// Connects, reads a little and hangs up without closing; everything received must belong to this
/// user.
async fn comes_and_goes(
    world: &ScenarioFixture,
    person: &ScenarioUser,
    done: &AtomicBool,
) -> usize {
    let mut turns = 0;
    while !done.load(Ordering::SeqCst) {
        let mut bare: BareConnection = world.bare().await;
        // Legacy and extension clients alternate: a legacy client's connection stays open when
        // superseded.
        let protocol = u32::from(turns % 2 == 0);
        bare.signs_in(&person.phone.who, protocol).await;
        let room = pb::SubscribeRoomInput { room_id: 9, seq: 0 };
        bare.asks(pb::PackageType::PtSubscribeRoom, 5, &room).await;
        for message in bare.syncs(0).await {
            is_mine(person, &message);
        }
        for _ in 0..3 {
            bare.beats().await;
        }
        for message in bare.pushes() {
            is_mine(person, &message);
        }
        turns += 1;
    }
    turns
}

fn is_mine(person: &ScenarioUser, message: &pb::Message) {
    if message.receiver_type() == pb::ReceiverType::RtRoom {
        assert_eq!(message.receiver_id, 9);
        return;
    }
    assert_eq!(message.receiver_id, person.id, "{message:?}");
    let words = text(message);
    assert!(words.starts_with(&format!("for {} ", person.id)), "{words}");
}
