//! The plan of a fan-out, a pure function: delivery batches × routes → batches for each node.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::delivery::DeliveryBatch;
use crate::id::{NodeId, UserId};
use crate::map::{FastHashMap, FastHashState};
use crate::store::Route;

/// The delivery batches for each node.
#[derive(Debug, Default)]
pub struct FanoutPlan {
    /// All batches, unsplit, for this node: its sink finds its own users.
    pub local: Vec<DeliveryBatch>,
    /// For each other node, the batches for its users, in the given order.
    pub remote: BTreeMap<NodeId, Vec<DeliveryBatch>>,
}

/// Returns the users named by the batches, each once.
#[must_use]
pub fn users(deliveries: &[DeliveryBatch]) -> Vec<UserId> {
    let mut seen = HashSet::with_hasher(FastHashState::default());
    let named = deliveries.iter().flat_map(|delivery| match delivery {
        DeliveryBatch::Entries { to, .. } => to.iter().map(|(user, _)| *user).collect(),
        DeliveryBatch::Live { to, .. } => to.clone(),
        DeliveryBatch::Everyone { .. } => Vec::new(),
    });
    named.filter(|user| seen.insert(*user)).collect()
}

/// Plans a delivery: all batches go to this node, the parts for routed users to their nodes, and
/// broadcasts to all of `others`.
#[must_use]
pub fn plan(
    deliveries: Vec<DeliveryBatch>,
    routes: &[Route],
    here: &NodeId,
    others: &[NodeId],
) -> FanoutPlan {
    // Allocated at its final size: growing it would hash every user again.
    let mut nodes: FastHashMap<UserId, Vec<&NodeId>> =
        FastHashMap::with_capacity_and_hasher(routes.len(), FastHashState::default());
    for route in routes.iter().filter(|route| route.node != *here) {
        let of_user = nodes.entry(route.user).or_default();
        if !of_user.contains(&&route.node) {
            of_user.push(&route.node);
        }
    }
    let mut remote: BTreeMap<NodeId, Vec<DeliveryBatch>> = BTreeMap::new();
    for delivery in &deliveries {
        match delivery {
            DeliveryBatch::Entries { envelope, to } => {
                for (node, to) in split(to, |(user, _)| *user, &nodes) {
                    let envelope = Arc::clone(envelope);
                    let part = DeliveryBatch::Entries { envelope, to };
                    remote.entry(node.clone()).or_default().push(part);
                }
            }
            DeliveryBatch::Live { envelope, to } => {
                for (node, to) in split(to, |user| *user, &nodes) {
                    let envelope = Arc::clone(envelope);
                    let part = DeliveryBatch::Live { envelope, to };
                    remote.entry(node.clone()).or_default().push(part);
                }
            }
            DeliveryBatch::Everyone { .. } => {
                for node in others.iter().filter(|node| *node != here) {
                    remote
                        .entry(node.clone())
                        .or_default()
                        .push(delivery.clone());
                }
            }
        }
    }
    FanoutPlan {
        local: deliveries,
        remote,
    }
}

/// Splits the recipients of one batch by the node that holds their connections.
fn split<'n, T: Copy>(
    to: &[T],
    user: impl Fn(&T) -> UserId,
    nodes: &FastHashMap<UserId, Vec<&'n NodeId>>,
) -> BTreeMap<&'n NodeId, Vec<T>> {
    let mut parts: BTreeMap<&NodeId, Vec<T>> = BTreeMap::new();
    for item in to {
        for node in nodes.get(&user(item)).into_iter().flatten() {
            parts.entry(node).or_default().push(*item);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;
    use crate::id::{DeviceId, Generation, MessageId};
    use crate::message::{
        Message, MessageContent, MessageReceiver, MessageSender, UnknownFields, UserProfile,
    };
    use crate::seq::Seq;
    use crate::time::UnixTimestamp;

    fn user(n: u64) -> UserId {
        UserId::new(n).unwrap()
    }

    fn node(name: &str) -> NodeId {
        NodeId {
            name: name.into(),
            boot: 1,
        }
    }

    fn route(device: u64, of: u64, on: &str) -> Route {
        Route {
            device: DeviceId::new(device).unwrap(),
            user: user(of),
            generation: Generation(1),
            node: node(on),
            client: None,
        }
    }

    fn envelope() -> Arc<Envelope> {
        let message = Message {
            id: MessageId::generate(),
            sender: MessageSender::System,
            receiver: MessageReceiver::Everyone,
            mentions: Vec::new(),
            kind: 1,
            content: MessageContent::default(),
            sent_at: UnixTimestamp(0),
            unknown: UnknownFields::NONE,
        };
        Arc::new(Envelope::new(
            Arc::new(message),
            Arc::new(UserProfile::default()),
            0,
        ))
    }

    fn entries(to: &[(u64, u64)]) -> DeliveryBatch {
        DeliveryBatch::Entries {
            envelope: envelope(),
            to: to.iter().map(|(u, s)| (user(*u), Seq::new(*s))).collect(),
        }
    }

    #[test]
    fn every_node_gets_the_entries_of_its_own_users_in_order() {
        let deliveries = vec![entries(&[(1, 5), (2, 9), (3, 1)]), entries(&[(2, 10)])];
        let routes = [
            route(11, 1, "here"),
            route(12, 1, "b"),
            route(13, 2, "b"),
            route(14, 2, "b"),
            route(15, 2, "c"),
        ];
        let plan = plan(deliveries, &routes, &node("here"), &[node("b"), node("c")]);
        assert_eq!(plan.local.len(), 2);
        let seen: Vec<(String, Vec<u64>)> = plan
            .remote
            .iter()
            .map(|(node, deliveries)| {
                let seqs = deliveries.iter().flat_map(|delivery| match delivery {
                    DeliveryBatch::Entries { to, .. } => to.iter().map(|(_, s)| s.get()).collect(),
                    _ => Vec::new(),
                });
                (node.name.clone(), seqs.collect())
            })
            .collect();
        assert_eq!(
            seen,
            [("b".into(), vec![5, 9, 10]), ("c".into(), vec![9, 10])]
        );
    }

    #[test]
    fn a_broadcast_goes_once_to_every_other_node() {
        let deliveries = vec![DeliveryBatch::Everyone {
            envelope: envelope(),
        }];
        let plan = plan(
            deliveries,
            &[route(1, 1, "b")],
            &node("here"),
            &[node("b"), node("c")],
        );
        assert_eq!(plan.remote.values().map(Vec::len).sum::<usize>(), 2);
    }

    #[test]
    fn each_named_user_is_returned_once() {
        let deliveries = [entries(&[(1, 1), (2, 1)]), entries(&[(1, 2)])];
        assert_eq!(users(&deliveries), [user(1), user(2)]);
    }
}
