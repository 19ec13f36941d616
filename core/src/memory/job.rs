//! Fan-out jobs: sends to more recipients than one batch holds, in order within a group.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::id::{GroupId, UserId};
use crate::message::Message;
use crate::store::JobLease;

/// A send whose entries are made in parts.
#[derive(Debug)]
pub(super) struct FanoutJob {
    number: u64,
    generation: u64,
    pub(super) message: Arc<Message>,
    pub(super) recipients: Arc<[UserId]>,
    pub(super) done: usize,
}

/// The open jobs of all groups.
#[derive(Debug, Default)]
pub(super) struct FanoutJobs {
    last: u64,
    of: HashMap<GroupId, VecDeque<FanoutJob>>,
    /// All open jobs by number, which is also their order over all groups.
    order: BTreeMap<u64, GroupId>,
}

impl FanoutJobs {
    pub(super) fn is_open(&self, group: GroupId) -> bool {
        self.of.contains_key(&group)
    }

    /// Opens a job after the other jobs of the group. The caller makes the first recipient's entry.
    pub(super) fn open(
        &mut self,
        group: GroupId,
        message: &Arc<Message>,
        recipients: &Arc<[UserId]>,
    ) {
        self.last += 1;
        self.order.insert(self.last, group);
        self.of.entry(group).or_default().push_back(FanoutJob {
            number: self.last,
            generation: 0,
            message: Arc::clone(message),
            recipients: Arc::clone(recipients),
            done: 1,
        });
    }

    pub(super) fn claim(&mut self, group: Option<GroupId>) -> Option<JobLease> {
        let group = group.or_else(|| self.order.values().next().copied())?;
        let job = self.of.get_mut(&group)?.front_mut()?;
        job.generation += 1;
        Some(JobLease {
            group,
            job: job.number,
            generation: job.generation,
        })
    }

    /// Returns the job of this lease if the lease is still valid.
    pub(super) fn held(&mut self, lease: &JobLease) -> Option<&mut FanoutJob> {
        let job = self.of.get_mut(&lease.group)?.front_mut()?;
        (job.number == lease.job && job.generation == lease.generation).then_some(job)
    }

    /// Removes the group's oldest job.
    pub(super) fn close(&mut self, group: GroupId) {
        if let Some(queue) = self.of.get_mut(&group) {
            if let Some(job) = queue.pop_front() {
                self.order.remove(&job.number);
            }
            if queue.is_empty() {
                self.of.remove(&group);
            }
        }
    }
}
