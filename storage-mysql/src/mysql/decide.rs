//! Decides the outcome of each send of a batch, from its keys and rosters. No I/O here.

use std::collections::{BTreeMap, HashMap, HashSet};

use gimlet_core::id::{GroupId, MessageId, UserId};
use gimlet_core::limits::PART;
use gimlet_core::seq::Seq;
use gimlet_core::store::{Append, Appended, RosterVersion};

/// The first send with a key, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    pub(super) digest: [u8; 16],
    pub(super) message: MessageId,
    pub(super) seq: Seq,
}

/// Facts that the decision needs, all read under locks.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Keys whose window has not passed.
    pub(super) keys: HashMap<Vec<u8>, First>,
    /// Roster versions of the groups that exist.
    pub(super) rosters: HashMap<GroupId, RosterVersion>,
    /// Groups with an open job.
    pub(super) busy: HashSet<GroupId>,
}

/// Decision on one send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// An answer; nothing is stored.
    Answer(Appended),
    /// A repeat of an earlier send of the batch.
    Like(usize),
    /// All of its entries are stored.
    Whole,
    /// Its first entry is stored, and a job for the rest.
    Job,
}

impl Verdict {
    pub(super) fn stores(&self) -> bool {
        matches!(self, Self::Whole | Self::Job)
    }
}

/// Decides on each send, in the batch's order.
pub(super) fn decide(batch: &[Append], known: &mut Known) -> Vec<Verdict> {
    // Keys of this batch's sends that are stored.
    let mut fresh: HashMap<&[u8], usize> = HashMap::new();
    let mut verdicts = Vec::with_capacity(batch.len());
    for (at, send) in batch.iter().enumerate() {
        // The key is checked before the roster: a repeat of a stored send gets the first answer,
        // regardless of joins and leaves since.
        let verdict = match repeat(batch, send, known, &fresh) {
            Some(verdict) => verdict,
            None => place(send, known),
        };
        if verdict.stores()
            && let Some(key) = &send.key
        {
            fresh.insert(&key.id, at);
        }
        verdicts.push(verdict);
    }
    verdicts
}

fn repeat(
    batch: &[Append],
    send: &Append,
    known: &Known,
    fresh: &HashMap<&[u8], usize>,
) -> Option<Verdict> {
    let key = send.key.as_ref()?;
    if let Some(first) = known.keys.get(&key.id) {
        return Some(Verdict::Answer(if first.digest == key.digest {
            Appended::Repeated {
                message: first.message,
                seq: first.seq,
            }
        } else {
            Appended::Conflict
        }));
    }
    let at = *fresh.get(key.id.as_slice())?;
    let first = batch.get(at)?.key.as_ref()?;
    Some(if first.digest == key.digest {
        Verdict::Like(at)
    } else {
        Verdict::Answer(Appended::Conflict)
    })
}

fn place(send: &Append, known: &mut Known) -> Verdict {
    if let Some((group, version)) = send.roster
        && known.rosters.get(&group) != Some(&version)
    {
        return Verdict::Answer(Appended::Stale);
    }
    let all = send.recipients.len();
    if let Some(group) = send.group()
        && all > 1
        && (all > PART || known.busy.contains(&group))
    {
        // Every later send to the group becomes a job too until this one is done, so that the
        // group's order is kept.
        known.busy.insert(group);
        return Verdict::Job;
    }
    Verdict::Whole
}

/// Returns the recipients that get an entry now.
pub(super) fn now<'a>(send: &'a Append, verdict: &Verdict) -> &'a [UserId] {
    let most = match verdict {
        Verdict::Whole => send.recipients.len(),
        Verdict::Job => 1,
        Verdict::Answer(_) | Verdict::Like(_) => 0,
    };
    send.recipients.get(..most).unwrap_or_default()
}

/// Returns the number of entries that each user gets, by ascending id.
pub(super) fn counts(batch: &[Append], verdicts: &[Verdict]) -> BTreeMap<UserId, u64> {
    let mut counts = BTreeMap::new();
    for (send, verdict) in batch.iter().zip(verdicts) {
        for user in now(send, verdict) {
            *counts.entry(*user).or_default() += 1;
        }
    }
    counts
}
