//! The connections of this process to MySQL.
//!
//! The pool interprets errors. If a connection breaks, or leads to a server that accepts no changes
//! any more, all older connections are closed too: a middlebox cuts many at once, and after a
//! failover the same address leads to another server. If a server grants fewer connections than the
//! pool wants, the pool works with those it has. A connection that was silent is tested before its
//! next use.
//!
//! A *generation* is the set of connections begun since the last such event. A connection carries
//! the generation that was current when it was begun, because it may lead to the server that was
//! left since. It is closed instead of used once the pool's generation is higher.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::{Connection as _, Executor as _, MySqlConnection, Row as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::connect::MysqlConnector;
use super::history::StoreHistory;
use super::settings;
use crate::error::{EngineError, UnfitServer};
use crate::error_numbers::ErrorScope;

/// Time after which an idle connection is tested before its next use: that it works, and that its
/// server still accepts changes.
const IDLE_TEST_AFTER: Duration = Duration::from_secs(2);
/// Timeout of that test. Less than half of a call's default deadline, so that time remains for a
/// new connection.
const IDLE_TEST_TIMEOUT: Duration = Duration::from_millis(500);
/// Idle time after which a connection is not reused. Below the session's `wait_timeout`, so that
/// the server never closes a connection that is about to be used.
const MAX_IDLE: Duration = Duration::from_secs(40);
/// Age at which a connection is replaced, reduced by up to a fifth at random, so that not all
/// connections are replaced at once.
const MAX_AGE: Duration = Duration::from_mins(30);
/// Interval at which one more connection is tried after the server refused one.
const GROW_INTERVAL: Duration = Duration::from_secs(5);
/// Timeout of the closing message to the server.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Smallest number of prepared statements that a connection keeps.
pub(super) const MIN_PREPARED_STATEMENTS: usize = 16;

/// The connection pool. Cheap to clone.
#[derive(Clone)]
pub(super) struct ConnectionPool {
    inner: Arc<PoolInner>,
}

struct PoolInner {
    connector: MysqlConnector,
    /// Commits that a new connection's server must have.
    history: Arc<StoreHistory>,
    /// One permit per connection in use or being made.
    permits: Arc<Semaphore>,
    state: Mutex<PoolState>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct PoolState {
    /// Idle connections, reused in last-in-first-out order, so that surplus connections reach their
    /// idle limit and the used ones keep their prepared statements.
    idle: Vec<OpenConnection>,
    /// Connections that exist or are being made.
    open: usize,
    /// Connections that are being made.
    making: usize,
    /// Current generation; connections of earlier generations are closed instead of used.
    generation: u64,
    /// Permits that are withheld because the server grants no more connections.
    withheld: usize,
    grow_at: Instant,
    /// Server that the newest connection leads to.
    identity: Option<String>,
    /// Largest number of prepared statements of a connection.
    statements: usize,
    closed: bool,
}

#[derive(Debug)]
struct OpenConnection {
    conn: MySqlConnection,
    generation: u64,
    /// Largest size of a statement, in bytes.
    packet: u64,
    ends_at: Instant,
    idle_since: Instant,
    /// Last time at which its server was known to accept changes.
    judged_at: Instant,
}

impl fmt::Debug for ConnectionPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.inner.lock().open;
        f.debug_struct("ConnectionPool")
            .field("open", &open)
            .finish_non_exhaustive()
    }
}

impl ConnectionPool {
    pub(super) fn new(
        connector: MysqlConnector,
        connections: u32,
        statements: usize,
        history: Arc<StoreHistory>,
    ) -> Self {
        let connections = usize::try_from(connections.max(1)).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            inner: Arc::new(PoolInner {
                connector,
                history,
                permits: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
                state: Mutex::new(PoolState {
                    idle: Vec::new(),
                    open: 0,
                    making: 0,
                    generation: 0,
                    withheld: 0,
                    grow_at: Instant::now(),
                    identity: None,
                    statements,
                    closed: false,
                }),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// Returns the number of connections that exist or are being made.
    pub(super) fn open(&self) -> usize {
        self.inner.lock().open
    }

    /// Returns the numbers of all connections and of idle ones.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.inner.lock();
        (state.open, state.idle.len())
    }

    /// Returns a connection for one piece of work: an idle one that works, or a new one.
    pub(super) async fn acquire(&self, deadline: Instant) -> Result<PooledConnection, EngineError> {
        loop {
            // The order matters: a permit first, then an idle connection, then a new one. The
            // permit bounds the connections, and an idle one is never passed over for a new one.
            self.inner.grow();
            let permit = Arc::clone(&self.inner.permits).acquire_owned();
            let permit = timeout_at(deadline, permit).await;
            let permit = permit
                .map_err(|_| EngineError::Deadline)?
                .map_err(|_| EngineError::Closed)?;
            if let Some(connected) = self.inner.reuse(deadline).await {
                return Ok(self.lease(connected, permit, true));
            }
            match self.inner.connect(deadline).await {
                Ok(Some(connected)) => return Ok(self.lease(connected, permit, false)),
                // The connections were retired meanwhile, so the next one leads elsewhere.
                Ok(None) => {}
                // Without any connection, no caller could wait for one, and a withheld permit would
                // only make the pool smaller when the server grants connections again.
                Err(fault) if fault.scope() == ErrorScope::Crowded && self.inner.has_any() => {
                    // Withholding the permit makes callers wait for a connection that is given
                    // back.
                    self.inner.withhold(permit);
                    tracing::debug!(
                        error = &fault as &dyn std::error::Error,
                        "mysql refused another connection"
                    );
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    fn lease(
        &self,
        connected: OpenConnection,
        permit: OwnedSemaphorePermit,
        reused: bool,
    ) -> PooledConnection {
        PooledConnection {
            reused,
            connected: Some(connected),
            inner: Arc::clone(&self.inner),
            _permit: permit,
        }
    }

    /// Applies a fault to all connections of its generation.
    pub(super) fn learn(&self, fault: &EngineError, generation: u64) {
        match fault.scope() {
            ErrorScope::Server => self.inner.retire(generation),
            // Not for an error number: in that case the server has killed this one connection only.
            ErrorScope::Connection if fault.is_broken_link() => self.inner.retire(generation),
            ErrorScope::Statements => {
                let mut state = self.inner.lock();
                if state.generation == generation {
                    state.statements = (state.statements / 2).max(MIN_PREPARED_STATEMENTS);
                    let statements = state.statements;
                    drop(state);
                    gimlet_core::warn_rated!(
                        statements,
                        "max_prepared_stmt_count reached; connections keep fewer statements"
                    );
                    self.inner.retire(generation);
                }
            }
            _ => {}
        }
    }

    /// Closes the connections; the caller has ended all work before.
    pub(super) async fn close(&self) {
        let idle = {
            let mut state = self.inner.lock();
            state.closed = true;
            std::mem::take(&mut state.idle)
        };
        // Connections that are given back from here on are closed, because `closed` is set; callers
        // that wait for a permit fail with `Closed`.
        self.inner.permits.close();
        self.inner.end_all(idle);
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl PoolInner {
    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an idle connection that works.
    async fn reuse(&self, deadline: Instant) -> Option<OpenConnection> {
        loop {
            let (connected, usable) = {
                let mut state = self.lock();
                let connected = state.idle.pop()?;
                let usable = state.accepts(&connected) && connected.idle_since.elapsed() < MAX_IDLE;
                (connected, usable)
            };
            if !usable {
                self.end(connected);
                continue;
            }
            if connected.judged_at.elapsed() < IDLE_TEST_AFTER {
                return Some(connected);
            }
            if let Some(connected) = self.ask(connected, deadline).await {
                return Some(connected);
            }
        }
    }

    /// Tests an idle connection: asks whether its server still accepts changes.
    async fn ask(
        &self,
        mut connected: OpenConnection,
        deadline: Instant,
    ) -> Option<OpenConnection> {
        let sql = "SELECT @@global.read_only";
        let asking = connected.conn.fetch_one(sqlx::raw_sql(sql));
        let asked = timeout_at(deadline.min(Instant::now() + IDLE_TEST_TIMEOUT), asking).await;
        let generation = connected.generation;
        let fault = match asked {
            Ok(Ok(row)) => match row.try_get_unchecked::<String, _>(0) {
                Ok(value) if settings::same("0", &value) => {
                    connected.judged_at = Instant::now();
                    return Some(connected);
                }
                Ok(_) => EngineError::Unfit(UnfitServer::ReadOnly {
                    variable: "read_only",
                }),
                Err(error) => EngineError::Mysql(error),
            },
            Ok(Err(error)) => EngineError::Mysql(error),
            Err(_) => EngineError::Deadline,
        };
        tracing::debug!(
            error = &fault as &dyn std::error::Error,
            "idle mysql connection closed"
        );
        // A server that answered can be told that the connection ends. One that did not answer is
        // in the middle of a statement, so the connection is just dropped.
        if matches!(fault, EngineError::Unfit(_)) {
            self.end(connected);
        } else {
            self.lock().open -= 1;
        }
        if matches!(fault, EngineError::Deadline) {
            // No answer means that the server hangs, or that the network drops packets silently.
            // Connections that have been idle as long as this one are closed untested, because
            // testing them one after the other would use up the deadline.
            let untested = {
                let mut state = self.lock();
                let idle = std::mem::take(&mut state.idle).into_iter();
                let (kept, untested) =
                    idle.partition(|it| it.judged_at.elapsed() < IDLE_TEST_AFTER);
                state.idle = kept;
                untested
            };
            self.end_all(untested);
        } else {
            self.retire(generation);
        }
        None
    }

    /// Makes a connection. Returns `None` if the connections were retired meanwhile.
    async fn connect(&self, deadline: Instant) -> Result<Option<OpenConnection>, EngineError> {
        let (statements, generation) = {
            let mut state = self.lock();
            state.open += 1;
            state.making += 1;
            (state.statements, state.generation)
        };
        // Also undoes the count if this future is dropped.
        let mut slot = ConnectingSlot {
            inner: self,
            kept: false,
        };
        let (mut conn, facts) = self.connector.connect(deadline, statements).await?;
        // Runs before anything else on the connection: after a failover it may lead to a server
        // that lacks the last commits (law 10).
        timeout_at(deadline, self.history.check_server(&mut conn))
            .await
            .map_err(|_| EngineError::Deadline)??;
        slot.kept = true;
        let now = Instant::now();
        let mut connected = OpenConnection {
            conn,
            generation,
            packet: facts.packet,
            ends_at: now + MAX_AGE.mul_f64(rand::random_range(0.8..1.0)),
            idle_since: now,
            judged_at: now,
        };
        let mut state = self.lock();
        // Before anything is learned from its server, which may be the one that was left: its
        // identity must not replace that of the present server.
        if state.generation != generation {
            drop(state);
            self.end(connected);
            return Ok(None);
        }
        let moved = state.identity.is_some() && state.identity != facts.identity;
        let mut idle = Vec::new();
        if moved {
            gimlet_core::warn_rated!("MySQL address led to another server, reconnecting");
            // Retired before the new connection gets its generation, so that it alone survives.
            idle = state.retire();
        }
        state.identity = facts.identity;
        connected.generation = state.generation;
        drop(state);
        self.end_all(idle);
        Ok(Some(connected))
    }

    /// Ends all connections of this generation: idle ones at once, used ones when they are given
    /// back.
    fn retire(&self, generation: u64) {
        let idle = {
            let mut state = self.lock();
            if state.generation != generation {
                return;
            }
            state.retire()
        };
        self.end_all(idle);
    }

    /// Returns whether a connection exists, apart from those that are being made.
    fn has_any(&self) -> bool {
        let state = self.lock();
        state.open > state.making
    }

    /// Withholds a permit, so that the pool is one connection smaller.
    fn withhold(&self, permit: OwnedSemaphorePermit) {
        permit.forget();
        let mut state = self.lock();
        state.withheld += 1;
        state.grow_at = Instant::now() + GROW_INTERVAL;
    }

    /// Returns one withheld permit from time to time.
    fn grow(&self) {
        let mut state = self.lock();
        if state.withheld > 0 && Instant::now() >= state.grow_at {
            state.withheld -= 1;
            state.grow_at = Instant::now() + GROW_INTERVAL;
            self.permits.add_permits(1);
        }
    }

    fn give_back(&self, mut connected: OpenConnection) {
        let mut state = self.lock();
        if state.accepts(&connected) {
            connected.idle_since = Instant::now();
            state.idle.push(connected);
            return;
        }
        drop(state);
        self.end(connected);
    }

    /// Closes a connection with a closing message, so that the server does not count an aborted
    /// client.
    fn end(&self, connected: OpenConnection) {
        self.lock().open -= 1;
        self.tasks.spawn(async move {
            let _ = timeout(CLOSE_TIMEOUT, connected.conn.close()).await;
        });
    }

    fn end_all(&self, connections: Vec<OpenConnection>) {
        for connected in connections {
            self.end(connected);
        }
    }
}

impl PoolState {
    /// Begins the next generation. Returns the idle connections, which the caller ends when it has
    /// unlocked the state.
    #[must_use]
    fn retire(&mut self) -> Vec<OpenConnection> {
        self.generation += 1;
        std::mem::take(&mut self.idle)
    }

    fn accepts(&self, connected: &OpenConnection) -> bool {
        !self.closed
            && connected.generation == self.generation
            && Instant::now() < connected.ends_at
    }
}

/// A connection being made.
struct ConnectingSlot<'a> {
    inner: &'a PoolInner,
    kept: bool,
}

impl Drop for ConnectingSlot<'_> {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        state.making -= 1;
        if !self.kept {
            state.open -= 1;
        }
    }
}

/// A connection for one piece of work. If it is dropped instead of given back, the connection is
/// closed, and the server rolls back whatever was begun on it.
pub(super) struct PooledConnection {
    /// True if it was used before. If such a connection turns out to be broken, the break may be
    /// old.
    pub(super) reused: bool,
    connected: Option<OpenConnection>,
    inner: Arc<PoolInner>,
    // Must stay the last field: fields drop in order, and the connection has to be idle, or counted
    // as closed, before the permit lets another caller look for one.
    _permit: OwnedSemaphorePermit,
}

const CONNECTION_PRESENT: &str = "a lease has its connection until it ends";

impl PooledConnection {
    pub(super) fn conn(&mut self) -> &mut MySqlConnection {
        &mut self.connected.as_mut().expect(CONNECTION_PRESENT).conn
    }

    pub(super) fn generation(&self) -> u64 {
        self.connected
            .as_ref()
            .expect(CONNECTION_PRESENT)
            .generation
    }

    /// Returns the largest size of a statement, in bytes.
    pub(super) fn packet(&self) -> u64 {
        self.connected.as_ref().expect(CONNECTION_PRESENT).packet
    }

    /// Gives the connection back; no transaction may be open on it.
    pub(super) fn give_back(mut self) {
        let connected = self.connected.take().expect(CONNECTION_PRESENT);
        self.inner.give_back(connected);
    }
}

impl fmt::Debug for PooledConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("reused", &self.reused)
            .finish_non_exhaustive()
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        if self.connected.take().is_some() {
            self.inner.lock().open -= 1;
        }
    }
}
