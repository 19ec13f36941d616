//! Helpers for the cases and for the tests of storages: small ids, short messages, and reads that
//! check the invariants.

#![expect(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "helpers of tests: a failed expectation panics"
)]

use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::events::EventHooks;
use crate::id::{ApiKeyId, DeviceId, GroupId, MessageId, RoomId, UserId};
use crate::message::{
    InboxEntry, Message, MessageContent, MessageReceiver, MessageSender, UnknownFields,
};
use crate::page::PageLimit;
use crate::scope::ApiScope;
use crate::seq::Seq;
use crate::store::{
    ApiKey, ApiKeyBounds, AppendOutcome, AppendRequest, GroupChange, Head, IdempotencyKey,
    JobStepOutcome, MemberRole, NewGroup, Roster, StoreSet,
};
use crate::time::UnixTimestamp;

/// A moment; a case that needs two also uses [`LATER`].
pub const NOW: UnixTimestamp = UnixTimestamp(1_790_000_000_123);

/// A moment after [`NOW`].
pub const LATER: UnixTimestamp = UnixTimestamp(1_790_000_060_456);

/// Returns the user with this number.
pub fn user(n: u64) -> UserId {
    UserId::new(n).unwrap()
}

/// Returns the users with these numbers.
pub fn users(range: RangeInclusive<u64>) -> Vec<UserId> {
    range.map(user).collect()
}

/// Returns the device with this number.
pub fn device(n: u64) -> DeviceId {
    DeviceId::new(n).unwrap()
}

/// Returns the group with this number.
pub fn group(n: u64) -> GroupId {
    GroupId::new(n).unwrap()
}

/// Returns the room with this number.
pub fn room(n: u64) -> RoomId {
    RoomId::new(n).unwrap()
}

/// Bounds of API keys that no test reaches by accident.
pub const API_KEY_BOUNDS: ApiKeyBounds = ApiKeyBounds {
    max: 1_000,
    forget_before: UnixTimestamp(0),
};

/// Returns the API key with this id.
pub fn api_key(number: u64) -> ApiKey {
    let mut hash = [0xa5; 32];
    hash[..8].copy_from_slice(&(number << 1).to_be_bytes());
    let id = ApiKeyId::of_hash(&hash);
    assert_eq!(id.get(), number);
    ApiKey {
        id,
        hash,
        name: format!("Schlüssel {number}"),
        scopes: [ApiScope::UsersWrite, ApiScope::StatsRead]
            .into_iter()
            .collect(),
        created_at: NOW,
        expires_at: None,
        revoked_at: None,
        used_at: None,
    }
}

/// Builds a message with this content from user 1's device 1.
pub fn message(receiver: MessageReceiver, content: impl Into<Bytes>) -> Message {
    Message {
        id: MessageId::generate(),
        sender: MessageSender::User {
            user: user(1),
            device: Some(device(1)),
        },
        receiver,
        mentions: Vec::new(),
        kind: 1,
        content: MessageContent(content.into()),
        sent_at: NOW,
        unknown: UnknownFields::NONE,
    }
}

/// Builds a send without a key or a roster.
pub fn send(recipients: &[UserId], content: impl Into<Bytes>) -> AppendRequest {
    let receiver = MessageReceiver::User(*recipients.last().unwrap_or(&user(1)));
    AppendRequest {
        message: Arc::new(message(receiver, content)),
        recipients: recipients.into(),
        key: None,
        roster: None,
        hooks: EventHooks::NONE,
    }
}

/// Builds a send to all members of a group as of this roster.
pub fn to_group(id: GroupId, roster: &Roster, content: impl Into<Bytes>) -> AppendRequest {
    AppendRequest {
        message: Arc::new(message(MessageReceiver::Group(id), content)),
        recipients: roster.members.iter().map(|(user, _)| *user).collect(),
        key: None,
        roster: Some((id, roster.version)),
        hooks: EventHooks::NONE,
    }
}

/// Adds a key to the send, so that it is recognised by this id for a day.
pub fn keyed(mut send: AppendRequest, id: &str) -> AppendRequest {
    let mut digest = [0; 16];
    for (at, byte) in send.message.content.0.iter().enumerate() {
        digest[at % 16] ^= byte;
    }
    send.key = Some(IdempotencyKey {
        id: id.as_bytes().to_vec(),
        digest,
        window: Duration::from_hours(24),
    });
    send
}

/// Appends one send.
pub async fn append(s: &StoreSet, send: AppendRequest) -> AppendOutcome {
    let mut outcomes = s.inbox.append(&[send]).await.unwrap();
    assert_eq!(outcomes.len(), 1, "one outcome per send");
    outcomes.remove(0)
}

/// Returns the entries of a send that was stored whole.
pub fn stored(outcome: AppendOutcome) -> Vec<(UserId, Seq)> {
    match outcome {
        AppendOutcome::Stored { seqs, job: false } => seqs,
        other => panic!("not stored whole: {other:?}"),
    }
}

/// Returns the answer to a send that was stored, whole or as a job.
pub fn answer(outcome: &AppendOutcome) -> Seq {
    match outcome {
        AppendOutcome::Stored { seqs, .. } => seqs[0].1,
        other => panic!("not stored: {other:?}"),
    }
}

/// Appends a message and returns its entries.
pub async fn put(
    s: &StoreSet,
    recipients: &[UserId],
    content: impl Into<Bytes>,
) -> Vec<(UserId, Seq)> {
    stored(append(s, send(recipients, content)).await)
}

/// Returns the head and the floor of the inbox.
pub async fn head(s: &StoreSet, of: UserId) -> Head {
    s.seq.heads(&[of]).await.unwrap()[0]
}

/// Returns the number of the inbox's last entry.
pub async fn last(s: &StoreSet, of: UserId) -> u64 {
    head(s, of).await.head.get()
}

/// Reads one page above `after`, and checks that it has no hole.
pub async fn page(s: &StoreSet, of: UserId, after: Seq, limit: PageLimit) -> Vec<InboxEntry> {
    let page = s.inbox.after(of, after, limit).await.unwrap();
    let at = page.head.head;
    let Some(first) = page.items.first() else {
        assert!(!page.more, "an empty page has nothing behind it");
        assert!(at <= after.max(page.head.floor), "{of}: {at} is not there");
        return page.items;
    };
    let last = page.items.last().map_or(after, |it| it.seq);
    assert!(at >= last, "{of}: the head {at} is behind the page");
    assert_eq!(page.more, at > last, "{of}: {last} is not all up to {at}");
    assert!(first.seq > after);
    for (at, entry) in page.items.iter().enumerate() {
        let want = first.seq.plus(at as u64);
        assert_eq!(entry.seq, want, "{of}: a page has a hole (law 3)");
    }
    page.items
}

/// Reads the whole inbox, page by page, and checks that it is contiguous from its floor to its
/// head.
pub async fn inbox(s: &StoreSet, of: UserId) -> Vec<InboxEntry> {
    let Head { head, floor } = head(s, of).await;
    let (mut cursor, mut all) = (floor, Vec::new());
    loop {
        let items = page(s, of, cursor, PageLimit::items(300)).await;
        let Some(end) = items.last() else { break };
        assert_eq!(items[0].seq, cursor.next(), "{of}: a hole (law 3)");
        cursor = end.seq;
        all.extend(items);
    }
    assert!(cursor >= head, "{of}: the head {head} cannot be read");
    all
}

/// Returns the contents of the whole inbox.
pub async fn contents(s: &StoreSet, of: UserId) -> Vec<String> {
    let entries = inbox(s, of).await;
    let texts = entries.iter().map(|it| it.message.content.0.to_vec());
    texts.map(|it| String::from_utf8(it).unwrap()).collect()
}

/// Creates a group with these members; the first of them is its admin.
pub async fn found(s: &StoreSet, id: GroupId, members: &[UserId]) -> Roster {
    let role = |at| {
        if at == 0 {
            MemberRole::Admin
        } else {
            MemberRole::Member
        }
    };
    let new = NewGroup {
        id,
        name: "a group".into(),
        avatar_url: String::new(),
        introduction: String::new(),
        extra: String::new(),
        members: members
            .iter()
            .enumerate()
            .map(|(at, it)| (*it, role(at)))
            .collect(),
        at: NOW,
    };
    s.group.create(&new, &[]).await.unwrap();
    roster(s, id).await
}

/// Returns the roster of a group.
pub async fn roster(s: &StoreSet, id: GroupId) -> Roster {
    s.group.roster(id).await.unwrap().unwrap()
}

/// Makes a change with the current roster, and plans again until it succeeds.
pub async fn change(s: &StoreSet, id: GroupId, change: &GroupChange) {
    loop {
        let version = roster(s, id).await.version;
        let done = s
            .group
            .update(id, version, change, &[], &[], LATER)
            .await
            .unwrap();
        if matches!(done, crate::store::GroupChangeOutcome::Done { .. }) {
            return;
        }
    }
}

/// Works on the group's jobs until none is left; returns the entries made.
pub async fn work(s: &StoreSet, id: GroupId) -> Vec<(UserId, Seq)> {
    let mut made = Vec::new();
    while let Some(lease) = s.inbox.claim_job(Some(id)).await.unwrap() {
        while let JobStepOutcome::Entries { seqs, done, .. } =
            s.inbox.advance_job(&lease).await.unwrap()
        {
            made.extend(seqs);
            if done {
                break;
            }
        }
    }
    made
}

/// Runs `n` tasks concurrently and returns their results, in order.
pub async fn together<T, Fut>(n: u64, task: impl Fn(u64) -> Fut) -> Vec<T>
where
    T: Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for i in 0..n {
        let one = task(i);
        tasks.spawn(async move { (i, one.await) });
    }
    let mut all = tasks.join_all().await;
    all.sort_by_key(|(i, _)| *i);
    all.into_iter().map(|(_, it)| it).collect()
}
