//! State of one live connection, under its handle's lock.
//!
//! Small on purpose: parts that few connections have at a time are boxed.

use std::task::Waker;

use tokio::time::Instant;

use super::close::CloseReason;
use super::cursor::{Cursor, SyncPhase};
use super::outbox::{ConnectionOutbox, EntryBody, ParkedEntries};
use super::room::RoomCursor;
use crate::limits::Limits;
use crate::seq::Seq;

#[derive(Debug)]
pub(super) struct ConnectionState {
    pub(super) cursor: Cursor,
    pub(super) outbox: ConnectionOutbox,
    /// Entries that wait for their predecessors, if there are any.
    waiting: Option<Box<ParkedWait>>,
    /// Time at which the connection goes live without a SYNC.
    pub(super) live_at: Option<Instant>,
    /// Time of the next read after a failed one.
    pub(super) retry_at: Option<Instant>,
    /// Holds deliveries until the first SYNC reply, for legacy TCP clients.
    pub(super) hold_until_sync: bool,
    /// Head of the inbox at sign-in.
    pub(super) start: Seq,
    /// Number of retained entries at sign-in, [`u32::MAX`] for more. A `u32` fits between the
    /// flags.
    pub(super) kept: u32,
    /// First and last seq that an ack may name.
    pub(super) ackable: (Seq, Seq),
    pub(super) room: Option<Box<RoomCursor>>,
    pub(super) close: Option<CloseReason>,
    pub(super) superseded: bool,
    pub(super) waker: Option<Waker>,
}

/// Entries that arrived before their predecessors, and the time until which these are waited for.
#[derive(Debug)]
struct ParkedWait {
    parked: ParkedEntries,
    until: Instant,
}

impl ConnectionState {
    pub(super) fn new(hold_live: bool) -> Self {
        Self {
            cursor: Cursor::new(),
            outbox: ConnectionOutbox::default(),
            waiting: None,
            live_at: None,
            retry_at: None,
            hold_until_sync: hold_live,
            start: Seq::ZERO,
            kept: 0,
            ackable: (Seq::ZERO, Seq::ZERO),
            room: None,
            close: None,
            superseded: false,
            waker: None,
        }
    }

    /// Returns whether the connection is behind its pushes and reads its inbox instead.
    pub(super) fn lags(&self) -> bool {
        !self.superseded && self.cursor.lags()
    }

    /// Handles deadlines that have passed: goes live without a SYNC, or stops waiting for the
    /// predecessors of parked entries.
    pub(super) fn pass_deadlines(&mut self, now: Instant) {
        if self.live_at.is_some_and(|at| at <= now) {
            self.live_at = None;
            self.hold_until_sync = false;
            if self.cursor.phase() == SyncPhase::Waiting {
                self.cursor.start_at(self.start);
                // No entry up to `start` was served on this connection.
                self.ackable = (self.start.next(), self.start);
            }
            self.cursor.go_live();
        }
        if self.parked_until().is_some_and(|at| at <= now) {
            self.lag();
        }
    }

    /// Ends service: the connection neither sends nor receives any more.
    pub(super) fn end(&mut self) {
        self.superseded = true;
        self.outbox.clear();
        self.waiting = None;
        self.live_at = None;
    }

    /// Stops following pushes; the inbox is read instead.
    pub(super) fn lag(&mut self) {
        self.cursor.lag();
        self.waiting = None;
    }

    /// Parks an entry until its predecessors have arrived. If a bound is reached, the inbox is read
    /// instead.
    pub(super) fn park(&mut self, seq: Seq, envelope: EntryBody, limits: &Limits) {
        let waiting = self.waiting.get_or_insert_with(|| {
            Box::new(ParkedWait {
                parked: ParkedEntries::default(),
                until: Instant::now() + limits.parked_wait,
            })
        });
        let (entries, bytes) = (limits.parked_entries, limits.parked_bytes);
        if !waiting.parked.park(seq, envelope, entries, bytes) {
            self.lag();
        }
    }

    /// Takes the parked entry with this seq, if there is one.
    pub(super) fn unpark(&mut self, seq: Seq) -> Option<EntryBody> {
        let waiting = self.waiting.as_mut()?;
        let taken = waiting.parked.take(seq);
        if waiting.parked.is_empty() {
            self.waiting = None;
        }
        taken
    }

    pub(super) fn parked_until(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|waiting| waiting.until)
    }

    /// Extends the range of seqs that an ack may name, up to `seq`.
    pub(super) fn acked_up_to(&mut self, seq: Option<Seq>) {
        if let Some(seq) = seq {
            self.ackable.1 = self.ackable.1.max(seq);
        }
    }
}
