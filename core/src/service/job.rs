//! The job runner: completes group sends that are larger than one chunk.
//!
//! Any node may work on any job. A claim takes the job from its previous holder, and the store lets
//! only the newest holder advance it (law 5: all members eventually, even if the node dies). The
//! runner stores one chunk of each group in turn, so a group with many jobs delays the other groups
//! by at most one chunk, and a group whose chunk fails waits on its own.
//!
//! Order in the loop: sweep, then woken groups, then one chunk, then the result. The sweep and the
//! woken groups are noted before each chunk and not only when the runner is idle, because a busy
//! runner is never idle.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::backlog::OpenJobs;
use crate::delivery::DeliveryBatch;
use crate::directory::ProfileDirectory;
use crate::envelope::Envelope;
use crate::fanout::MessageFanout;
use crate::id::GroupId;
use crate::janitor::RetentionNotifier;
use crate::store::{InboxStore, JobLease, JobStepOutcome, StoreError};

/// Interval of the sweeps for jobs without a holder.
const JOB_SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// First and longest pause of a group whose chunk met a fault of the store.
const JOB_BACKOFF_RANGE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Work on one group, with its claim if there is one yet.
#[derive(Debug)]
struct JobWork {
    /// The group; `None` stands for any group.
    group: Option<GroupId>,
    lease: Option<JobLease>,
    /// Set after a fault: the earliest time of the next attempt, and the pause after another fault.
    pause: Option<(Instant, Duration)>,
}

impl JobWork {
    fn is_of(&self, group: GroupId) -> bool {
        self.group == Some(group) || self.lease.as_ref().is_some_and(|it| it.group == group)
    }
}

/// Result of one step.
#[derive(Debug)]
enum JobStep {
    /// The work may continue.
    GoesOn(JobWork),
    /// No job is open.
    Finished,
    /// Another holder has claimed the job of this group, which had this many open entries here.
    Lost(GroupId, u64),
}

/// The job runner of a node.
#[derive(Debug)]
pub(crate) struct JobRunner {
    pub(crate) inbox: Arc<dyn InboxStore>,
    pub(crate) fanout: MessageFanout,
    pub(crate) directory: ProfileDirectory,
    pub(crate) jobs: OpenJobs,
    pub(crate) retention: RetentionNotifier,
}

impl JobRunner {
    /// Runs until the token is cancelled. A job that is open then is taken over after the next
    /// start, or by another node.
    pub(crate) async fn run(self, token: CancellationToken) {
        let mut work = VecDeque::new();
        let mut sweep_at = Instant::now();
        loop {
            // Checked before each chunk, so that a node that is always busy sweeps too.
            let now = Instant::now();
            if now >= sweep_at {
                sweep_at = now + JOB_SWEEP_INTERVAL;
                note(&mut work, None);
            }
            for group in self.jobs.take_woken() {
                note(&mut work, Some(group));
            }
            let Some(next) = take_ready(&mut work, now) else {
                let pauses = work.iter().filter_map(|one| one.pause);
                let wake_at = pauses.map(|(at, _)| at).min();
                let wake_at = wake_at.map_or(sweep_at, |at| at.min(sweep_at));
                tokio::select! {
                    biased;
                    () = token.cancelled() => return,
                    () = self.jobs.woken() => {}
                    () = sleep_until(wake_at) => {}
                }
                continue;
            };
            // A busy runner never reaches the select above, so it checks the token before each
            // chunk.
            if token.is_cancelled() {
                return;
            }
            let (group, pause) = (next.group, next.pause);
            match self.step(next).await {
                // To the back of the queue: one chunk of each group in turn.
                Ok(JobStep::GoesOn(rest)) => work.push_back(rest),
                Ok(JobStep::Finished) => {}
                Ok(JobStep::Lost(group, entries)) => {
                    // Another node works on the job, so its open entries belong to that node's
                    // backlog now. The exception is other work of this node on the same group,
                    // which reached it through the sweep and holds the newer claim.
                    if !work.iter().any(|one| one.is_of(group)) {
                        self.jobs.finished(group, entries);
                    }
                }
                Err(error) => {
                    report(&error);
                    let pause = pause.map_or(JOB_BACKOFF_RANGE.0, |(_, next)| next);
                    let next = (pause * 2).min(JOB_BACKOFF_RANGE.1);
                    work.push_back(JobWork {
                        group,
                        lease: None,
                        pause: Some((Instant::now() + pause, next)),
                    });
                }
            }
        }
    }

    /// Stores and delivers one chunk.
    async fn step(&self, work: JobWork) -> Result<JobStep, StoreError> {
        let lease = if let Some(lease) = work.lease {
            lease
        } else {
            // Read before the claim: a job that is opened after the claim found none is still in
            // the store.
            let open = work
                .group
                .map(|group| (group, self.jobs.open_entries(group)));
            let Some(lease) = self.inbox.claim_job(work.group).await? else {
                if let Some((group, entries)) = open {
                    self.jobs.finished(group, entries);
                }
                return Ok(JobStep::Finished);
            };
            lease
        };
        let began = Instant::now();
        // Read before the store is asked, as above.
        let open = self.jobs.open_entries(lease.group);
        match self.inbox.advance_job(&lease).await? {
            JobStepOutcome::Lost => Ok(JobStep::Lost(lease.group, open)),
            JobStepOutcome::Entries {
                message,
                seqs,
                done,
            } => {
                self.jobs.advanced(lease.group, seqs.len(), began.elapsed());
                // The chunk is durable here. Retention and pushes follow, because a push may only
                // carry stored entries (law 1).
                self.retention.note(&seqs);
                let profile = self.directory.sender(message.sender).await;
                let envelope = Arc::new(Envelope::new(message, profile, 0));
                if !seqs.is_empty() {
                    let to = seqs;
                    let delivery = DeliveryBatch::Entries { envelope, to };
                    self.fanout.deliver(vec![delivery]).await;
                }
                let lease = (!done).then_some(lease);
                Ok(JobStep::GoesOn(JobWork {
                    group: work.group,
                    lease,
                    pause: None,
                }))
            }
        }
    }
}

fn report(error: &StoreError) {
    let error = error as &dyn std::error::Error;
    crate::warn_rated!(error, "fan-out job interrupted, retrying later");
}

/// Adds work on this group if there is none yet.
fn note(work: &mut VecDeque<JobWork>, group: Option<GroupId>) {
    if !work.iter().any(|one| one.group == group) {
        work.push_back(JobWork {
            group,
            lease: None,
            pause: None,
        });
    }
}

/// Takes the first work that is not paused.
fn take_ready(work: &mut VecDeque<JobWork>, now: Instant) -> Option<JobWork> {
    let is_ready = |one: &JobWork| one.pause.is_none_or(|(at, _)| at <= now);
    let at = work.iter().position(is_ready)?;
    work.remove(at)
}
