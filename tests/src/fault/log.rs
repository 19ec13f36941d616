//! Timed record of a run: every answer to a send, every push, every refusal.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

/// An answered send.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnsweredSend {
    pub(super) sender: u64,
    pub(super) begun: Instant,
    pub(super) at: Instant,
}

/// A message that was shown to a live client.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShownMessage {
    pub(super) watch: usize,
    /// Start of its send.
    pub(super) begun: Instant,
    pub(super) at: Instant,
}

/// Events of a run, in order.
#[derive(Debug, Default)]
pub(super) struct LoadLog {
    pub(super) answers: Vec<AnsweredSend>,
    pub(super) shown: Vec<ShownMessage>,
    /// Start of the send of each text.
    pub(super) begun: HashMap<String, Instant>,
    /// Number of refused attempts by code.
    pub(super) refused: BTreeMap<i32, u64>,
    /// End and duration of each attempt.
    pub(super) attempts: Vec<(Instant, Duration)>,
    /// Number of answers that reported an earlier attempt as stored.
    pub(super) repeated: u64,
    /// Number of connections that live clients lost.
    pub(super) dropped: u64,
    /// Descriptions of events that must not happen.
    pub(super) unexpected: Vec<String>,
}

impl LoadLog {
    pub(super) fn refused(&self, code: i32) -> u64 {
        self.refused.get(&code).copied().unwrap_or(0)
    }

    /// Returns the time of this sender's first answer after an instant.
    pub(super) fn answered_after(&self, sender: u64, since: Instant) -> Option<Instant> {
        let after = self.answers.iter().rev().take_while(|it| it.at >= since);
        let his = after.filter(|it| it.sender == sender);
        his.map(|it| it.at).min()
    }

    /// Returns the first time after an instant at which this client was shown a message that was
    /// also sent after it.
    pub(super) fn shown_after(&self, watch: usize, since: Instant) -> Option<Instant> {
        let after = self.shown.iter().rev().take_while(|it| it.at >= since);
        let his = after.filter(|it| it.watch == watch && it.begun >= since);
        his.map(|it| it.at).min()
    }

    /// Returns the longest time that any sender was without an answer since an instant.
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
