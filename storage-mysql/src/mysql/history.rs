//! Detects lost commits, and draws a new epoch when the store has lost some (law 10).
//!
//! A replica that is promoted without the last commits, or a backup that is restored under running
//! nodes, has shorter inboxes than clients have seen. If the lost seqs were assigned again under
//! the same epoch, a device that was away would never see the entries that got them. So every head
//! that is read is compared with the known head of that inbox, and the epoch is renewed before
//! anything else is accepted:
//!
//! - in a batch, between taking the seqs and storing the entries, while the heads are locked;
//! - in every read of heads and pages;
//! - on every new connection, before its first use, because a failover closes the old connections.
//!   There the last commits of *all* nodes count, which the nodes publish in Redis, because the
//!   node that lost its commits may be gone or idle. Commits are lost from the end of the log, so
//!   the latest ones are enough.
//!
//! The known heads are a table of fixed size; two users with the same slot overwrite each other.
//! The table is evidence of lost commits, not a cache: no read is answered from it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use gimlet_core::id::{Epoch, UserId};
use gimlet_core::seq::Seq;
use sqlx::{MySqlConnection, Row as _};

use crate::error::EngineError;

/// The row of the epoch is missing: it was deleted, because a start always finds or draws one.
pub(super) const NO_EPOCH: EngineError = EngineError::Corrupt("the store has no epoch");
/// Remembered heads; 1 MiB.
const KNOWN_HEADS_LEN: usize = 1 << 16;
/// Shards of the table, each with its own lock.
const KNOWN_HEADS_SHARDS: usize = 64;
/// Remembered earlier epochs. If one of them is read again, its renewal was lost.
const EARLIER_EPOCHS_LEN: usize = 16;

/// An inbox entry that was certainly committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommitMark {
    /// Epoch of the commit.
    pub(crate) epoch: Epoch,
    /// Owner of the inbox.
    pub(crate) user: UserId,
    /// Seq of the entry.
    pub(crate) seq: Seq,
}

/// Log in which the nodes publish their latest commits for each other.
#[async_trait]
pub(crate) trait CommitLog: fmt::Debug + Send + Sync + 'static {
    /// Publishes a commit soon. Does not block.
    fn publish(&self, mark: CommitMark);

    /// Returns the latest commits of all nodes; empty if they cannot be read.
    async fn recent(&self) -> Vec<CommitMark>;
}

/// Epochs, known heads and last commit of this process. Shared by all sessions of a pool.
pub(crate) struct StoreHistory {
    names: Mutex<KnownEpochs>,
    heads: Vec<Mutex<Vec<(u64, u64)>>>,
    last: Mutex<Option<CommitMark>>,
    log: OnceLock<Arc<dyn CommitLog>>,
    renewed: AtomicU64,
}

/// The epoch in force and earlier ones.
#[derive(Debug, Default)]
struct KnownEpochs {
    present: Option<Epoch>,
    earlier: Vec<Epoch>,
}

impl fmt::Debug for StoreHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreHistory")
            .field("names", &self.names)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl Default for StoreHistory {
    fn default() -> Self {
        let shard = || Mutex::new(vec![(0, 0); KNOWN_HEADS_LEN / KNOWN_HEADS_SHARDS]);
        Self {
            names: Mutex::default(),
            heads: (0..KNOWN_HEADS_SHARDS).map(|_| shard()).collect(),
            last: Mutex::default(),
            log: OnceLock::new(),
            renewed: AtomicU64::new(0),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Every value behind these locks is consistent at any moment, so a poisoned lock is usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Relation of an epoch that was read to the known ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EpochReading {
    /// The epoch in force.
    Present,
    /// A new epoch, drawn by another node.
    Begun,
    /// An earlier epoch: its renewal was lost.
    Back,
}

impl StoreHistory {
    /// Sets the log in which all nodes publish their commits.
    pub(crate) fn share(&self, log: Arc<dyn CommitLog>) {
        // A second log would be a bug in the opening code; the first one stays.
        let _ = self.log.set(log);
    }

    /// Returns how often this process has renewed the epoch.
    pub(crate) fn renewed(&self) -> u64 {
        self.renewed.load(Ordering::Relaxed)
    }

    /// Returns the epoch that was read last.
    pub(super) fn present(&self) -> Option<Epoch> {
        lock(&self.names).present
    }

    /// Notes the epoch in force. If it is a new one, all known heads are cleared.
    pub(super) fn begin(&self, epoch: Epoch) {
        {
            let mut names = lock(&self.names);
            if names.present == Some(epoch) {
                return;
            }
            if let Some(before) = names.present.replace(epoch) {
                names.earlier.retain(|it| *it != epoch);
                names.earlier.push(before);
                let surplus = names.earlier.len().saturating_sub(EARLIER_EPOCHS_LEN);
                names.earlier.drain(..surplus);
            }
        }
        for shard in &self.heads {
            lock(shard).fill((0, 0));
        }
        *lock(&self.last) = None;
    }

    fn read(&self, epoch: Epoch) -> EpochReading {
        let names = lock(&self.names);
        match names.present {
            Some(present) if present == epoch => EpochReading::Present,
            _ if names.earlier.contains(&epoch) => EpochReading::Back,
            _ => EpochReading::Begun,
        }
    }

    /// Returns whether this epoch is an earlier one, so that its renewal was lost.
    pub(super) fn is_earlier(&self, epoch: Epoch) -> bool {
        self.read(epoch) == EpochReading::Back
    }

    fn slot(&self, user: UserId) -> (&Mutex<Vec<(u64, u64)>>, usize) {
        // An odd multiplier (2^64 divided by the golden ratio) spreads neighbouring ids.
        let hash = user.get().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let high = usize::try_from(hash >> 32).unwrap_or(0);
        let shard = self
            .heads
            .get(high % KNOWN_HEADS_SHARDS)
            .expect("SHARDS were made");
        (
            shard,
            high / KNOWN_HEADS_SHARDS % (KNOWN_HEADS_LEN / KNOWN_HEADS_SHARDS),
        )
    }

    /// Returns the known head of this inbox; zero if it is unknown.
    pub(super) fn known(&self, user: UserId) -> Seq {
        let (shard, at) = self.slot(user);
        match lock(shard).get(at) {
            Some((id, seq)) if *id == user.get() => Seq::new(*seq),
            _ => Seq::ZERO,
        }
    }

    /// Notes a head that is certainly committed.
    fn note(&self, user: UserId, seq: Seq) {
        if seq == Seq::ZERO {
            return;
        }
        let (shard, at) = self.slot(user);
        if let Some(slot) = lock(shard).get_mut(at)
            && (slot.0 != user.get() || slot.1 < seq.get())
        {
            *slot = (user.get(), seq.get());
        }
    }

    /// Compares a head with the value that was `known` **before** the read, and notes the head. A
    /// commit that becomes known during the read says nothing about this older reading.
    pub(super) fn saw(&self, user: UserId, known: Seq, head: Seq) -> Result<(), EngineError> {
        if head < known {
            return Err(EngineError::WentBack {
                user,
                known,
                found: head,
            });
        }
        self.note(user, head);
        Ok(())
    }

    /// Compares a head that this transaction has locked. No other transaction can move it, so
    /// whatever is known by now was committed before.
    pub(super) fn holds(&self, user: UserId, head: Seq) -> Result<(), EngineError> {
        let known = self.known(user);
        if head < known {
            return Err(EngineError::WentBack {
                user,
                known,
                found: head,
            });
        }
        Ok(())
    }

    /// Notes the heads that a transaction has committed.
    pub(super) fn committed(&self, taken: &[(UserId, Seq)]) {
        let (Some((user, seq)), Some(epoch)) = (taken.first(), self.present()) else {
            return;
        };
        for (user, seq) in taken {
            self.note(*user, *seq);
        }
        let mark = CommitMark {
            epoch,
            user: *user,
            seq: *seq,
        };
        *lock(&self.last) = Some(mark);
        if let Some(log) = self.log.get() {
            log.publish(mark);
        }
    }

    /// Checks a new connection before its first use: its server must have every known commit;
    /// otherwise the epoch is renewed first.
    pub(super) async fn check_server(&self, conn: &mut MySqlConnection) -> Result<(), EngineError> {
        let Some(epoch) = stored_epoch(conn).await? else {
            // A new database: its first epoch is drawn after this.
            return Ok(());
        };
        let mut marks = match self.log.get() {
            Some(log) => log.recent().await,
            None => Vec::new(),
        };
        marks.extend(*lock(&self.last));
        // Only marks of the stored epoch count: inboxes of an earlier epoch may have been longer.
        marks.retain(|mark| mark.epoch == epoch);
        match self.read(epoch) {
            EpochReading::Back => {
                gimlet_core::error_rated!("epoch renewal was lost, drawing a new epoch");
                return self.renew(conn, epoch).await;
            }
            EpochReading::Begun => self.begin(epoch),
            EpochReading::Present => {}
        }
        for mark in marks {
            let head = stored_head(conn, mark.user).await?;
            if head < mark.seq {
                gimlet_core::error_rated!(
                    user = %mark.user,
                    known = mark.seq.get(),
                    found = head.get(),
                    "commit missing on MySQL server, drawing a new epoch"
                );
                return self.renew(conn, epoch).await;
            }
        }
        Ok(())
    }

    /// Replaces the epoch `old` on this connection and notes the epoch that is then in force.
    ///
    /// Fails if the store has no epoch: nothing would then tell clients that the history is another
    /// one, so nothing more may be accepted. The next start draws an epoch.
    pub(super) async fn renew(
        &self,
        conn: &mut MySqlConnection,
        old: Epoch,
    ) -> Result<(), EngineError> {
        let drawn = Epoch::draw();
        // An explicit transaction, because autocommit may be off on the server.
        sqlx::raw_sql("BEGIN").execute(&mut *conn).await?;
        // Compare-and-set: if several nodes notice the loss, one of them draws the epoch, and the
        // others adopt it below.
        let sql = "UPDATE meta SET value = ? WHERE name = 'epoch' AND value = ?";
        let update = sqlx::query(sql).bind(drawn.0).bind(old.0);
        update.execute(&mut *conn).await?;
        sqlx::raw_sql("COMMIT").execute(&mut *conn).await?;
        let present = stored_epoch(conn).await?.ok_or(NO_EPOCH)?;
        if present == drawn {
            self.renewed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                old = old.0,
                new = present.0,
                "new epoch drawn, extension clients start over"
            );
        }
        self.begin(present);
        Ok(())
    }
}

async fn stored_epoch(conn: &mut MySqlConnection) -> Result<Option<Epoch>, sqlx::Error> {
    let select = sqlx::query("SELECT value FROM meta WHERE name = 'epoch'");
    let row = select.fetch_optional(conn).await?;
    row.map(|row| row.try_get::<u64, _>(0).map(Epoch))
        .transpose()
}

async fn stored_head(conn: &mut MySqlConnection, user: UserId) -> Result<Seq, sqlx::Error> {
    let select = sqlx::query("SELECT seq FROM inbox_head WHERE user_id = ?").bind(user.get());
    let row = select.fetch_optional(conn).await?;
    let seq = row.map(|row| row.try_get::<u64, _>(0)).transpose()?;
    Ok(Seq::new(seq.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: u64) -> UserId {
        UserId::new(n).unwrap()
    }

    #[test]
    fn a_head_below_what_is_known_is_refused_and_one_above_is_noted() {
        let history = StoreHistory::default();
        history.begin(Epoch(1));
        history.committed(&[(user(1), Seq::new(10)), (user(2), Seq::new(3))]);
        assert!(history.holds(user(1), Seq::new(10)).is_ok());
        assert!(matches!(
            history.holds(user(1), Seq::new(5)),
            Err(EngineError::WentBack { .. })
        ));
        let known = history.known(user(1));
        assert!(history.saw(user(1), known, Seq::new(12)).is_ok());
        assert_eq!(history.known(user(1)), Seq::new(12));
        // An older reading that arrives late is not taken for a loss.
        assert!(history.saw(user(1), known, Seq::new(10)).is_ok());
        assert_eq!(history.known(user(1)), Seq::new(12));
        assert_eq!(history.known(user(3)), Seq::ZERO);
    }

    #[test]
    fn a_new_epoch_forgets_heads_and_an_old_one_that_returns_is_known() {
        let history = StoreHistory::default();
        history.begin(Epoch(1));
        history.committed(&[(user(1), Seq::new(10))]);
        history.begin(Epoch(2));
        assert!(history.holds(user(1), Seq::new(1)).is_ok());
        assert_eq!(history.read(Epoch(2)), EpochReading::Present);
        assert_eq!(history.read(Epoch(1)), EpochReading::Back);
        assert_eq!(history.read(Epoch(3)), EpochReading::Begun);
    }

    #[test]
    fn the_table_never_grows_and_keeps_what_came_last() {
        let history = StoreHistory::default();
        history.begin(Epoch(1));
        for n in 1..=(KNOWN_HEADS_LEN as u64 * 2) {
            history.committed(&[(user(n), Seq::new(n))]);
            assert_eq!(history.known(user(n)), Seq::new(n));
        }
        assert!(
            history
                .heads
                .iter()
                .all(|it| lock(it).len() == KNOWN_HEADS_LEN / KNOWN_HEADS_SHARDS)
        );
    }
}
