//! The job runner: finishes group sends that are larger than one part.
//!
//! Any node may work on any job; a claim takes it from its former holder, and the store lets only
//! the newest holder advance (law 5: all members eventually, also if the node dies half-way).

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::directory::Directory;
use crate::envelope::{Envelope, Parcel};
use crate::fanout::Fanout;
use crate::id::GroupId;
use crate::service::janitor::Retention;
use crate::store::{InboxStore, JobLease, JobPart, StoreError};

/// How often jobs that nobody works on are looked for.
const SWEEP: Duration = Duration::from_secs(30);
/// The first and the longest wait after a fault of the store.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The groups that have open jobs to look at; the runner's door bell. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Jobs {
    inner: Arc<Bell>,
}

#[derive(Debug, Default)]
struct Bell {
    groups: Mutex<HashSet<GroupId>>,
    ring: Notify,
}

impl Jobs {
    /// Says that this group has an open job.
    pub fn wake(&self, group: GroupId) {
        self.lock().insert(group);
        self.inner.ring.notify_one();
    }

    /// The groups that were woken since the last call.
    pub(crate) fn take(&self) -> Vec<GroupId> {
        self.lock().drain().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<GroupId>> {
        // A set of ids is whole whatever panicked.
        self.inner
            .groups
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group that is worked on: which one, and the claim if there is one yet.
#[derive(Debug)]
struct Work {
    /// `None`: of any group.
    group: Option<GroupId>,
    lease: Option<JobLease>,
}

/// The runner.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) inbox: Arc<dyn InboxStore>,
    pub(crate) fanout: Fanout,
    pub(crate) directory: Directory,
    pub(crate) jobs: Jobs,
    pub(crate) retention: Retention,
}

impl Runner {
    /// Works until the token is cancelled; a job that is open then is taken over after the next
    /// start, or by another node.
    pub(crate) async fn run(self, token: CancellationToken) {
        let mut work = VecDeque::new();
        let mut backoff = BACKOFF.0;
        let mut sweep_at = Instant::now();
        loop {
            // Also when something rings all the time.
            if Instant::now() >= sweep_at {
                sweep_at = Instant::now() + SWEEP;
                note(&mut work, None);
            }
            for group in self.jobs.take() {
                note(&mut work, Some(group));
            }
            let Some(next) = work.pop_front() else {
                tokio::select! {
                    biased;
                    () = token.cancelled() => return,
                    () = self.jobs.inner.ring.notified() => {}
                    () = sleep_until(sweep_at) => {}
                }
                continue;
            };
            if token.is_cancelled() {
                return;
            }
            let group = next.group;
            match self.step(next).await {
                Ok(Some(rest)) => {
                    backoff = BACKOFF.0;
                    // To the back: one part of each group in turn.
                    work.push_back(rest);
                }
                Ok(None) => backoff = BACKOFF.0,
                Err(error) => {
                    report(&error);
                    note(&mut work, group);
                    tokio::select! {
                        biased;
                        () = token.cancelled() => return,
                        () = tokio::time::sleep(backoff) => {}
                    }
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    /// Does one part; what is left of the group's work, or `None` if there is none for us.
    async fn step(&self, work: Work) -> Result<Option<Work>, StoreError> {
        let lease = match work.lease {
            Some(lease) => lease,
            None => match self.inbox.claim_job(work.group).await? {
                Some(lease) => lease,
                None => return Ok(None),
            },
        };
        match self.inbox.advance_job(&lease).await? {
            JobPart::Lost => Ok(None),
            JobPart::Entries {
                message,
                seqs,
                done,
            } => {
                self.retention.note(&seqs);
                let profile = self.directory.sender(message.sender).await;
                let envelope = Arc::new(Envelope::new(message, profile, 0));
                if !seqs.is_empty() {
                    let to = seqs;
                    let parcel = Parcel::Entries { envelope, to };
                    self.fanout.deliver(vec![parcel]).await;
                }
                let lease = (!done).then_some(lease);
                Ok(Some(Work {
                    group: work.group,
                    lease,
                }))
            }
        }
    }
}

fn report(error: &StoreError) {
    let error = error as &dyn std::error::Error;
    crate::warn_rated!(error, "fan-out job interrupted; it goes on later");
}

/// Adds work that is not there yet.
fn note(work: &mut VecDeque<Work>, group: Option<GroupId>) {
    if !work.iter().any(|one| one.group == group) {
        work.push_back(Work { group, lease: None });
    }
}
