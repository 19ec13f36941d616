//! The open fan-out jobs of this node: which groups have some, and how much of it may be open.
//!
//! A job is accepted in a moment and delivered in many. So what is open is bounded in entries, for a
//! group and for the node; beyond it a send is refused with 8 and the time after which there is room.
//! A group with open jobs may take half of what is left, and nothing of the last eighth: a newcomer
//! finds room beside groups that take all they can.
//!
//! Each node counts the jobs that it accepted itself. Those of other nodes, and of before a restart, are
//! bounded by the node that accepted them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::Refusal;
use crate::id::GroupId;
use crate::limits::{Limits, PART};
use crate::map::Map;

/// A group that has open jobs may take one part in so many of what the node has left.
const GROUP_SHARE: u64 = 2;
/// One part in so many of the node's room is for groups without open jobs.
const NEWCOMERS: u64 = 8;
/// Bounds of the time after which a refused sender is asked to come back.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// How much the newest part counts in the average time that an entry takes.
const NEWEST: f64 = 0.125;

/// The open jobs, and the job runner's wake-up call. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Jobs {
    inner: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    group_max: u64,
    node_max: u64,
    state: Mutex<State>,
    ring: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Groups the runner has to look at.
    woken: HashSet<GroupId>,
    groups: Map<GroupId, GroupBacklog>,
    /// Entries of all groups.
    entries: u64,
    seconds_per_entry: f64,
}

/// Entries of one group that are not made yet.
#[derive(Clone, Copy, Debug, Default)]
struct GroupBacklog {
    /// Of sends on their way into the store, which may become jobs.
    reserved: u64,
    /// Of open jobs.
    open: u64,
}

/// Room that a send has in the backlog until it is known whether it became a job.
#[derive(Debug)]
pub(crate) struct JobShare {
    jobs: Jobs,
    group: GroupId,
    entries: u64,
}

impl Jobs {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            inner: Arc::new(Shared {
                group_max: limits.group_backlog as u64,
                node_max: limits.node_backlog as u64,
                state: Mutex::default(),
                ring: Notify::new(),
            }),
        }
    }

    /// Finds room for a send to a group; `None` if it is stored at once and needs none.
    ///
    /// # Errors
    /// [`Refusal::Backlog`] if the group, or the node, has too much to deliver.
    pub(crate) fn admit(
        &self,
        group: GroupId,
        recipients: usize,
    ) -> Result<Option<JobShare>, Refusal> {
        let mut state = self.lock();
        let known = state.groups.get(&group).copied();
        // A small send is a job only behind other jobs of its group.
        if recipients <= PART && known.is_none_or(|it| it.open == 0) {
            return Ok(None);
        }
        let entries = recipients as u64;
        let taken = known.map_or(0, |it| it.reserved + it.open);
        let left = self.inner.node_max.saturating_sub(state.entries);
        let for_known = left.saturating_sub(self.inner.node_max / NEWCOMERS);
        let share = self.inner.group_max.min((for_known + taken) / GROUP_SHARE);
        // The first one is taken whatever its size, if the node has room for it.
        if entries > left || (taken > 0 && taken + entries > share) {
            let retry_after = state.retry_after(entries);
            return Err(Refusal::Backlog { retry_after });
        }
        state.groups.entry(group).or_default().reserved += entries;
        state.entries += entries;
        Ok(Some(JobShare {
            jobs: self.clone(),
            group,
            entries,
        }))
    }

    /// A send or a push became a job of so many entries; `share` is the room it had.
    pub(crate) fn opened(&self, group: GroupId, recipients: usize, share: Option<JobShare>) {
        // In this order: what the group has is never less than it is.
        {
            let mut state = self.lock();
            let entries = recipients as u64;
            state.groups.entry(group).or_default().open += entries;
            state.entries += entries;
        }
        drop(share);
        self.wake(group);
    }

    /// Has the runner look at this group.
    pub(crate) fn wake(&self, group: GroupId) {
        self.lock().woken.insert(group);
        self.inner.ring.notify_one();
    }

    /// Returns when a group was woken.
    pub(crate) async fn woken(&self) {
        self.inner.ring.notified().await;
    }

    /// The groups that were woken since the last call.
    pub(crate) fn take_woken(&self) -> Vec<GroupId> {
        self.lock().woken.drain().collect()
    }

    /// So many entries of a job were made.
    pub(crate) fn advanced(&self, group: GroupId, entries: usize, took: Duration) {
        let mut state = self.lock();
        let made = entries as u64;
        if made > 0 {
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let each = took.as_secs_f64() / made as f64;
            state.seconds_per_entry += (each - state.seconds_per_entry) * NEWEST;
        }
        state.take(group, |it| &mut it.open, made);
    }

    /// The group has no open job of this node any more.
    pub(crate) fn finished(&self, group: GroupId) {
        self.lock().take(group, |it| &mut it.open, u64::MAX);
    }

    /// Entries that are accepted and not made yet, and the groups they belong to.
    #[must_use]
    pub fn backlog(&self) -> (u64, usize) {
        let state = self.lock();
        (state.entries, state.groups.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counts and a set of ids are whole whatever panicked.
        let state = &self.inner.state;
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes entries off a group's count, as far as there are any.
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

    /// When so many entries are made, by the pace of the last parts.
    fn retry_after(&self, entries: u64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let seconds = entries as f64 * self.seconds_per_entry;
        let (least, most) = RETRY_AFTER;
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

    fn jobs(group_max: usize, node_max: usize) -> Jobs {
        Jobs::new(&Limits {
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
        // The first becomes a job, the second was refused by the store.
        jobs.opened(group(1), 2_000, first);
        drop(second);
        let third = jobs.admit(group(1), 2_000).unwrap();
        assert!(jobs.admit(group(1), 2_000).is_err());
        jobs.advanced(group(1), 1_000, Duration::from_millis(10));
        jobs.advanced(group(1), 999, Duration::from_millis(10));
        assert!(jobs.admit(group(1), 2_000).is_ok());
        drop(third);
        jobs.finished(group(1));
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
