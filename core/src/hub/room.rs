//! Position of a connection in the room it is subscribed to.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::id::RoomId;
use crate::room_batch::RoomBatch;
use crate::seq::Seq;
use crate::store::{RoomItem, StreamId};

/// Maximum bytes of live items held while the room's history is read.
const MAX_HELD_BYTES: usize = 64 * 1024;

/// First and longest pause after failed reads of history in a row.
const HISTORY_RETRY_PAUSE_RANGE: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(15));

/// The room subscription of one connection.
#[derive(Debug)]
pub(super) struct RoomCursor {
    pub(super) room: RoomId,
    /// Stream that `served` belongs to; `None` before the first item.
    stream: Option<StreamId>,
    /// Seq of the last item queued.
    served: Seq,
    /// Live items that wait for the history; `None` once the history was sent.
    held: Option<Vec<Arc<RoomItem>>>,
    held_bytes: usize,
    /// Set if history must be read after `served`: at the start, after an overflow of `held`, or
    /// after a gap in the feed.
    replay: bool,
    /// Number of the request for history in progress.
    requested: Option<u64>,
    /// Failed reads of history in a row.
    failures: u32,
    /// Time at which history is requested again after a failure.
    pub(super) retry_at: Option<Instant>,
}

impl RoomCursor {
    /// Creates a subscription from `from` on; without history if `from` is zero.
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

    /// Returns whether history must be requested now.
    pub(super) fn wants_history(&self, now: Instant) -> bool {
        self.replay && self.requested.is_none() && self.retry_at.is_none_or(|at| at <= now)
    }

    /// Records a request for history.
    pub(super) const fn request(&mut self, request_id: u64) {
        self.requested = Some(request_id);
        self.retry_at = None;
    }

    /// Returns the seq from which history must be read for this request; `None` if the request is
    /// outdated.
    pub(super) fn requested_from(&self, request_id: u64) -> Option<Seq> {
        (self.requested == Some(request_id)).then(|| self.served.next())
    }

    /// Ends a request that was served.
    pub(super) const fn end_request(&mut self) {
        (self.requested, self.failures) = (None, 0);
    }

    /// Ends a request that failed. It is repeated after a pause that grows, so that the subscribers
    /// of a store that cannot keep up reduce its load.
    pub(super) fn fail_request(&mut self) {
        let pause = HISTORY_RETRY_PAUSE_RANGE.0 * 2_u32.saturating_pow(self.failures);
        let spread = 0.5 + rand::random::<f64>() / 2.0;
        self.retry_at =
            Some(Instant::now() + pause.min(HISTORY_RETRY_PAUSE_RANGE.1).mul_f64(spread));
        self.failures = self.failures.saturating_add(1);
        self.requested = None;
    }

    /// Marks a gap in the feed, so that history is read again. A cursor that never got an item and
    /// requested no history has nothing to catch up with.
    pub(super) fn interrupt(&mut self) {
        if self.stream.is_some() {
            self.held.get_or_insert_default();
            self.replay = true;
            // The page being read may end before the gap.
            self.requested = None;
        }
    }

    /// Returns whether a live item may be sent now if it is new; otherwise holds it.
    pub(super) fn live(&mut self, item: &Arc<RoomItem>) -> bool {
        if let Some(held) = &mut self.held {
            self.held_bytes += item.envelope.weight();
            if self.held_bytes <= MAX_HELD_BYTES {
                held.push(Arc::clone(item));
            } else {
                held.clear();
            }
            return false;
        }
        true
    }

    /// Returns whether the whole batch may be sent now.
    pub(super) fn takes(&self, batch: &RoomBatch) -> bool {
        self.held.is_none() && self.is_new(batch.first())
    }

    /// Returns whether the item was not served before. An item of another stream always is new.
    pub(super) fn is_new(&self, item: &RoomItem) -> bool {
        let same = self.stream.is_none_or(|stream| stream == item.stream);
        !same || item.seq > self.served
    }

    /// Marks an item as served.
    pub(super) const fn mark_served(&mut self, item: &RoomItem) -> bool {
        self.stream = Some(item.stream);
        self.served = item.seq;
        true
    }

    /// Compares the position with the history, whose newest message is `head` of `stream`. A position
    /// in another stream, or past the end of this one, is invalid, and history is then read from its
    /// start. Returns whether the items just read are still the ones to send.
    pub(super) fn meets(&mut self, stream: StreamId, head: Seq) -> bool {
        let other = self.stream.is_some_and(|known| known != stream);
        let lost = self.served > Seq::ZERO && (other || self.served > head);
        self.stream = Some(stream);
        if lost {
            self.served = Seq::ZERO;
        }
        !lost
    }

    /// Ends the history after its last page; returns the live items held meanwhile. If they
    /// overflowed, returns none, and history is read once more.
    pub(super) fn end_history(&mut self) -> Vec<Arc<RoomItem>> {
        if std::mem::take(&mut self.held_bytes) > MAX_HELD_BYTES {
            return Vec::new();
        }
        self.replay = false;
        self.held.take().unwrap_or_default()
    }
}
