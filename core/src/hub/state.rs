//! What is known of one live connection; it lies under its handle's lock.
//!
//! Small on purpose: what few connections have at a time is boxed.

use std::task::Waker;

use tokio::time::Instant;

use super::close::CloseReason;
use super::cursor::{Cursor, Phase};
use super::outbox::{Outbox, Parked, Step};
use super::room::RoomCursor;
use crate::limits::Limits;
use crate::seq::Seq;

#[derive(Debug)]
pub(super) struct State {
    pub(super) cursor: Cursor,
    pub(super) outbox: Outbox,
    /// Something, while it waits for its predecessors.
    waiting: Option<Box<Waiting>>,
    /// When the connection goes live although no SYNC came.
    pub(super) live_at: Option<Instant>,
    /// A read has failed: when the next one is tried.
    pub(super) retry_at: Option<Instant>,
    /// Live deliveries wait for the first SYNC reply (old TCP clients).
    pub(super) hold_live: bool,
    /// Where the inbox stood at sign-in.
    pub(super) start: Seq,
    /// Entries that it kept then, [`u32::MAX`] for more; small, to fit between the flags.
    pub(super) kept: u32,
    /// Numbers that an ack may name.
    pub(super) ackable: (Seq, Seq),
    pub(super) room: Option<Box<RoomCursor>>,
    pub(super) close: Option<CloseReason>,
    pub(super) superseded: bool,
    pub(super) waker: Option<Waker>,
}

/// Entries that came before their predecessors, and until when these are waited for.
#[derive(Debug)]
struct Waiting {
    parked: Parked,
    until: Instant,
}

impl State {
    pub(super) fn new(hold_live: bool) -> Self {
        Self {
            cursor: Cursor::new(),
            outbox: Outbox::default(),
            waiting: None,
            live_at: None,
            retry_at: None,
            hold_live,
            start: Seq::ZERO,
            kept: 0,
            ackable: (Seq::ZERO, Seq::ZERO),
            room: None,
            close: None,
            superseded: false,
            waker: None,
        }
    }

    /// Whether the connection is behind its pushes and reads its inbox instead.
    pub(super) fn lags(&self) -> bool {
        !self.superseded && self.cursor.lags()
    }

    /// Does what was to be done by now: goes live without a SYNC, or gives up waiting for the
    /// predecessors of what is parked.
    pub(super) fn pass_deadlines(&mut self, now: Instant) {
        if self.live_at.is_some_and(|at| at <= now) {
            self.live_at = None;
            self.hold_live = false;
            if self.cursor.phase() == Phase::Waiting {
                self.cursor.start_at(self.start);
                // Nothing up to there was served here.
                self.ackable = (self.start.next(), self.start);
            }
            self.cursor.go_live();
        }
        if self.parked_until().is_some_and(|at| at <= now) {
            self.lag();
        }
    }

    /// It neither sends nor receives any more.
    pub(super) fn end(&mut self) {
        self.superseded = true;
        self.outbox.clear();
        self.waiting = None;
        self.live_at = None;
    }

    /// From now on the inbox is read instead of following pushes.
    pub(super) fn lag(&mut self) {
        self.cursor.lag();
        self.waiting = None;
    }

    /// Parks an entry until its predecessors are there; if a bound is reached, the inbox is read.
    pub(super) fn park(&mut self, seq: Seq, envelope: Step, limits: &Limits) {
        let waiting = self.waiting.get_or_insert_with(|| {
            Box::new(Waiting {
                parked: Parked::default(),
                until: Instant::now() + limits.parked_wait,
            })
        });
        let (entries, bytes) = (limits.parked_entries, limits.parked_bytes);
        if !waiting.parked.park(seq, envelope, entries, bytes) {
            self.lag();
        }
    }

    /// Takes the parked entry of that place, if it is there.
    pub(super) fn unpark(&mut self, seq: Seq) -> Option<Step> {
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

    pub(super) fn acked_up_to(&mut self, seq: Option<Seq>) {
        if let Some(seq) = seq {
            self.ackable.1 = self.ackable.1.max(seq);
        }
    }
}
