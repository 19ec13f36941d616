//! Chooses the node for a user's requests.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use gimlet_core::id::UserId;

/// The nodes by index, and the node of each user with sends in flight.
///
/// The order of nodes for a user comes from rendezvous hashing: when a node leaves, only its own
/// users move.
#[derive(Debug)]
pub(crate) struct UserPlacement {
    seeds: Vec<u64>,
    /// Users with sends in flight; `None` stands for senders that are not users.
    busy: Mutex<HashMap<Option<UserId>, BusyUser>>,
}

#[derive(Clone, Copy, Debug)]
struct BusyUser {
    /// Index of the node that has the sends.
    at: usize,
    /// Number of sends in flight.
    sends: usize,
}

impl UserPlacement {
    pub(crate) fn new(addresses: &[String]) -> Self {
        let seed = |address: &String| {
            let mut hasher = DefaultHasher::new();
            address.hash(&mut hasher);
            hasher.finish()
        };
        Self {
            seeds: addresses.iter().map(seed).collect(),
            busy: Mutex::default(),
        }
    }

    /// Returns all nodes, the user's own first. Every connect node computes the same order.
    pub(crate) fn order(&self, user: UserId) -> Vec<usize> {
        self.scored(user.get())
    }

    fn scored(&self, key: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.seeds.len()).collect();
        order.sort_by_key(|at| {
            let seed = self.seeds.get(*at).copied().unwrap_or_default();
            std::cmp::Reverse(mix(key ^ seed))
        });
        order
    }

    /// Chooses the node for a send: the node of the user's other sends in flight if it is up,
    /// otherwise the first node in the user's order that is up. `None` if every node is down.
    pub(crate) fn take(
        self: &Arc<Self>,
        user: Option<UserId>,
        is_up: impl Fn(usize) -> bool,
    ) -> Option<PlacementGuard> {
        let best = || {
            let order = self.scored(user.map_or(0, UserId::get));
            order.into_iter().find(|at| is_up(*at))
        };
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let at = match busy.entry(user) {
            Entry::Occupied(mut there) => {
                let there = there.get_mut();
                if !is_up(there.at) {
                    // The sends in flight on the lost node already have an unknown outcome, so
                    // their order with this one cannot be kept in any case.
                    there.at = best()?;
                }
                there.sends += 1;
                there.at
            }
            Entry::Vacant(free) => {
                free.insert(BusyUser {
                    at: best()?,
                    sends: 1,
                })
                .at
            }
        };
        drop(busy);
        Some(PlacementGuard {
            placement: Arc::clone(self),
            user,
            at,
        })
    }
}

/// The node chosen for a send. Until this is dropped, the user's later sends go to the same node.
#[derive(Debug)]
pub(crate) struct PlacementGuard {
    placement: Arc<UserPlacement>,
    user: Option<UserId>,
    at: usize,
}

impl PlacementGuard {
    pub(crate) const fn at(&self) -> usize {
        self.at
    }
}

impl Drop for PlacementGuard {
    fn drop(&mut self) {
        let busy = &self.placement.busy;
        let mut busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut there) = busy.entry(self.user) {
            there.get_mut().sends -= 1;
            if there.get().sends == 0 {
                there.remove();
            }
        }
    }
}

/// Mixes the bits of a number: the finaliser of splitmix64.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: u64) -> UserId {
        UserId::new(n).unwrap()
    }

    fn places() -> Arc<UserPlacement> {
        Arc::new(UserPlacement::new(&[
            "a:1".into(),
            "b:1".into(),
            "c:1".into(),
        ]))
    }

    #[test]
    fn users_are_spread_and_keep_their_node() {
        let places = places();
        let mut counts = [0; 3];
        for n in 1..=3_000 {
            let order = places.order(user(n));
            counts[order[0]] += 1;
            assert_eq!(order, super::tests::places().order(user(n)));
        }
        assert!(
            counts.iter().all(|count| (800..1_200).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_user_moves_only_without_sends_in_flight_or_when_its_node_is_gone() {
        let places = places();
        let order = places.order(user(1));
        let (first, second) = (order[0], order[1]);
        // The user's node goes away, then comes back.
        let away = places.take(Some(user(1)), |at| at != first).unwrap();
        assert_eq!(away.at(), second);
        let back = places.take(Some(user(1)), |_| true).unwrap();
        assert_eq!(back.at(), second, "a send is under way there");
        drop((away, back));
        assert_eq!(places.take(Some(user(1)), |_| true).unwrap().at(), first);
        let lost = places.take(Some(user(1)), |_| true).unwrap();
        let moved = places.take(Some(user(1)), |at| at != first).unwrap();
        assert_eq!((lost.at(), moved.at()), (first, second));
        assert!(places.take(Some(user(1)), |_| false).is_none());
        drop((lost, moved));
        assert!(places.busy.lock().unwrap().is_empty());
    }
}
