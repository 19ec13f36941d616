//! The client's position in its inbox, as a value: it decides which entries may be delivered now,
//! and when to ask the server. Independent of sockets, clocks and channels.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use gimlet_proto::pb::{Message, SyncOutput};

use crate::cursor_store::ClientCursor;

/// Largest number of entries ahead of the cursor that are kept until their predecessors arrive;
/// entries beyond that are fetched.
const MAX_PARKED: usize = 32;
/// Largest number of own sends ahead of the cursor that are remembered, without their bodies, so
/// that they do not come back as messages. They accumulate while a slow application delays the
/// SYNC.
const MAX_OWN_SENDS: usize = 1_024;

/// An action for one entry, or for a range of entries.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every step is a delivery")]
pub(crate) enum CursorStep {
    /// Deliver it to the application.
    Deliver(Message),
    /// This client sent it: only the cursor moves.
    Own(i64),
    /// The server has removed everything up to this seq.
    Trimmed(i64),
}

impl CursorStep {
    /// Returns the position of the cursor after this step.
    pub(crate) const fn seq(&self) -> i64 {
        match self {
            Self::Deliver(message) => message.seq,
            Self::Own(seq) | Self::Trimmed(seq) => *seq,
        }
    }
}

/// The result of a SYNC page.
#[derive(Debug, PartialEq)]
pub(crate) enum SyncResult {
    /// The history was replaced: discard everything and sync from 0.
    HistoryChanged,
    /// The steps for its entries, in order.
    Steps(Vec<CursorStep>),
}

/// The cursor and the known entries beyond it.
#[derive(Debug, Default)]
pub(crate) struct InboxState {
    epoch: u64,
    /// The highest seq delivered, without a gap below it.
    cursor: i64,
    /// The highest seq known to exist.
    seen: i64,
    /// Entries above the cursor; `None` is an own send, known without its body.
    parked: BTreeMap<i64, Option<Message>>,
    /// The seq of the pending SYNC.
    pending_sync: Option<i64>,
    /// True if SYNC has reached the end on this connection.
    live: bool,
}

impl InboxState {
    pub(crate) fn new(start: ClientCursor) -> Self {
        Self {
            epoch: start.epoch,
            cursor: start.seq,
            seen: start.seq,
            ..Self::default()
        }
    }

    pub(crate) const fn cursor(&self) -> ClientCursor {
        ClientCursor {
            epoch: self.epoch,
            seq: self.cursor,
        }
    }

    pub(crate) const fn is_live(&self) -> bool {
        self.live
    }

    /// Resets the state of the connection. Parked entries come again by SYNC; own sends stay known.
    pub(crate) fn disconnected(&mut self) {
        self.pending_sync = None;
        self.live = false;
        self.parked.retain(|_, body| body.is_none());
    }

    /// Takes the answer to the sign-in; returns true if the history changed. A server without
    /// epochs, such as gim's, names no head either, and its 0 says nothing about the history.
    pub(crate) fn signed_in(&mut self, epoch: u64, head: i64) -> bool {
        self.history(epoch, epoch != 0 && head < self.cursor)
    }

    /// Takes the answer to a heartbeat; returns true if the history changed. A head below the
    /// cursor does not show that: the server may use one reading for many heartbeats.
    pub(crate) fn heartbeat(&mut self, epoch: u64, head: i64) -> bool {
        let changed = self.history(epoch, false);
        self.missed(head);
        changed
    }

    /// Notes that an entry exists which was not taken.
    pub(crate) fn missed(&mut self, seq: i64) {
        self.seen = self.seen.max(seq);
    }

    /// Returns whether entries are known to exist above the cursor.
    pub(crate) const fn is_behind(&self) -> bool {
        self.seen > self.cursor
    }

    /// Returns whether a SYNC should be sent: at once while not live, otherwise after a moment,
    /// because the missing entry may be on its way.
    pub(crate) const fn wants_sync(&self) -> bool {
        self.pending_sync.is_none() && (!self.live || self.is_behind())
    }

    /// Starts a SYNC and returns its seq; it is pending until [`page`](Self::page) or
    /// [`sync_failed`](Self::sync_failed).
    pub(crate) fn ask(&mut self) -> i64 {
        self.pending_sync = Some(self.cursor);
        self.cursor
    }

    /// Notes that the SYNC was refused.
    pub(crate) fn sync_failed(&mut self) {
        self.pending_sync = None;
    }

    /// Takes a pushed inbox entry.
    pub(crate) fn pushed(&mut self, message: Message) -> Vec<CursorStep> {
        let seq = message.seq;
        self.park(seq, Some(message));
        self.drain()
    }

    /// Takes the answer to an own send, that is the sender's own entry, which is not pushed to this
    /// device.
    pub(crate) fn sent(&mut self, seq: i64) -> Vec<CursorStep> {
        self.park(seq, None);
        self.drain()
    }

    /// Takes the answer to a SYNC.
    pub(crate) fn page(&mut self, page: SyncOutput) -> SyncResult {
        let asked = self.pending_sync.take().unwrap_or(0);
        if self.history(page.epoch, page.epoch != 0 && page.head < asked) {
            return SyncResult::HistoryChanged;
        }
        let mut steps = Vec::with_capacity(page.messages.len());
        if page.floor > self.cursor {
            self.cursor = page.floor;
            steps.push(CursorStep::Trimmed(page.floor));
        }
        let empty = page.messages.is_empty();
        for message in page.messages {
            let seq = message.seq;
            if seq <= self.cursor {
                continue;
            }
            self.cursor = seq;
            // The body of an own send is skipped: its answer has been delivered already.
            steps.push(match self.parked.remove(&seq) {
                Some(None) => CursorStep::Own(seq),
                _ => CursorStep::Deliver(message),
            });
        }
        self.parked = self.parked.split_off(&self.cursor.saturating_add(1));
        steps.append(&mut self.drain());
        // A page without entries is the end, whatever `has_more` says: asking again would loop.
        self.live = !page.has_more || empty;
        if self.live {
            let parked = self.parked.last_key_value().map(|(seq, _)| *seq);
            self.seen = parked.unwrap_or(0).max(self.cursor);
        }
        SyncResult::Steps(steps)
    }

    /// Adopts an epoch; on a change, discards all state and returns true.
    fn history(&mut self, epoch: u64, went_back: bool) -> bool {
        let other = epoch != 0 && self.epoch != 0 && epoch != self.epoch;
        if epoch != 0 {
            self.epoch = epoch;
        }
        let changed = other || went_back;
        if changed {
            *self = Self {
                epoch: self.epoch,
                ..Self::default()
            };
        }
        changed
    }

    fn park(&mut self, seq: i64, body: Option<Message>) {
        if seq <= self.cursor {
            return;
        }
        self.missed(seq);
        let next = self.cursor.checked_add(1) == Some(seq);
        let bound = if body.is_some() {
            MAX_PARKED
        } else {
            MAX_OWN_SENDS
        };
        if !next && self.parked.len() >= bound {
            return;
        }
        match self.parked.entry(seq) {
            Entry::Vacant(free) => {
                free.insert(body);
            }
            // Known twice: an own send needs no body.
            Entry::Occupied(mut kept) if body.is_none() => {
                kept.insert(None);
            }
            Entry::Occupied(_) => {}
        }
    }

    /// Removes the entries that follow the cursor without a gap, and moves the cursor over them.
    fn drain(&mut self) -> Vec<CursorStep> {
        let mut steps = Vec::new();
        while let Some(entry) = self.parked.first_entry() {
            let seq = *entry.key();
            if self.cursor.checked_add(1) != Some(seq) {
                break;
            }
            steps.push(
                entry
                    .remove()
                    .map_or(CursorStep::Own(seq), CursorStep::Deliver),
            );
            self.cursor = seq;
        }
        self.missed(self.cursor);
        steps
    }
}

#[cfg(test)]
mod tests;
