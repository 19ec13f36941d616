//! Which history the inboxes belong to (law 10): it is looked at again and again, because an operator
//! or another node may end it, and its end is told to every connection.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Inner;
use crate::hub::CloseReason;
use crate::id::{Epoch, UserId};
use crate::seq::Seq;

/// How often the epoch is read while anybody relies on it: one small read per node.
const EPOCH_CHECK: Duration = Duration::from_secs(1);
/// Over which the connections of a node come back to the new history.
const COME_BACK: Duration = Duration::from_secs(3);

/// Reads the epoch regularly, once a first connection has learned one.
pub(super) async fn run(inner: &Inner) {
    loop {
        tokio::select! {
            biased;
            () = inner.token.cancelled() => return,
            () = tokio::time::sleep(EPOCH_CHECK) => {}
        }
        if inner.epoch.load(Ordering::Relaxed) == 0 {
            continue;
        }
        match inner.logic.epoch().await {
            Ok(epoch) => adopt(inner, epoch),
            Err(error) => tracing::debug!(%error, "epoch not read"),
        }
    }
}

/// Takes an epoch that was read for the one in force. If it is another one than before, every
/// connection is closed: what it was served belongs to a history that has ended. Clients of the
/// extension learn the new epoch when they come back, and start over.
pub(super) fn adopt(inner: &Inner, epoch: Epoch) {
    let before = inner.epoch.swap(epoch.0, Ordering::Relaxed);
    if before == 0 || before == epoch.0 {
        return;
    }
    crate::warn_rated!(
        before,
        epoch = epoch.0,
        "the store has a new epoch; connections start over"
    );
    // The epoch was changed first: whoever signs in from here on learns the new one.
    inner.hub.each_open(|handle| {
        let after = COME_BACK.mul_f64(rand::random::<f64>());
        handle.close(CloseReason::Shutdown { after });
    });
}

/// An inbox is shorter than what was served of it: has its history ended, so that nothing more is
/// accepted under the old epoch.
pub(super) async fn went_back(inner: &Inner, user: UserId, seen: Seq) {
    let known = Epoch(inner.epoch.load(Ordering::Relaxed));
    crate::error_rated!(%user, seen = seen.get(), "an inbox is shorter than what was served of it");
    match inner.logic.went_back(user, seen, known).await {
        Ok(epoch) => adopt(inner, epoch),
        // The heads are compared again at the next heartbeat.
        Err(error) => crate::warn_rated!(%error, %user, "the history could not be ended"),
    }
}
