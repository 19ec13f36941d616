//! What is known of one live connection; it lies under its handle's lock.

use std::task::Waker;

use tokio::time::Instant;

use super::close::CloseReason;
use super::cursor::{Cursor, Phase};
use super::outbox::{Outbox, Parked};
use super::room::RoomCursor;
use crate::seq::Seq;

#[derive(Debug)]
pub(super) struct State {
    pub(super) cursor: Cursor,
    pub(super) outbox: Outbox,
    pub(super) parked: Parked,
    pub(super) parked_until: Option<Instant>,
    /// When the connection goes live although no SYNC came.
    pub(super) live_at: Option<Instant>,
    /// A read has failed: when the next one is tried.
    pub(super) retry_at: Option<Instant>,
    /// Live deliveries wait for the first SYNC reply (old TCP clients).
    pub(super) hold_live: bool,
    /// Where the inbox stood at sign-in.
    pub(super) start: Seq,
    /// Numbers that an ack may name.
    pub(super) ackable: (Seq, Seq),
    pub(super) room: Option<Box<RoomCursor>>,
    pub(super) close: Option<CloseReason>,
    pub(super) superseded: bool,
    pub(super) waker: Option<Waker>,
}

impl State {
    pub(super) fn new(hold_live: bool) -> Self {
        Self {
            cursor: Cursor::new(),
            outbox: Outbox::default(),
            parked: Parked::default(),
            parked_until: None,
            live_at: None,
            retry_at: None,
            hold_live,
            start: Seq::ZERO,
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
        if self.parked_until.is_some_and(|at| at <= now) {
            self.lag();
        }
    }

    /// It neither sends nor receives any more.
    pub(super) fn end(&mut self) {
        self.superseded = true;
        self.outbox.clear();
        self.parked.clear();
        self.parked_until = None;
        self.live_at = None;
    }

    /// From now on the inbox is read instead of following pushes.
    pub(super) fn lag(&mut self) {
        self.cursor.lag();
        self.parked.clear();
        self.parked_until = None;
    }

    pub(super) fn acked_up_to(&mut self, seq: Option<Seq>) {
        if let Some(seq) = seq {
            self.ackable.1 = self.ackable.1.max(seq);
        }
    }
}
