//! Helpers of the cases.

use std::sync::Arc;
use std::time::Duration;

use gimlet_core::events::EventHooks;
use gimlet_core::id::UserId;
use gimlet_core::message::MessageReceiver;
use gimlet_core::store::{
    AppendOutcome, AppendRequest, IdempotencyKey, StoreError, StoreErrorKind, StoreSet,
};
use gimlet_core::testkit::helpers::{self, group, message};
use gimlet_kit::proxy::FaultProxy;

pub(crate) use gimlet_core::testkit::helpers::{device, user};

/// Builds a send to these users, or to group 1 if they are many, with an idempotency key if `key` is
/// given.
pub(crate) fn send(to: &[u64], content: &str, key: Option<&str>) -> AppendRequest {
    let recipients: Vec<UserId> = to.iter().map(|n| user(*n)).collect();
    let receiver = if to.len() > 1_000 {
        MessageReceiver::Group(group(1))
    } else {
        MessageReceiver::User(recipients[recipients.len() - 1])
    };
    AppendRequest {
        message: Arc::new(message(receiver, content.to_owned())),
        recipients: recipients.into(),
        key: key.map(|id| IdempotencyKey {
            id: id.as_bytes().to_vec(),
            digest: [1; 16],
            window: Duration::from_hours(1),
        }),
        roster: None,
        hooks: EventHooks::NONE,
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
    helpers::contents(s, user(of)).await
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
