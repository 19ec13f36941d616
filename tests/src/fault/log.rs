//! What happened when: every answer to a send, every push, every refusal.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

/// A send that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) sender: u64,
    pub(super) begun: Instant,
    pub(super) at: Instant,
}

/// A message that was shown to a live client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Showing {
    pub(super) watch: usize,
    /// When its send began.
    pub(super) begun: Instant,
    pub(super) at: Instant,
}

/// What happened in a run, in order.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) answers: Vec<Answer>,
    pub(super) shown: Vec<Showing>,
    /// When the send of each text began.
    pub(super) begun: HashMap<String, Instant>,
    /// Attempts by the number of their refusal.
    pub(super) refused: BTreeMap<i32, u64>,
    /// How long attempts took, and when they ended.
    pub(super) attempts: Vec<(Instant, Duration)>,
    /// Answers that said that an earlier attempt was stored.
    pub(super) repeated: u64,
    /// Live clients that lost their connection.
    pub(super) dropped: u64,
    /// What must not happen, in words.
    pub(super) unexpected: Vec<String>,
}

impl Log {
    pub(super) fn refused(&self, code: i32) -> u64 {
        self.refused.get(&code).copied().unwrap_or(0)
    }

    /// When this sender was first answered after an instant.
    pub(super) fn answered_after(&self, sender: u64, since: Instant) -> Option<Instant> {
        let after = self.answers.iter().rev().take_while(|it| it.at >= since);
        let his = after.filter(|it| it.sender == sender);
        his.map(|it| it.at).min()
    }

    /// When this client was first shown a message that was sent after an instant.
    pub(super) fn shown_after(&self, watch: usize, since: Instant) -> Option<Instant> {
        let after = self.shown.iter().rev().take_while(|it| it.at >= since);
        let his = after.filter(|it| it.watch == watch && it.begun >= since);
        his.map(|it| it.at).min()
    }

    /// The longest that any sender went without an answer since an instant.
    pub(super) fn longest_gap(&self, senders: u64, since: Instant) -> Duration {
        let gap = |sender| {
            let his = self.answers.iter().filter(|it| it.sender == sender);
            let mut last = since;
            let mut longest = Duration::ZERO;
            for answer in his.filter(|it| it.at >= since) {
                longest = longest.max(answer.at.duration_since(last.max(answer.begun)));
                last = answer.at;
            }
            longest
        };
        (0..senders).map(gap).max().unwrap_or_default()
    }
}
