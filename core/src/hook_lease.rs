//! The lease of a hook: one node at a time delivers its events.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::error::ErrorChain;
use crate::events::HookName;
use crate::id::NodeId;
use crate::store::{
    HOOK_LEASE, HookClaimOutcome, HookLease, LeaseMark, LeasedOutcome, OutboxStore,
};

/// Interval at which a node that waits for a hook's lease tries to claim it.
const CLAIM_INTERVAL: Duration = Duration::from_secs(2);

/// Claims and renews the lease of one hook for this node.
#[derive(Clone, Debug)]
pub struct HookLeaseHolder {
    store: Arc<dyn OutboxStore>,
    node: NodeId,
    hook: HookName,
}

impl HookLeaseHolder {
    /// Makes a holder that has not claimed the hook yet.
    #[must_use]
    pub const fn new(store: Arc<dyn OutboxStore>, node: NodeId, hook: HookName) -> Self {
        Self { store, node, hook }
    }

    /// Waits until this node holds the lease. May be dropped at any time.
    ///
    /// A lease of another node is taken when its mark has not changed for [`HOOK_LEASE`] on this
    /// node's clock; no node compares its wall clock with another's.
    pub async fn acquire(&self) -> HookLease {
        let mut seen: Option<(LeaseMark, Instant)> = None;
        loop {
            let expired = seen
                .filter(|(_, since)| since.elapsed() >= HOOK_LEASE)
                .map(|(mark, _)| mark);
            match self.store.claim(&self.hook, &self.node, expired).await {
                Ok(HookClaimOutcome::Claimed(lease)) => return lease,
                Ok(HookClaimOutcome::Held(mark)) => {
                    if seen.is_none_or(|(known, _)| known != mark) {
                        seen = Some((mark, Instant::now()));
                    }
                }
                Err(error) => {
                    // Nothing is known of the holder meanwhile, so its time starts anew.
                    seen = None;
                    let error = ErrorChain(&error);
                    crate::warn_rated!(%error, hook = %self.hook, "hook not claimed, retrying");
                }
            }
            sleep(CLAIM_INTERVAL).await;
        }
    }

    /// Renews the lease until it is lost: another node has claimed the hook, or the store has not
    /// answered for as long as another node would wait. Stop delivering then. May be dropped at any
    /// time.
    pub async fn keep_until_lost(&self, lease: &HookLease) {
        let mut period = interval(HOOK_LEASE / 4);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewed = Instant::now();
        loop {
            period.tick().await;
            let began = Instant::now();
            match self.store.renew(lease).await {
                // Not the time of the answer: the store may have renewed the lease at any moment
                // since the call began, and other nodes count from that moment.
                Ok(LeasedOutcome::Done) => renewed = began,
                Ok(LeasedOutcome::Lost) => return,
                Err(error) => {
                    let error = ErrorChain(&error);
                    crate::warn_rated!(%error, hook = %self.hook, "lease of a hook not renewed, retrying");
                    if renewed.elapsed() >= HOOK_LEASE {
                        return;
                    }
                }
            }
        }
    }

    /// Ends the lease at a graceful stop, so that another node continues at once.
    pub async fn release(&self, lease: &HookLease) {
        if let Err(error) = self.store.release(lease).await {
            tracing::debug!(
                error = %ErrorChain(&error), hook = %self.hook,
                "lease of a hook not ended; it expires by itself"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;

    fn holder(store: &Arc<dyn OutboxStore>, node: &str) -> HookLeaseHolder {
        let hook = HookName::new("a").unwrap();
        HookLeaseHolder::new(Arc::clone(store), NodeId::boot(node), hook)
    }

    #[tokio::test(start_paused = true)]
    async fn a_hook_has_one_holder_until_it_stops_renewing() {
        let store = memory::stores().outbox;
        let (one, two) = (holder(&store, "one"), holder(&store, "two"));
        let first = one.acquire().await;
        let second = {
            let acquiring = two.acquire();
            tokio::pin!(acquiring);
            let keeping = tokio::time::timeout(10 * HOOK_LEASE, one.keep_until_lost(&first));
            tokio::select! {
                kept = keeping => assert!(kept.is_err(), "the holder lost its lease"),
                lease = &mut acquiring => panic!("taken from a living holder: {lease:?}"),
            }
            // The holder is frozen from here on.
            let began = Instant::now();
            let lease = acquiring.await;
            assert!(began.elapsed() <= HOOK_LEASE + 2 * CLAIM_INTERVAL);
            lease
        };
        assert!(second.generation > first.generation);
        one.keep_until_lost(&first).await;
        one.release(&first).await;
        let still = store.renew(&second).await.unwrap();
        assert_eq!(still, LeasedOutcome::Done, "the old holder ended nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_released_hook_is_taken_at_once_and_a_later_run_of_the_node_too() {
        let store = memory::stores().outbox;
        let (one, two) = (holder(&store, "one"), holder(&store, "two"));
        let lease = one.acquire().await;
        one.release(&lease).await;
        let began = Instant::now();
        two.acquire().await;
        holder(&store, "two").acquire().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
