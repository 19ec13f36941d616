//! Helpers of the cases.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gimlet_core::id::{DeviceId, GroupId, MessageId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields,
};
use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_core::store::{
    AppendOutcome, AppendRequest, IdempotencyKey, StoreError, StoreErrorKind, StoreSet,
};
use gimlet_core::time::UnixTimestamp;

use crate::proxy::FaultProxy;

pub(crate) fn user(n: u64) -> UserId {
    UserId::new(n).unwrap()
}

pub(crate) fn device(n: u64) -> DeviceId {
    DeviceId::new(n).unwrap()
}

/// Builds a send to these users, with an idempotency key if `key` is given.
pub(crate) fn send(to: &[u64], content: &str, key: Option<&str>) -> AppendRequest {
    let recipients: Vec<UserId> = to.iter().map(|n| user(*n)).collect();
    let group = to.len() > 1_000;
    AppendRequest {
        message: Arc::new(Message {
            id: MessageId::generate(),
            sender: MessageSender::User {
                user: user(1),
                device: DeviceId::new(1),
            },
            receiver: if group {
                MessageReceiver::Group(GroupId::new(1).unwrap())
            } else {
                MessageReceiver::User(recipients[recipients.len() - 1])
            },
            mentions: Vec::new(),
            kind: 1,
            content: MessageContent(Bytes::from(content.to_owned())),
            sent_at: UnixTimestamp(0),
            unknown: UnknownFields::NONE,
        }),
        recipients: recipients.into(),
        key: key.map(|id| IdempotencyKey {
            id: id.as_bytes().to_vec(),
            digest: [1; 16],
            window: Duration::from_hours(1),
        }),
        roster: None,
    }
}

pub(crate) async fn append(
    s: &StoreSet,
    send: &AppendRequest,
) -> Result<AppendOutcome, StoreError> {
    let done = s.inbox.append(std::slice::from_ref(send)).await;
    done.map(|mut outcomes| outcomes.remove(0))
}

/// Returns the seq of a send that was stored now.
pub(crate) fn stored(outcome: &AppendOutcome) -> u64 {
    match outcome {
        AppendOutcome::Stored { seqs, .. } => seqs[0].1.get(),
        other => panic!("not stored: {other:?}"),
    }
}

pub(crate) fn kind<T: std::fmt::Debug>(done: Result<T, StoreError>) -> StoreErrorKind {
    done.unwrap_err().kind
}

/// Reads the contents of an inbox and checks that it has no hole.
pub(crate) async fn contents(s: &StoreSet, of: u64) -> Vec<String> {
    let (mut all, mut at) = (Vec::new(), Seq::ZERO);
    loop {
        let page = s.inbox.after(user(of), at, PageLimit::items(500)).await;
        let page = page.unwrap();
        for entry in &page.items {
            assert_eq!(entry.seq, at.next(), "a hole");
            at = entry.seq;
            let content = entry.message.content.0.to_vec();
            all.push(String::from_utf8(content).unwrap());
        }
        if !page.more {
            return all;
        }
    }
}

/// Starts a proxy before the server of this address; returns it with the address that leads through
/// it.
pub(crate) async fn through(address: &str) -> (FaultProxy, String) {
    let (scheme, rest) = address.split_once("://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (format!("{user}@"), host),
        None => (String::new(), authority),
    };
    let proxy = FaultProxy::before(host.to_owned()).await;
    let url = format!("{scheme}://{user}{}/{path}", proxy.address);
    (proxy, url)
}
