//! A connection's place in the room it is subscribed to.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::id::RoomId;
use crate::room_batch::RoomBatch;
use crate::seq::Seq;
use crate::store::{RoomItem, StreamId};

/// Live items held while the room's history is being read, in bytes.
const HELD_BYTES: usize = 64 * 1024;

/// The pause after the first failed read of history in a row, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// The subscription of one connection.
#[derive(Debug)]
pub(super) struct RoomCursor {
    pub(super) room: RoomId,
    /// The stream that `served` counts in; `None` until the first item.
    stream: Option<StreamId>,
    /// The last item queued.
    served: Seq,
    /// Live items that wait for the history; `None` once it was sent.
    held: Option<Vec<Arc<RoomItem>>>,
    held_bytes: usize,
    /// Something could not be held, or the feed was interrupted: history is to be read (again)
    /// from behind `served`.
    replay: bool,
    /// The request for history that is under way.
    requested: Option<u64>,
    /// Reads of history that failed in a row.
    failures: u32,
    /// When history is requested again after a failure.
    pub(super) retry_at: Option<Instant>,
}

impl RoomCursor {
    /// Subscribed, from `from` on: with history if that is not zero.
    pub(super) fn new(room: RoomId, from: Seq) -> Self {
        Self {
            room,
            stream: None,
            served: from.prev(),
            held: (from > Seq::ZERO).then(Vec::new),
            held_bytes: 0,
            replay: from > Seq::ZERO,
            requested: None,
            failures: 0,
            retry_at: None,
        }
    }

    /// Whether history is to be requested now.
    pub(super) fn wants_history(&self, now: Instant) -> bool {
        self.replay && self.requested.is_none() && self.retry_at.is_none_or(|at| at <= now)
    }

    /// Notes a request for history.
    pub(super) const fn request(&mut self, ticket: u64) {
        self.requested = Some(ticket);
        self.retry_at = None;
    }

    /// Where the history is to be read from for this request, if it is still the present one.
    pub(super) fn requested_from(&self, ticket: u64) -> Option<Seq> {
        (self.requested == Some(ticket)).then(|| self.served.next())
    }

    /// The request has been served.
    pub(super) const fn end_request(&mut self) {
        (self.requested, self.failures) = (None, 0);
    }

    /// The request has failed. It is made again after a pause that grows, so that subscribers of a
    /// store that does not keep up make its load smaller, not larger.
    pub(super) fn fail_request(&mut self) {
        let pause = RETRY.0 * 2_u32.saturating_pow(self.failures);
        let spread = 0.5 + rand::random::<f64>() / 2.0;
        self.retry_at = Some(Instant::now() + pause.min(RETRY.1).mul_f64(spread));
        self.failures = self.failures.saturating_add(1);
        self.requested = None;
    }

    /// The feed has a hole: read the history again. A cursor that never got anything, and asked
    /// for no history, has nothing to catch up with.
    pub(super) fn interrupt(&mut self) {
        if self.stream.is_some() {
            self.held.get_or_insert_default();
            self.replay = true;
            // A page that is being read may end before the hole.
            self.requested = None;
        }
    }

    /// Whether a live item goes out now, if it is new; otherwise it is held.
    pub(super) fn live(&mut self, item: &Arc<RoomItem>) -> bool {
        if let Some(held) = &mut self.held {
            self.held_bytes += item.envelope.weight();
            if self.held_bytes <= HELD_BYTES {
                held.push(Arc::clone(item));
            } else {
                held.clear();
            }
            return false;
        }
        true
    }

    /// Whether all of the batch goes out now.
    pub(super) fn takes(&self, batch: &RoomBatch) -> bool {
        self.held.is_none() && self.is_new(batch.first())
    }

    /// Whether the item was not served before. Another stream starts over.
    pub(super) fn is_new(&self, item: &RoomItem) -> bool {
        let same = self.stream.is_none_or(|stream| stream == item.stream);
        !same || item.seq > self.served
    }

    /// Notes an item as served.
    pub(super) const fn pass(&mut self, item: &RoomItem) -> bool {
        self.stream = Some(item.stream);
        self.served = item.seq;
        true
    }

    /// The history was read and stands at `head` of `stream`. A place in another stream, or beyond
    /// the end of this one, is worth nothing: what is kept is read from its start. Returns whether
    /// the items just read are still the ones to send.
    pub(super) fn meets(&mut self, stream: StreamId, head: Seq) -> bool {
        let other = self.stream.is_some_and(|known| known != stream);
        let lost = self.served > Seq::ZERO && (other || self.served > head);
        self.stream = Some(stream);
        if lost {
            self.served = Seq::ZERO;
        }
        !lost
    }

    /// The history was read to its end: returns the live items held meanwhile. If they overflowed,
    /// returns none and the history is read once more.
    pub(super) fn end_history(&mut self) -> Vec<Arc<RoomItem>> {
        if std::mem::take(&mut self.held_bytes) > HELD_BYTES {
            return Vec::new();
        }
        self.replay = false;
        self.held.take().unwrap_or_default()
    }
}
