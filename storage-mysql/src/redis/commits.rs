//! Publishes the latest commits of all nodes in Redis, so that a node that meets another MySQL
//! server can tell whether the server has them (law 10). Best effort: without Redis, a node
//! compares only its own commits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gimlet_core::id::{Epoch, UserId};
use gimlet_core::seq::Seq;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::keys::Keys;
use super::wire::Wire;
use crate::mysql::{CommitLog, Mark};

/// Interval at which a node publishes at most one commit, its latest.
const BETWEEN: Duration = Duration::from_millis(50);
/// Number of kept commits. The newest commits of the cluster are among them, whichever node made
/// them.
const KEPT: isize = 64;
/// Expiry of the list, in seconds, after its newest commit: longer than any failover takes.
const SECONDS: i64 = 7 * 24 * 3_600;

/// The list of commits in Redis, and the commit that waits to be published.
#[derive(Debug)]
pub(crate) struct Commits {
    wire: Wire,
    key: String,
    waiting: Mutex<Option<Mark>>,
    some: Notify,
}

impl Commits {
    pub(super) fn new(wire: Wire, keys: &Keys) -> Self {
        Self {
            wire,
            key: keys.commits(),
            waiting: Mutex::default(),
            some: Notify::new(),
        }
    }

    /// Publishes the waiting commit, at most one per interval, until `stop`.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            // Woken by `publish`. A commit that arrives during the sleep below stays in `waiting`,
            // where a later one replaces it, and `Notify` keeps its notification.
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.some.notified() => {}
            }
            let mark = self
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(mark) = mark
                && let Err(error) = self.leave(mark).await
            {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "commit not shared"
                );
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(BETWEEN) => {}
            }
        }
    }

    async fn leave(&self, mark: Mark) -> Result<(), crate::error::Fault> {
        let mut push = redis::cmd("LPUSH");
        push.arg(&self.key).arg(spell(mark));
        let mut trim = redis::cmd("LTRIM");
        trim.arg(&self.key).arg(0).arg(KEPT - 1);
        let mut expire = redis::cmd("EXPIRE");
        expire.arg(&self.key).arg(SECONDS);
        let done = self.wire.commands::<redis::Value>(vec![push, trim, expire]);
        done.await.map(drop)
    }
}

#[async_trait]
impl CommitLog for Commits {
    fn publish(&self, mark: Mark) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = Some(mark);
        drop(waiting);
        self.some.notify_one();
    }

    async fn recent(&self) -> Vec<Mark> {
        let mut range = redis::cmd("LRANGE");
        range.arg(&self.key).arg(0).arg(-1);
        match self.wire.command::<Vec<String>>(&range).await {
            Ok(spelt) => spelt.iter().filter_map(|it| read(it)).collect(),
            Err(error) => {
                gimlet_core::warn_rated!(
                    error = &error as &dyn std::error::Error,
                    "a new MySQL connection is checked without the other nodes' commits: Redis does \
                     not answer"
                );
                Vec::new()
            }
        }
    }
}

fn spell(mark: Mark) -> String {
    format!("{}:{}:{}", mark.epoch.0, mark.user.get(), mark.seq.get())
}

fn read(spelt: &str) -> Option<Mark> {
    let mut parts = spelt.split(':').map(str::parse::<u64>);
    let mut next = || parts.next()?.ok();
    Some(Mark {
        epoch: Epoch(next()?),
        user: UserId::new(next()?)?,
        seq: Seq::new(next()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_as_it_was_spelt_and_nonsense_is_none() {
        let mark = Mark {
            epoch: Epoch(7),
            user: UserId::new(3).unwrap(),
            seq: Seq::new(9),
        };
        assert_eq!(read(&spell(mark)), Some(mark));
        for nonsense in ["", "1:2", "a:b:c", "1:0:3"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }
}
