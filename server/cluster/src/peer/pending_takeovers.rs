//! Pending takeovers: those that a node has not acknowledged. They are sent again until it does.
//!
//! Everything else between nodes may be lost (law 6). A takeover may not: a superseded or revoked
//! connection would still be served.

use std::collections::HashMap;
use std::time::Duration;

use gimlet_core::id::{DeviceId, Generation, NodeId, UserId};
use tokio::time::Instant;

/// A node that was unreachable for this long has no connections any more.
const MAX_PENDING_TIME: Duration = Duration::from_mins(10);
/// Largest number of takeovers kept for one node. Those beyond it are noticed when the node
/// registers its routes again.
const MAX_TAKEOVERS_PER_NODE: usize = 100_000;

/// A user on a device: the subject of a takeover.
pub(super) type UserDevice = (UserId, DeviceId);

/// The pending takeovers of each node.
#[derive(Debug, Default)]
pub(super) struct PendingTakeovers(HashMap<NodeId, NodeTakeovers>);

#[derive(Debug)]
struct NodeTakeovers {
    devices: HashMap<UserDevice, Generation>,
    since: Instant,
}

impl PendingTakeovers {
    /// Records a takeover; returns `true` if it is the first for this node.
    pub(super) fn note(
        &mut self,
        node: &NodeId,
        device: UserDevice,
        generation: Generation,
    ) -> bool {
        let first = !self.0.contains_key(node);
        let takeovers = self.0.entry(node.clone()).or_insert_with(|| NodeTakeovers {
            devices: HashMap::new(),
            since: Instant::now(),
        });
        if takeovers.devices.len() < MAX_TAKEOVERS_PER_NODE
            || takeovers.devices.contains_key(&device)
        {
            let noted = takeovers.devices.entry(device).or_insert(generation);
            *noted = generation.max(*noted);
        }
        first
    }

    /// Returns whether this node has pending takeovers.
    pub(super) fn has(&self, node: &NodeId) -> bool {
        self.0.contains_key(node)
    }

    /// Returns the nodes with pending takeovers, after forgetting those that are gone for long.
    pub(super) fn nodes(&mut self) -> Vec<NodeId> {
        self.0
            .retain(|_, takeovers| takeovers.since.elapsed() < MAX_PENDING_TIME);
        self.0.keys().cloned().collect()
    }

    /// Returns the pending takeovers of a node.
    pub(super) fn of(&self, node: &NodeId) -> Vec<(UserDevice, Generation)> {
        let takeovers = self.0.get(node).into_iter();
        takeovers
            .flat_map(|takeovers| takeovers.devices.iter().map(|(device, it)| (*device, *it)))
            .collect()
    }

    /// Records an acknowledgement; returns `true` if the node has no pending takeovers left.
    pub(super) fn acknowledge(
        &mut self,
        node: &NodeId,
        device: UserDevice,
        generation: Generation,
    ) -> bool {
        let Some(takeovers) = self.0.get_mut(node) else {
            return false;
        };
        // Only this generation is acknowledged: a newer takeover may have been recorded while the
        // call was under way, and it is still pending.
        if takeovers.devices.get(&device) == Some(&generation) {
            takeovers.devices.remove(&device);
        }
        let all = takeovers.devices.is_empty();
        if all {
            self.0.remove(node);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn takeovers_are_kept_until_acknowledged_or_the_node_is_long_gone() {
        let device = |n| (UserId::new(1).unwrap(), DeviceId::new(n).unwrap());
        let node = NodeId {
            name: "a:1".into(),
            boot: 1,
        };
        let mut pending = PendingTakeovers::default();
        assert!(pending.note(&node, device(1), Generation(3)));
        assert!(!pending.note(&node, device(1), Generation(2)));
        assert!(!pending.note(&node, device(2), Generation(1)));
        assert_eq!(pending.of(&node).len(), 2);
        // A newer takeover came while the older one was being sent.
        assert!(!pending.acknowledge(&node, device(1), Generation(2)));
        assert!(!pending.acknowledge(&node, device(1), Generation(3)));
        assert!(pending.has(&node) && pending.nodes().len() == 1);
        assert!(pending.acknowledge(&node, device(2), Generation(1)));
        assert!(!pending.has(&node));
        pending.note(&node, device(1), Generation(1));
        tokio::time::advance(MAX_PENDING_TIME).await;
        assert!(pending.nodes().is_empty() && !pending.has(&node));
    }
}
