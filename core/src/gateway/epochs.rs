//! The epoch of the inboxes' history (law 10). It is read regularly, because an operator or another
//! node may end the history, and its end closes every connection.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::context::GatewayContext;
use crate::hub::CloseReason;
use crate::id::{Epoch, UserId};
use crate::seq::Seq;

/// Interval between two reads of the epoch: one small read per node.
const EPOCH_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Period over which the clients of a node reconnect to the new history.
const RECONNECT_SPREAD: Duration = Duration::from_secs(3);

/// Reads the epoch regularly, from the first connection on.
pub(super) async fn run(context: &GatewayContext) {
    loop {
        tokio::select! {
            biased;
            () = context.token.cancelled() => return,
            () = tokio::time::sleep(EPOCH_CHECK_INTERVAL) => {}
        }
        if context.epoch.load(Ordering::Relaxed) == 0 {
            continue;
        }
        match context.logic.epoch().await {
            Ok(epoch) => adopt(context, epoch),
            Err(error) => tracing::debug!(%error, "epoch not read"),
        }
    }
}

/// Adopts an epoch that was read. If it differs from the one before, every connection is closed,
/// because the entries it was served belong to a history that has ended. Clients of the extension
/// learn the new epoch when they reconnect, and start over.
pub(super) fn adopt(context: &GatewayContext, epoch: Epoch) {
    let before = context.epoch.swap(epoch.0, Ordering::Relaxed);
    if before == 0 || before == epoch.0 {
        return;
    }
    crate::warn_rated!(
        before,
        epoch = epoch.0,
        "store epoch changed, closing all connections"
    );
    // The epoch was changed first, so a client that signs in from here on learns the new one.
    context.hub.each_open(|handle| {
        let after = RECONNECT_SPREAD.mul_f64(rand::random::<f64>());
        handle.close(CloseReason::Shutdown { after });
    });
}

/// Ends the history because an inbox is shorter than the entries served from it, so that nothing
/// more is accepted under the old epoch.
pub(super) async fn went_back(context: &GatewayContext, user: UserId, seen: Seq) {
    let known = Epoch(context.epoch.load(Ordering::Relaxed));
    crate::error_rated!(%user, seen = seen.get(), "inbox is shorter than what was served");
    match context.logic.went_back(user, seen, known).await {
        Ok(epoch) => adopt(context, epoch),
        // The next heartbeat compares the heads again.
        Err(error) => crate::warn_rated!(%error, %user, "history not ended, retrying"),
    }
}
