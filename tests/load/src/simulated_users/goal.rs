//! Goals of the simulated users.

use serde::{Deserialize, Serialize};

/// Goal to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum UserGoal {
    /// The users from `from` to `to` are live.
    Live {
        /// Index of the first user.
        from: usize,
        /// Index after the last user.
        to: usize,
        /// Users that join at a time.
        at_once: usize,
    },
    /// Every live user has written `each` messages to each of its peers, and all are answered.
    Written {
        /// Messages to each peer.
        each: u64,
        /// Unanswered sends of each user.
        window: usize,
        /// True if they must also be delivered to the live users.
        delivered: bool,
    },
    /// The same has begun, and `answers` sends are answered: the others are not awaited.
    Writing {
        /// Messages to each peer, sent at once.
        each: u64,
        /// Answers to wait for.
        answers: u64,
    },
    /// Time has passed, with regular heartbeats of each user.
    Sat {
        /// Time of the end.
        until: u64,
        /// Nanoseconds from one heartbeat of a user to its next.
        heartbeat_nanos: u64,
    },
    /// The server has closed every connection.
    Gone,
}

impl UserGoal {
    /// Returns true if a busy server may refuse messages: where a user has one in flight and writes
    /// it later, or where not all of them are awaited.
    pub(super) const fn bears_refusals(self) -> bool {
        matches!(
            self,
            Self::Written { window: 1, .. } | Self::Writing { .. } | Self::Gone
        )
    }
}
