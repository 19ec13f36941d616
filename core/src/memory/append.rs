//! Appends of in-memory storage: a batch of sends becomes entries, keys and jobs under one hold of
//! the lock, and so does the next part of a job.

use std::sync::Arc;
use std::time::Duration;

use crate::id::UserId;
use crate::limits::FANOUT_CHUNK;
use crate::memory::state::{EngineState, MemoryEngine};
use crate::message::Message;
use crate::seq::Seq;
use crate::store::{AppendOutcome, AppendRequest, JobLease, JobStepOutcome};
use crate::time::UnixTimestamp;

/// Time of an append.
#[derive(Clone, Copy, Debug)]
pub(super) struct AppendTime {
    /// Time by which keys expire.
    monotonic: Duration,
    /// Time that events state.
    wall: UnixTimestamp,
}

impl MemoryEngine {
    /// Returns the present time, read before the lock is taken.
    pub(super) fn append_time(&self) -> AppendTime {
        AppendTime {
            monotonic: self.clock.monotonic(),
            wall: self.clock.now(),
        }
    }
}

impl EngineState {
    /// Appends the sends in order. The batch must have been checked: each send has a recipient.
    pub(super) fn append(
        &mut self,
        batch: &[AppendRequest],
        now: AppendTime,
    ) -> Vec<AppendOutcome> {
        batch
            .iter()
            .map(|send| self.append_one(send, now))
            .collect()
    }

    fn append_one(&mut self, send: &AppendRequest, now: AppendTime) -> AppendOutcome {
        // The key is checked before the roster: a repeat of a stored send gets the first answer,
        // even if members joined or left since. The keys of earlier sends of this batch are found
        // here too.
        if let Some(key) = &send.key
            && let Some(answer) = self.keys.find(key, now.monotonic)
        {
            return answer;
        }
        if let Some((group, version)) = send.roster
            && self.groups.get(&group).map(|it| it.group.version) != Some(version)
        {
            return AppendOutcome::Stale;
        }
        let (seqs, job) = self.store(send);
        if let (Some(key), Some((_, answer))) = (&send.key, seqs.first()) {
            self.keys.note(key, send.message.id, *answer, now.monotonic);
        }
        for target in send.hooks.targets() {
            self.outbox.push(&target.name, send.event(target, now.wall));
        }
        AppendOutcome::Stored { seqs, job }
    }

    /// Makes the entries, or the first entry and a job for the others.
    fn store(&mut self, send: &AppendRequest) -> (Vec<(UserId, Seq)>, bool) {
        let all = send.recipients.len();
        if let Some(group) = send.group()
            && all > 1
            && (all > FANOUT_CHUNK || self.jobs.is_open(group))
        {
            self.jobs.open(group, &send.message, &send.recipients);
            return (
                self.entries(&send.message, send.recipients.iter().take(1)),
                true,
            );
        }
        (self.entries(&send.message, send.recipients.iter()), false)
    }

    /// Appends the message to these inboxes.
    pub(super) fn entries<'a>(
        &mut self,
        message: &Arc<Message>,
        users: impl Iterator<Item = &'a UserId>,
    ) -> Vec<(UserId, Seq)> {
        let keep = self.retention;
        users
            .map(|user| {
                let inbox = self.inboxes.entry(*user).or_default();
                (*user, inbox.push(message, keep))
            })
            .collect()
    }

    /// Makes the next entries of a job.
    pub(super) fn advance(&mut self, lease: &JobLease) -> JobStepOutcome {
        let Some(job) = self.jobs.held(lease) else {
            return JobStepOutcome::Lost;
        };
        let (message, recipients) = (Arc::clone(&job.message), Arc::clone(&job.recipients));
        let from = job.done;
        job.done = recipients.len().min(from + FANOUT_CHUNK);
        let done = job.done == recipients.len();
        if done {
            self.jobs.close(lease.group);
        }
        let seqs = self.entries(&message, recipients.iter().skip(from).take(FANOUT_CHUNK));
        JobStepOutcome::Entries {
            message,
            seqs,
            done,
        }
    }
}
