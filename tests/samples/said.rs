//! The messages that `make.py` sent, as every storage must read them from a sample.

use std::sync::Arc;

use gimlet_core::events::EventHooks;
use gimlet_core::id::{GroupId, MessageId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields,
};
use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_core::store::{AppendOutcome, AppendRequest, StoreSet};
use gimlet_core::time::UnixTimestamp;

/// Send time of the first message; the others follow a millisecond apart.
const SENT: i64 = 1_656_000_000_001;

/// A message without its id and its sender's device.
type SampleMessage = (
    MessageSender,
    MessageReceiver,
    Vec<UserId>,
    i32,
    Vec<u8>,
    i64,
);

fn user(n: u64) -> UserId {
    UserId::new(n).expect("an id")
}

/// Returns the messages between two users, and those to the group of four.
fn said() -> [Vec<SampleMessage>; 2] {
    let by = |n| MessageSender::User {
        user: user(n),
        device: None,
    };
    let to = |n| MessageReceiver::User(user(n));
    let group = MessageReceiver::Group(GroupId::new(1).expect("an id"));
    let at = |n| SENT + n;
    let direct = vec![
        (
            by(1),
            to(2),
            vec![user(2), user(3)],
            8,
            b"to one".to_vec(),
            at(0),
        ),
        (by(2), to(1), vec![], -7, vec![], at(1)),
        (by(1), to(2), vec![], 8, b"long ".repeat(900), at(2)),
    ];
    let long = b"long to many ".repeat(350);
    let grouped = vec![
        (by(2), group, vec![user(1)], 8, b"to many".to_vec(), at(3)),
        (by(3), group, vec![user(1)], 8, long, at(4)),
    ];
    [direct, grouped]
}

fn shown(message: &Message) -> SampleMessage {
    let sender = match message.sender {
        MessageSender::User { user, device } => {
            assert!(device.is_some(), "the device that sent it");
            MessageSender::User { user, device: None }
        }
        other => other,
    };
    (
        sender,
        message.receiver,
        message.mentions.clone(),
        message.kind,
        message.content.0.to_vec(),
        message.sent_at.0,
    )
}

/// Checks every inbox, and that a new message is stored behind its last entry.
pub(crate) async fn check(stores: &StoreSet) {
    let [direct, grouped] = said();
    for n in 1..=4 {
        let page = stores
            .inbox
            .after(user(n), Seq::ZERO, PageLimit::items(100));
        let items = page.await.expect("a page").items;
        let found: Vec<_> = items.iter().map(|it| shown(&it.message)).collect();
        let direct = if n <= 2 { direct.as_slice() } else { &[] };
        let (before, after) = found.split_at(direct.len());
        assert_eq!(before, direct, "user {n}");
        let [added, after @ ..] = after else {
            panic!("user {n} was told of the group: {found:?}");
        };
        assert_eq!((added.0, added.3), (MessageSender::System, 7));
        assert_eq!(after, grouped, "user {n}");
        go_on(stores, user(n), items.len() as u64 + 1).await;
    }
}

async fn go_on(stores: &StoreSet, user: UserId, next: u64) {
    let message = Arc::new(Message {
        id: MessageId::generate(),
        sender: MessageSender::Business,
        receiver: MessageReceiver::User(user),
        mentions: Vec::new(),
        kind: 1,
        content: MessageContent("now".into()),
        sent_at: UnixTimestamp(1),
        unknown: UnknownFields::copied_from(b"\x58\x01"),
    });
    let send = AppendRequest {
        message: Arc::clone(&message),
        recipients: Arc::new([user]),
        key: None,
        roster: None,
        hooks: EventHooks::NONE,
    };
    let done = stores.inbox.append(&[send]).await.expect("it is stored");
    assert!(matches!(done.as_slice(), [AppendOutcome::Stored { .. }]));
    let page = stores
        .inbox
        .after(user, Seq::new(next - 1), PageLimit::items(9));
    let items = page.await.expect("a page").items;
    let [entry] = items.as_slice() else {
        panic!("one entry: {items:?}");
    };
    assert_eq!((entry.seq.get(), &entry.message), (next, &message));
}
