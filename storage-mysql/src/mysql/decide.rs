//! Decides the outcome of each send of a batch, from its keys and rosters. No I/O here.

use std::collections::{BTreeMap, HashMap, HashSet};

use gimlet_core::id::{GroupId, MessageId, UserId};
use gimlet_core::limits::FANOUT_CHUNK;
use gimlet_core::seq::Seq;
use gimlet_core::store::{AppendOutcome, AppendRequest, RosterVersion};

/// The first send with a key, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstSend {
    pub(super) digest: [u8; 16],
    pub(super) message: MessageId,
    pub(super) seq: Seq,
}

/// Facts that the decision needs, all read under locks.
#[derive(Debug, Default)]
pub(super) struct BatchFacts {
    /// Keys whose window has not passed.
    pub(super) keys: HashMap<Vec<u8>, FirstSend>,
    /// Roster versions of the groups that exist.
    pub(super) rosters: HashMap<GroupId, RosterVersion>,
    /// Groups with an open job.
    pub(super) busy: HashSet<GroupId>,
}

/// Decision on one send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SendDecision {
    /// An answer; nothing is stored.
    Answer(AppendOutcome),
    /// A repeat of the send with this index in the batch; it gets the same answer.
    Like(usize),
    /// All of its entries are stored now.
    Whole,
    /// Its first entry is stored now, and a fan-out job for the rest.
    Job,
}

impl SendDecision {
    pub(super) fn stores(&self) -> bool {
        matches!(self, Self::Whole | Self::Job)
    }
}

/// Decides on each send, in the batch's order.
pub(super) fn decide(batch: &[AppendRequest], facts: &mut BatchFacts) -> Vec<SendDecision> {
    // Keys of those sends of this batch that will be stored, each with the send's index.
    let mut fresh: HashMap<&[u8], usize> = HashMap::new();
    let mut decisions = Vec::with_capacity(batch.len());
    for (at, send) in batch.iter().enumerate() {
        // The key is checked before the roster: a repeat of a stored send gets the first answer,
        // regardless of joins and leaves since.
        let decision = match repeat(batch, send, facts, &fresh) {
            Some(decision) => decision,
            None => decide_new(send, facts),
        };
        if decision.stores()
            && let Some(key) = &send.key
        {
            fresh.insert(&key.id, at);
        }
        decisions.push(decision);
    }
    decisions
}

fn repeat(
    batch: &[AppendRequest],
    send: &AppendRequest,
    facts: &BatchFacts,
    fresh: &HashMap<&[u8], usize>,
) -> Option<SendDecision> {
    let key = send.key.as_ref()?;
    if let Some(first) = facts.keys.get(&key.id) {
        return Some(SendDecision::Answer(if first.digest == key.digest {
            AppendOutcome::Repeated {
                message: first.message,
                seq: first.seq,
            }
        } else {
            AppendOutcome::Conflict
        }));
    }
    let at = *fresh.get(key.id.as_slice())?;
    let first = batch.get(at)?.key.as_ref()?;
    Some(if first.digest == key.digest {
        SendDecision::Like(at)
    } else {
        SendDecision::Answer(AppendOutcome::Conflict)
    })
}

fn decide_new(send: &AppendRequest, facts: &mut BatchFacts) -> SendDecision {
    if let Some((group, version)) = send.roster
        && facts.rosters.get(&group) != Some(&version)
    {
        return SendDecision::Answer(AppendOutcome::Stale);
    }
    let all = send.recipients.len();
    if let Some(group) = send.group()
        && all > 1
        && (all > FANOUT_CHUNK || facts.busy.contains(&group))
    {
        // Every later send to the group becomes a job too until this one is done, so that the
        // group's order is kept.
        facts.busy.insert(group);
        return SendDecision::Job;
    }
    SendDecision::Whole
}

/// Returns the recipients whose entries are stored with the batch, not later by a job.
pub(super) fn immediate_recipients<'a>(
    send: &'a AppendRequest,
    decision: &SendDecision,
) -> &'a [UserId] {
    let count = match decision {
        SendDecision::Whole => send.recipients.len(),
        SendDecision::Job => 1,
        SendDecision::Answer(_) | SendDecision::Like(_) => 0,
    };
    send.recipients.get(..count).unwrap_or_default()
}

/// Returns the number of entries that each user gets, by ascending id.
pub(super) fn counts(batch: &[AppendRequest], decisions: &[SendDecision]) -> BTreeMap<UserId, u64> {
    let mut counts = BTreeMap::new();
    for (send, decision) in batch.iter().zip(decisions) {
        for user in immediate_recipients(send, decision) {
            *counts.entry(*user).or_default() += 1;
        }
    }
    counts
}
