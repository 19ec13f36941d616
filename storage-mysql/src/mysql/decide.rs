//! What becomes of each send of a batch, once its keys and rosters are known: no I/O here.

use std::collections::{BTreeMap, HashMap, HashSet};

use gimlet_core::id::{GroupId, MessageId, UserId};
use gimlet_core::limits::PART;
use gimlet_core::seq::Seq;
use gimlet_core::store::{Append, Appended, RosterVersion};

/// The first send of a key, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    pub(super) digest: [u8; 16],
    pub(super) message: MessageId,
    pub(super) seq: Seq,
}

/// What is known before anything is decided, all of it under locks.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Keys whose window has not passed.
    pub(super) keys: HashMap<Vec<u8>, First>,
    /// The roster versions of the groups that exist.
    pub(super) rosters: HashMap<GroupId, RosterVersion>,
    /// Groups with an open job.
    pub(super) busy: HashSet<GroupId>,
}

/// What becomes of one send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// An outcome without a trace.
    Answer(Appended),
    /// A repeat of an earlier send of the batch.
    Like(usize),
    /// Its entries are made, all of them.
    Whole,
    /// Its first entry is made, and a job for the rest.
    Job,
}

impl Verdict {
    pub(super) fn stores(&self) -> bool {
        matches!(self, Self::Whole | Self::Job)
    }
}

/// Decides on each send, in the batch's order.
pub(super) fn decide(batch: &[Append], known: &mut Known) -> Vec<Verdict> {
    // Keys of sends of this batch that are stored.
    let mut fresh: HashMap<&[u8], usize> = HashMap::new();
    let mut verdicts = Vec::with_capacity(batch.len());
    for (at, send) in batch.iter().enumerate() {
        // The key comes before the roster: a repeat of what was stored is answered like the first,
        // whoever has joined or left since.
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
        // All sends of the group behind it are jobs as well, until it is done.
        known.busy.insert(group);
        return Verdict::Job;
    }
    Verdict::Whole
}

/// The recipients that get an entry now.
pub(super) fn now<'a>(send: &'a Append, verdict: &Verdict) -> &'a [UserId] {
    let most = match verdict {
        Verdict::Whole => send.recipients.len(),
        Verdict::Job => 1,
        Verdict::Answer(_) | Verdict::Like(_) => 0,
    };
    send.recipients.get(..most).unwrap_or_default()
}

/// How many entries each user gets, by ascending id.
pub(super) fn counts(batch: &[Append], verdicts: &[Verdict]) -> BTreeMap<UserId, u64> {
    let mut counts = BTreeMap::new();
    for (send, verdict) in batch.iter().zip(verdicts) {
        for user in now(send, verdict) {
            *counts.entry(*user).or_default() += 1;
        }
    }
    counts
}
