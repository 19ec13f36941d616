//! The pool, and how a piece of work runs on it: in a task of its own, within its time, again
//! where that is safe.
//!
//! sqlx is not cancel-safe, and a caller may go away at any moment: so no work runs in the caller's
//! own future. A transaction that was not sent its COMMIT is not there, whatever happened; one
//! whose COMMIT was sent and not answered is *unknown*, and nobody here guesses.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use gimlet_core::store::{Kind, StoreError};
use gimlet_core::time::{Clock, Timestamp};
use sqlx::MySqlPool;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::session::Session;
use crate::config::MysqlConfig;
use crate::error::Fault;
use crate::retry::Backoff;

/// How much longer than the rest a commit may take: it is the one answer that must not be given up.
const COMMIT_GRACE: Duration = Duration::from_millis(200);

/// The engine: serves every trait whose data lasts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    pool: MySqlPool,
    clock: Arc<dyn Clock>,
    deadline: Duration,
    slow: Duration,
    packet: usize,
    statements: Arc<AtomicU64>,
    tasks: TaskTracker,
    epoch: super::seq::EpochCell,
    tokens: super::tokens::Tokens,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db")
            .field("connections", &self.inner.pool.size())
            .finish_non_exhaustive()
    }
}

/// What a single statement does, and so what a lost answer to it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Once {
    /// It reads.
    Read,
    /// It changes something, and changes nothing more if it runs again.
    Repeatable,
}

/// How long a piece of work may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Somebody waits for it.
    Prompt,
    /// Housekeeping.
    Slow,
}

/// A piece of work on a session; it may run more than once.
pub(super) trait Work<T>:
    for<'a> Fn(&'a mut Session) -> BoxFuture<'a, Result<T, Fault>> + Send + Sync + 'static
{
}

impl<T, F> Work<T> for F where
    F: for<'a> Fn(&'a mut Session) -> BoxFuture<'a, Result<T, Fault>> + Send + Sync + 'static
{
}

impl Db {
    pub(super) fn new(
        pool: MySqlPool,
        clock: Arc<dyn Clock>,
        config: &MysqlConfig,
        packet: usize,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                pool,
                clock,
                deadline: config.deadline,
                slow: config.slow_deadline,
                packet,
                statements: Arc::default(),
                tasks: TaskTracker::new(),
                epoch: super::seq::EpochCell::default(),
                tokens: super::tokens::Tokens::default(),
            }),
        }
    }

    /// Statements sent so far.
    pub(crate) fn statements(&self) -> u64 {
        self.inner.statements.load(Ordering::Relaxed)
    }

    /// Waits for the work in flight and closes the connections.
    pub(crate) async fn close(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.pool.close().await;
    }

    pub(super) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    pub(super) fn epoch_cell(&self) -> &super::seq::EpochCell {
        &self.inner.epoch
    }

    pub(super) fn tokens(&self) -> &super::tokens::Tokens {
        &self.inner.tokens
    }

    /// Runs work that nobody waits for by itself.
    pub(super) fn behind(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.inner.tasks.spawn(work);
    }

    /// Waits for what others do, no longer than for a statement.
    pub(super) async fn in_time<T>(
        &self,
        op: &'static str,
        work: impl Future<Output = T>,
    ) -> Result<T, StoreError> {
        let done = timeout_at(self.deadline(Pace::Prompt), work).await;
        done.map_err(|_| Fault::Deadline.of(op))
    }

    /// Runs one transaction and commits it.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        op: &'static str,
        pace: Pace,
        work: impl Work<T>,
    ) -> Result<T, StoreError> {
        let deadline = self.deadline(pace);
        let db = self.clone();
        self.spawn(op, async move { db.transactions(deadline, work).await })
            .await
    }

    /// Runs one statement outside any transaction, again if the way to the server broke.
    pub(super) async fn once<T: Send + 'static>(
        &self,
        op: &'static str,
        once: Once,
        work: impl Work<T>,
    ) -> Result<T, StoreError> {
        let deadline = self.deadline(Pace::Prompt);
        let db = self.clone();
        self.spawn(
            op,
            async move { db.statements_of(once, deadline, work).await },
        )
        .await
    }

    fn deadline(&self, pace: Pace) -> Instant {
        Instant::now()
            + match pace {
                Pace::Prompt => self.inner.deadline,
                Pace::Slow => self.inner.slow,
            }
    }

    async fn spawn<T: Send + 'static>(
        &self,
        op: &'static str,
        work: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.inner.tasks.spawn(work).await {
            Ok(done) => done.map_err(|fault| fault.of(op)),
            // The runtime is going down, or a bug: in either case nobody knows.
            Err(lost) => Err(StoreError::with(op, Kind::Unknown, lost)),
        }
    }

    async fn session(&self, deadline: Instant) -> Result<Session, Fault> {
        let inner = &self.inner;
        let conn = timeout_at(deadline, inner.pool.acquire())
            .await
            .map_err(|_| Fault::Deadline)??;
        let statements = Arc::clone(&inner.statements);
        Ok(Session::new(conn, statements, inner.packet))
    }

    async fn transactions<T>(&self, deadline: Instant, work: impl Work<T>) -> Result<T, Fault> {
        let mut backoff = Backoff::default();
        loop {
            let fault = match self.session(deadline).await {
                Ok(session) => match transaction(session, deadline, &work).await {
                    Ok(done) => return Ok(done),
                    Err(fault) => fault,
                },
                Err(fault) => fault,
            };
            let again = fault.is_conflict() || fault.is_duplicate() || fault.is_disconnect();
            if !again || !backoff.wait(deadline).await {
                return Err(fault);
            }
            tracing::debug!(
                error = &fault as &dyn std::error::Error,
                "transaction again"
            );
        }
    }

    async fn statements_of<T>(
        &self,
        once: Once,
        deadline: Instant,
        work: impl Work<T>,
    ) -> Result<T, Fault> {
        let mut backoff = Backoff::default();
        // Set when a change may have taken place without an answer.
        let mut sent = false;
        loop {
            let fault = match self.session(deadline).await {
                Ok(mut session) => match timeout_at(deadline, work(&mut session)).await {
                    Ok(Ok(done)) => return Ok(done),
                    Ok(Err(fault)) if !fault.is_disconnect() => fault,
                    Ok(Err(fault)) => {
                        session.discard();
                        sent = true;
                        fault
                    }
                    Err(_) => {
                        session.discard();
                        sent = true;
                        Fault::Deadline
                    }
                },
                Err(fault) => fault,
            };
            let again = fault.is_conflict() || fault.is_disconnect();
            if again && backoff.wait(deadline).await {
                continue;
            }
            return Err(match once {
                Once::Repeatable if sent => Fault::Unknown(fault.to_string()),
                _ => fault,
            });
        }
    }
}

/// Begins, works, commits; the session goes back to the pool only if nothing is open on it.
async fn transaction<T>(
    mut session: Session,
    deadline: Instant,
    work: &impl Work<T>,
) -> Result<T, Fault> {
    let worked = timeout_at(deadline, async {
        session.plain("BEGIN").await?;
        work(&mut session).await
    });
    let worked = worked.await.unwrap_or(Err(Fault::Deadline));
    let done = match worked {
        Ok(done) => done,
        Err(fault) => {
            let rolled_back = !fault.is_disconnect()
                && matches!(
                    timeout_at(deadline, session.plain("ROLLBACK")).await,
                    Ok(Ok(()))
                );
            if !rolled_back {
                session.discard();
            }
            return Err(fault);
        }
    };
    match timeout_at(deadline + COMMIT_GRACE, session.plain("COMMIT")).await {
        Ok(Ok(())) => Ok(done),
        // Refused for the sake of another transaction: certainly not committed.
        Ok(Err(fault)) if fault.is_conflict() => {
            session.discard();
            Err(fault)
        }
        Ok(Err(fault)) => {
            session.discard();
            Err(Fault::Unknown(fault.to_string()))
        }
        Err(_) => {
            session.discard();
            Err(Fault::Unknown("no answer in time".into()))
        }
    }
}
