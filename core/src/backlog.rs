//! The open fan-out jobs of this node, by group, and the limit of their total size.
//!
//! A job is accepted at once and delivered in many steps, so open jobs are limited in entries, for
//! each group and for the node. Beyond the limit a send is refused with 8 and a retry time. A group
//! with open jobs may take half of the remaining room, and none of the last eighth: a group without
//! open jobs finds room beside groups that take all they can.
//!
//! Each node counts the jobs that it accepted itself. Jobs of other nodes, and jobs from before a
//! restart, were limited by the node that accepted them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::RequestRefusal;
use crate::id::GroupId;
use crate::limits::{FANOUT_CHUNK, Limits};
use crate::map::FastHashMap;

/// A group with open jobs may take this fraction (1/n) of the node's remaining room.
const GROUP_ROOM_DIVISOR: u64 = 2;
/// This fraction (1/n) of the node's room is reserved for groups without open jobs.
const RESERVED_ROOM_DIVISOR: u64 = 8;
/// Shortest and longest retry time for a refused sender.
const RETRY_AFTER_RANGE: (Duration, Duration) =
    (Duration::from_millis(250), Duration::from_secs(10));
/// Weight of the newest chunk in the average time of an entry.
const NEWEST_CHUNK_WEIGHT: f64 = 0.125;

/// The open jobs, and the job runner's notification. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OpenJobs {
    inner: Arc<SharedBacklog>,
}

#[derive(Debug)]
struct SharedBacklog {
    group_max: u64,
    node_max: u64,
    state: Mutex<BacklogState>,
    ring: Notify,
}

#[derive(Debug, Default)]
struct BacklogState {
    /// Groups that the runner has to look at.
    woken: HashSet<GroupId>,
    groups: FastHashMap<GroupId, GroupBacklog>,
    /// Entries of all groups.
    entries: u64,
    seconds_per_entry: f64,
}

/// Entries of one group that are not stored yet.
#[derive(Clone, Copy, Debug, Default)]
struct GroupBacklog {
    /// Entries of sends on their way into the store, which may become jobs.
    reserved: u64,
    /// Entries of open jobs.
    open: u64,
}

/// The room that a send reserves in the backlog until it is known if it became a job; dropping it
/// frees the room.
#[derive(Debug)]
pub(crate) struct JobShare {
    jobs: OpenJobs,
    group: GroupId,
    entries: u64,
}

impl OpenJobs {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            inner: Arc::new(SharedBacklog {
                group_max: limits.group_backlog as u64,
                node_max: limits.node_backlog as u64,
                state: Mutex::default(),
                ring: Notify::new(),
            }),
        }
    }

    /// Reserves room for a send to a group; `None` if the send is stored at once and needs no room.
    ///
    /// # Errors
    /// [`RequestRefusal::Backlog`] if the group, or the node, has too many entries to deliver.
    pub(crate) fn admit(
        &self,
        group: GroupId,
        recipients: usize,
    ) -> Result<Option<JobShare>, RequestRefusal> {
        let mut state = self.lock();
        let known = state.groups.get(&group).copied();
        // A small send becomes a job only behind other jobs of its group.
        if recipients <= FANOUT_CHUNK && known.is_none_or(|it| it.open == 0) {
            return Ok(None);
        }
        let entries = recipients as u64;
        let taken = known.map_or(0, |it| it.reserved + it.open);
        let left = self.inner.node_max.saturating_sub(state.entries);
        let for_known = left.saturating_sub(self.inner.node_max / RESERVED_ROOM_DIVISOR);
        let share = self
            .inner
            .group_max
            .min((for_known + taken) / GROUP_ROOM_DIVISOR);
        // The first job of a group is accepted at any size, if the node has room for it.
        if entries > left || (taken > 0 && taken + entries > share) {
            let retry_after = state.retry_after(entries);
            return Err(RequestRefusal::Backlog { retry_after });
        }
        state.groups.entry(group).or_default().reserved += entries;
        state.entries += entries;
        Ok(Some(JobShare {
            jobs: self.clone(),
            group,
            entries,
        }))
    }

    /// Records that a send became a job of `recipients` entries; `share` is the room it had
    /// reserved.
    pub(crate) fn opened(&self, group: GroupId, recipients: usize, share: Option<JobShare>) {
        // Open entries first, then the reservation: in between the entries count twice. In the
        // other order they would not count for a moment, and a send that is checked then would be
        // accepted beyond the limit.
        {
            let mut state = self.lock();
            let entries = recipients as u64;
            state.groups.entry(group).or_default().open += entries;
            state.entries += entries;
        }
        drop(share);
        self.wake(group);
    }

    /// Makes the runner look at this group.
    pub(crate) fn wake(&self, group: GroupId) {
        self.lock().woken.insert(group);
        self.inner.ring.notify_one();
    }

    /// Waits until a group is woken.
    pub(crate) async fn woken(&self) {
        self.inner.ring.notified().await;
    }

    /// Returns the groups that were woken since the last call.
    pub(crate) fn take_woken(&self) -> Vec<GroupId> {
        self.lock().woken.drain().collect()
    }

    /// Records that `entries` entries of a job were stored in `took`.
    pub(crate) fn advanced(&self, group: GroupId, entries: usize, took: Duration) {
        let mut state = self.lock();
        let stored = entries as u64;
        if stored > 0 {
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let each = took.as_secs_f64() / stored as f64;
            state.seconds_per_entry += (each - state.seconds_per_entry) * NEWEST_CHUNK_WEIGHT;
        }
        state.take(group, |it| &mut it.open, stored);
    }

    /// Returns the entries of the group's open jobs. The job runner reads them before it asks the
    /// store for a job, and passes them to [`finished`](Self::finished) if there is none.
    pub(crate) fn open_entries(&self, group: GroupId) -> u64 {
        self.lock().groups.get(&group).map_or(0, |it| it.open)
    }

    /// Records that this node has no job left of those that made up `entries`. Jobs that were
    /// opened after these were read stay counted.
    pub(crate) fn finished(&self, group: GroupId, entries: u64) {
        self.lock().take(group, |it| &mut it.open, entries);
    }

    /// Returns the entries that are accepted and not stored yet, and the number of their groups.
    #[must_use]
    pub fn backlog(&self) -> (u64, usize) {
        let state = self.lock();
        (state.entries, state.groups.len())
    }

    fn lock(&self) -> MutexGuard<'_, BacklogState> {
        // Counts and sets of ids stay consistent after a panic, so poisoning is ignored.
        let state = &self.inner.state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BacklogState {
    /// Subtracts entries from a group's count, at most down to zero.
    fn take(&mut self, group: GroupId, count: fn(&mut GroupBacklog) -> &mut u64, entries: u64) {
        let Some(known) = self.groups.get_mut(&group) else {
            return;
        };
        let count = count(known);
        let taken = entries.min(*count);
        *count -= taken;
        self.entries -= taken;
        if known.reserved + known.open == 0 {
            self.groups.remove(&group);
        }
    }

    /// Estimates the time in which `entries` entries are stored, from the recent chunks.
    fn retry_after(&self, entries: u64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let seconds = entries as f64 * self.seconds_per_entry;
        let (least, most) = RETRY_AFTER_RANGE;
        Duration::from_secs_f64(seconds.clamp(least.as_secs_f64(), most.as_secs_f64()))
    }
}

impl Drop for JobShare {
    fn drop(&mut self) {
        let entries = self.entries;
        self.jobs
            .lock()
            .take(self.group, |it| &mut it.reserved, entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(group_max: usize, node_max: usize) -> OpenJobs {
        OpenJobs::new(&Limits {
            group_backlog: group_max,
            node_backlog: node_max,
            ..Limits::default()
        })
    }

    fn group(n: u64) -> GroupId {
        GroupId::new(n).unwrap()
    }

    #[test]
    fn a_group_is_bounded_and_what_is_made_or_was_no_job_makes_room() {
        let jobs = jobs(5_000, 100_000);
        let first = jobs.admit(group(1), 2_000).unwrap();
        let second = jobs.admit(group(1), 2_000).unwrap();
        let refusal = jobs.admit(group(1), 2_000).unwrap_err();
        assert_eq!(refusal.code(), 8);
        assert!(refusal.retry_after().is_some());
        // The first becomes a job, and the store refuses the second.
        jobs.opened(group(1), 2_000, first);
        drop(second);
        let third = jobs.admit(group(1), 2_000).unwrap();
        assert!(jobs.admit(group(1), 2_000).is_err());
        jobs.advanced(group(1), 1_000, Duration::from_millis(10));
        jobs.advanced(group(1), 999, Duration::from_millis(10));
        assert!(jobs.admit(group(1), 2_000).is_ok());
        drop(third);
        jobs.finished(group(1), jobs.open_entries(group(1)));
        assert_eq!(jobs.backlog(), (0, 0));
    }

    #[test]
    fn small_sends_need_room_only_behind_a_job() {
        let jobs = jobs(3_000, 100_000);
        assert!(jobs.admit(group(1), 500).unwrap().is_none());
        jobs.opened(group(1), 2_800, None);
        assert!(jobs.admit(group(1), 200).unwrap().is_some());
        assert!(jobs.admit(group(1), 500).is_err());
        assert!(jobs.admit(group(2), 500).unwrap().is_none());
    }

    #[test]
    fn a_newcomer_finds_room_beside_groups_that_take_all_they_can() {
        let jobs = jobs(1 << 30, 100_000);
        for n in 1..=10 {
            while let Ok(share) = jobs.admit(group(n), 1_001) {
                jobs.opened(group(n), 1_001, share);
            }
        }
        assert!(jobs.admit(group(99), 1_001).is_ok());
        assert!(jobs.backlog().0 <= 100_000);
    }
}
