//! Runs work on the pool: in a task of its own, within a deadline, and again if that is safe.
//!
//! sqlx is not cancel-safe, and a caller may be dropped at any moment, so no work runs in the
//! caller's own future. A transaction whose COMMIT was not sent has changed nothing, whatever else
//! happened. A transaction whose COMMIT was sent but not answered is reported as *unknown*; this
//! module never guesses.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use gimlet_core::dependency::DependencyHealth;
use gimlet_core::error::ErrorChain;
use gimlet_core::store::{StoreError, StoreErrorKind};
use gimlet_core::time::{TimeSource, UnixTimestamp};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::connect::opening_step;
use super::history::{CommitLog, NO_EPOCH, StoreHistory};
use super::pool::ConnectionPool;
use super::session::MysqlSession;
use crate::config::MysqlConfig;
use crate::error::{EngineError, OpenError};
use crate::error_numbers::ErrorScope;
use crate::retry::RetryBackoff;

/// Additional time for a COMMIT beyond the deadline: giving up on its answer leaves the outcome
/// unknown.
const COMMIT_GRACE: Duration = Duration::from_millis(200);

/// The MySQL engine; implements every trait with durable data. Cheap to clone.
#[derive(Clone)]
pub(crate) struct MysqlEngine {
    inner: Arc<EngineInner>,
}

struct EngineInner {
    pool: ConnectionPool,
    clock: Arc<dyn TimeSource>,
    deadline: Duration,
    slow: Duration,
    parallel_batches: usize,
    statements: Arc<AtomicU64>,
    tasks: TaskTracker,
    health: Arc<DependencyHealth>,
    epoch: super::epoch_cache::EpochCell,
    history: Arc<StoreHistory>,
}

impl fmt::Debug for MysqlEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MysqlEngine")
            .field("connections", &self.inner.pool.open())
            .finish_non_exhaustive()
    }
}

/// Effect of a single statement, which decides the meaning of a lost answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatementEffect {
    /// The statement reads.
    Read,
    /// The statement changes data, and a second run changes nothing more.
    Repeatable,
}

/// Time limit of a piece of work, and its treatment of locked rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkPace {
    /// A caller waits for it.
    Prompt,
    /// A caller waits for it, and divides its batch if some of its rows are locked: after one lock
    /// wait timeout the work is not retried.
    Divisible,
    /// Housekeeping.
    Slow,
}

/// A piece of work on a session; it may run more than once.
pub(super) trait SessionWork<T>:
    for<'a> Fn(&'a mut MysqlSession) -> BoxFuture<'a, Result<T, EngineError>> + Send + Sync + 'static
{
}

impl<T, F> SessionWork<T> for F where
    F: for<'a> Fn(&'a mut MysqlSession) -> BoxFuture<'a, Result<T, EngineError>>
        + Send
        + Sync
        + 'static
{
}

impl MysqlEngine {
    pub(super) fn new(
        pool: ConnectionPool,
        clock: Arc<dyn TimeSource>,
        config: &MysqlConfig,
        history: Arc<StoreHistory>,
    ) -> Self {
        Self {
            inner: Arc::new(EngineInner {
                pool,
                clock,
                deadline: config.deadline,
                slow: config.slow_deadline,
                parallel_batches: config.parallel_batches() as usize,
                statements: Arc::default(),
                tasks: TaskTracker::new(),
                health: Arc::new(DependencyHealth::new("mysql")),
                epoch: super::epoch_cache::EpochCell::default(),
                history,
            }),
        }
    }

    /// Returns the number of statements sent so far.
    pub(crate) fn statements(&self) -> u64 {
        self.inner.statements.load(Ordering::Relaxed)
    }

    /// Returns the health of the connection to MySQL.
    pub(crate) fn health(&self) -> Arc<DependencyHealth> {
        Arc::clone(&self.inner.health)
    }

    /// Pings the server; the result is noted in the health.
    pub(crate) async fn ping(&self) {
        let asked = self.once("mysql.ping", StatementEffect::Read, |session| {
            Box::pin(session.plain("DO 0"))
        });
        if let Err(error) = asked.await {
            tracing::debug!(error = %ErrorChain(&error), "mysql ping failed");
        }
    }

    /// Notes in the health whether the server answered. A fault that is about the statement counts
    /// as an answer.
    fn note<T>(&self, done: &Result<T, EngineError>) {
        let health = &self.inner.health;
        match done {
            Err(fault) if fault.is_outage() => health.note_failure(fault, false),
            Ok(_) | Err(_) => health.note_answer(),
        }
    }

    /// Returns the numbers of all connections and of idle ones.
    pub(crate) fn connections(&self) -> (usize, usize) {
        self.inner.pool.counts()
    }

    /// Waits for the work in flight and closes the connections.
    pub(crate) async fn close(&self) {
        // The work ends before the pool closes: it still needs its connections.
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.pool.close().await;
    }

    /// Returns the number of batches that one node may have in flight.
    pub(super) fn parallel_batches(&self) -> usize {
        self.inner.parallel_batches
    }

    pub(super) fn now(&self) -> UnixTimestamp {
        self.inner.clock.now()
    }

    pub(super) fn epoch_cell(&self) -> &super::epoch_cache::EpochCell {
        &self.inner.epoch
    }

    pub(super) fn history(&self) -> &Arc<StoreHistory> {
        &self.inner.history
    }

    /// Returns how often this process has drawn a new epoch because the store had lost commits.
    pub(crate) fn renewed(&self) -> u64 {
        self.inner.history.renewed()
    }

    /// Compares the server with the latest commits of all nodes, now and on every new connection.
    pub(crate) async fn share(&self, log: Arc<dyn CommitLog>) -> Result<(), OpenError> {
        self.inner.history.share(log);
        let allowed = self.inner.slow;
        let session = self.session(self.deadline(WorkPace::Slow)).await;
        let mut session = session.map_err(|fault| OpenError::of_step(fault, allowed))?;
        opening_step(allowed, session.check_server()).await?;
        session.give_back();
        Ok(())
    }

    /// Returns the tracker of background tasks, which [`close`](Self::close) waits for.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.inner.tasks
    }

    /// Returns the deadline of a statement for which a caller waits.
    pub(super) fn statement_deadline(&self) -> Duration {
        self.inner.deadline
    }

    /// Runs one transaction and commits it.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        op: &'static str,
        pace: WorkPace,
        work: impl SessionWork<T>,
    ) -> Result<T, StoreError> {
        let deadline = self.deadline(pace);
        let db = self.clone();
        self.spawn(
            op,
            async move { db.transactions(pace, deadline, work).await },
        )
        .await
    }

    /// Runs one statement outside any transaction; retries it if the connection breaks.
    pub(super) async fn once<T: Send + 'static>(
        &self,
        op: &'static str,
        once: StatementEffect,
        work: impl SessionWork<T>,
    ) -> Result<T, StoreError> {
        let deadline = self.deadline(WorkPace::Prompt);
        let db = self.clone();
        self.spawn(
            op,
            async move { db.statements_of(once, deadline, work).await },
        )
        .await
    }

    fn deadline(&self, pace: WorkPace) -> Instant {
        Instant::now()
            + match pace {
                WorkPace::Prompt | WorkPace::Divisible => self.inner.deadline,
                WorkPace::Slow => self.inner.slow,
            }
    }

    async fn spawn<T: Send + 'static>(
        &self,
        op: &'static str,
        work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.inner.tasks.spawn(work).await {
            Ok(done) => {
                self.note(&done);
                done.map_err(|fault| fault.of(op))
            }
            // The runtime is shutting down, or the task panicked: the outcome is unknown in both
            // cases.
            Err(lost) => Err(StoreError::with(op, StoreErrorKind::Unknown, lost)),
        }
    }

    async fn session(&self, deadline: Instant) -> Result<MysqlSession, EngineError> {
        let inner = &self.inner;
        let lease = inner.pool.acquire(deadline).await?;
        let (statements, history) = (Arc::clone(&inner.statements), Arc::clone(&inner.history));
        Ok(MysqlSession::new(lease, statements, history))
    }

    /// Draws a new epoch after the store lost commits, before anything else is accepted (law 10).
    /// The first task that notices draws it; the others find it drawn.
    async fn end_history(&self, fault: &EngineError, deadline: Instant) -> Result<(), EngineError> {
        let old = self.inner.history.present().ok_or(NO_EPOCH)?;
        gimlet_core::error_rated!(
            error = fault as &dyn std::error::Error,
            "store lost commits, drawing a new epoch"
        );
        let mut session = self.session(deadline).await?;
        // A session that is not given back is closed, so nothing stays open on it.
        timeout_at(deadline, session.renew(old))
            .await
            .map_err(|_| EngineError::Deadline)??;
        session.give_back();
        if let Some(epoch) = self.inner.history.present() {
            self.inner.epoch.set(epoch);
        }
        Ok(())
    }

    async fn transactions<T>(
        &self,
        pace: WorkPace,
        deadline: Instant,
        work: impl SessionWork<T>,
    ) -> Result<T, EngineError> {
        let mut backoff = RetryBackoff::default();
        loop {
            let (fault, stale) = match self.session(deadline).await {
                Ok(session) => {
                    let reused = session.is_reused();
                    match self.transaction(session, deadline, &work).await {
                        Ok(done) => return Ok(done),
                        Err(fault) => (fault, reused),
                    }
                }
                Err(fault) => (fault, false),
            };
            // The new epoch comes before the retry: it also clears the known heads, so that the
            // retry is accepted. The pause bounds the epochs that are drawn if the heads go back
            // again and again, as behind an address that leads to several servers.
            if matches!(fault, EngineError::WentBack { .. }) {
                self.end_history(&fault, deadline).await?;
                if backoff.wait(deadline).await {
                    continue;
                }
                return Err(fault);
            }
            // A duplicate key here is a race between two inserts: the retry reads the other one's
            // row.
            let again = fault.is_duplicate() || is_worth_repeating(&fault);
            let divide = pace == WorkPace::Divisible && fault.is_lock();
            if !again || divide || !pause(&mut backoff, &fault, stale, deadline).await {
                return Err(fault);
            }
            tracing::debug!(
                error = &fault as &dyn std::error::Error,
                "transaction failed, repeating it"
            );
        }
    }

    async fn statements_of<T>(
        &self,
        once: StatementEffect,
        deadline: Instant,
        work: impl SessionWork<T>,
    ) -> Result<T, EngineError> {
        let mut backoff = RetryBackoff::default();
        // Set when a change may have taken effect although its answer was lost.
        let mut sent = false;
        loop {
            let (fault, stale) = match self.session(deadline).await {
                Ok(mut session) => {
                    let worked = timeout_at(deadline, work(&mut session)).await;
                    match worked.unwrap_or(Err(EngineError::Deadline)) {
                        Ok(done) => {
                            session.give_back();
                            return Ok(done);
                        }
                        Err(fault) => {
                            self.inner.pool.learn(&fault, session.generation());
                            let reused = session.is_reused();
                            if fault.ends_connection() {
                                // An error answer means that the server has not made the change.
                                sent |= fault.number().is_none();
                                drop(session);
                            } else {
                                session.give_back();
                            }
                            (fault, reused)
                        }
                    }
                }
                Err(fault) => (fault, false),
            };
            // In the same order, and with the same pause, as for a transaction.
            if matches!(fault, EngineError::WentBack { .. }) {
                self.end_history(&fault, deadline).await?;
                if backoff.wait(deadline).await {
                    continue;
                }
                return Err(fault);
            }
            if is_worth_repeating(&fault) && pause(&mut backoff, &fault, stale, deadline).await {
                continue;
            }
            return Err(match once {
                StatementEffect::Repeatable if sent => EngineError::Unknown(fault.to_string()),
                _ => fault,
            });
        }
    }

    /// Begins, runs the work, commits. The session returns to the pool only if no transaction is
    /// open on it.
    async fn transaction<T>(
        &self,
        mut session: MysqlSession,
        deadline: Instant,
        work: &impl SessionWork<T>,
    ) -> Result<T, EngineError> {
        let worked = timeout_at(deadline, async {
            session.plain("BEGIN").await?;
            work(&mut session).await
        });
        let done = match worked.await.unwrap_or(Err(EngineError::Deadline)) {
            Ok(done) => done,
            Err(fault) => {
                self.inner.pool.learn(&fault, session.generation());
                // The ROLLBACK precedes the return to the pool. Without its answer the session is
                // dropped, which closes the connection and lets the server roll back.
                let rollback = async {
                    if fault.ends_connection() {
                        return false;
                    }
                    let done = timeout_at(deadline, session.plain("ROLLBACK")).await;
                    matches!(done, Ok(Ok(())))
                };
                if rollback.await {
                    session.give_back();
                }
                return Err(fault);
            }
        };
        // From here on the outcome is decided by the server: every failure is unknown, unless the
        // server certainly refused the COMMIT.
        match timeout_at(deadline + COMMIT_GRACE, session.plain("COMMIT")).await {
            Ok(Ok(())) => {
                // Noted before the session is given back and the caller is answered: a later reader
                // must compare with this commit.
                session.history.committed(&session.taken);
                session.give_back();
                Ok(done)
            }
            Ok(Err(fault)) => {
                self.inner.pool.learn(&fault, session.generation());
                // The server refused before its engine committed: certainly not stored.
                if fault.refuses_commit() {
                    return Err(fault);
                }
                Err(EngineError::Unknown(fault.to_string()))
            }
            Err(_) => Err(EngineError::Unknown("no answer in time".into())),
        }
    }
}

/// Returns whether the same work may succeed when it is retried.
fn is_worth_repeating(fault: &EngineError) -> bool {
    use ErrorScope::{Conflict, Connection, Crowded, Locked, Server, Statements};
    matches!(
        fault.scope(),
        Conflict | Locked | Connection | Crowded | Server | Statements
    )
}

/// Waits before the next attempt; returns false if none is left. A reused connection that broke
/// costs no attempt: it says nothing about the server, and the pool may hold many of them.
async fn pause(
    backoff: &mut RetryBackoff,
    fault: &EngineError,
    stale: bool,
    deadline: Instant,
) -> bool {
    let free = stale && fault.ends_connection() && !matches!(fault, EngineError::Deadline);
    if free {
        return Instant::now() < deadline;
    }
    backoff.wait(deadline).await
}
