//! A connection as a cursor over its user's inbox: decides which entry may be sent next.
//!
//! Pure: no clock, no lock, no I/O. It knows positions only; the outbox beside it holds the
//! messages. Every entry up to `served` was queued for this connection, or needs no writing; `seen`
//! is the highest entry known to exist. The entries in between are read from the inbox, even if
//! their pushes were lost.

use crate::seq::Seq;

/// State of a connection with respect to pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncPhase {
    /// Signed in, but no SYNC yet: pushes only raise `seen`.
    Waiting,
    /// A SYNC was answered and more follows: the client is about to request the next page.
    Paging,
    /// Pushes are sent in order.
    Live,
}

/// Decision about a pushed entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PushVerdict {
    /// The next entry: queue it.
    Next,
    /// Ahead of the next entry: hold it until its predecessors have arrived.
    Ahead,
    /// Served before, or to be read from the inbox: drop it.
    Drop,
}

/// Position of a connection in its inbox.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    phase: SyncPhase,
    served: Seq,
    seen: Seq,
    /// The highest entry known when the read in progress began; `None` without one.
    reading: Option<Seq>,
    /// Set if the inbox must be read from `served` on.
    lagging: bool,
}

impl Cursor {
    pub(super) const fn new() -> Self {
        Self {
            phase: SyncPhase::Waiting,
            served: Seq::ZERO,
            seen: Seq::ZERO,
            reading: None,
            lagging: false,
        }
    }

    pub(super) const fn phase(&self) -> SyncPhase {
        self.phase
    }

    pub(super) const fn served(&self) -> Seq {
        self.served
    }

    pub(super) fn head(&self) -> Seq {
        self.seen.max(self.served)
    }

    /// Decides about the push of this entry.
    pub(super) fn offer(&mut self, seq: Seq) -> PushVerdict {
        self.seen = self.seen.max(seq);
        if self.phase != SyncPhase::Live || seq <= self.served {
            return PushVerdict::Drop;
        }
        if self.lagging {
            // The read in progress may have begun before this entry. Holding it lets the read end
            // without another one.
            return if self.reading.is_some() {
                PushVerdict::Ahead
            } else {
                PushVerdict::Drop
            };
        }
        if seq == self.served.next() {
            PushVerdict::Next
        } else {
            PushVerdict::Ahead
        }
    }

    /// Marks the entry as served: it was queued, or needs no writing.
    pub(super) fn mark_served(&mut self, seq: Seq) {
        self.served = self.served.max(seq);
        self.seen = self.seen.max(seq);
    }

    /// Stops following pushes; the inbox is read instead.
    pub(super) const fn lag(&mut self) {
        self.lagging = true;
    }

    /// Records that the inbox reaches this far. Returns whether a live connection is behind.
    pub(super) fn hint(&mut self, head: Seq) -> bool {
        self.seen = self.seen.max(head);
        let behind = self.phase == SyncPhase::Live && self.seen > self.served;
        self.lagging |= behind;
        behind
    }

    /// Records that a SYNC was answered with everything up to `upto`.
    pub(super) fn synced(&mut self, upto: Seq, more: bool) {
        self.mark_served(upto);
        match self.phase {
            SyncPhase::Live => {}
            _ if more => self.phase = SyncPhase::Paging,
            _ => self.go_live(),
        }
    }

    /// Goes live in one step: if entries above `served` were seen meanwhile, the inbox is read
    /// first.
    pub(super) fn go_live(&mut self) {
        self.phase = SyncPhase::Live;
        self.lagging |= self.seen > self.served;
    }

    /// Counts everything up to `head` as served, for a client that sends no SYNC.
    pub(super) fn start_at(&mut self, head: Seq) {
        self.mark_served(head);
    }

    /// Returns whether the connection is live and behind.
    pub(super) fn lags(&self) -> bool {
        self.lagging && self.phase == SyncPhase::Live
    }

    /// Returns whether the inbox must be read now.
    pub(super) const fn wants_read(&self) -> bool {
        self.lagging && self.reading.is_none()
    }

    /// Begins a read of the inbox after the returned seq.
    pub(super) fn begin_read(&mut self) -> Seq {
        self.reading = Some(self.seen);
        self.served
    }

    /// Ends a read that failed, which is then tried again. Returns whether one was in progress.
    pub(super) fn read_failed(&mut self) -> bool {
        self.reading.take().is_some()
    }

    /// Ends a read whose entries were passed. `more` tells whether the inbox goes on, `head` where
    /// it ended. Returns `false` if the inbox ends before an entry that was announced before the
    /// read began: its history went back.
    pub(super) fn end_read(&mut self, brought: bool, more: bool, head: Seq) -> bool {
        let announced = self.reading.take().unwrap_or(Seq::ZERO);
        self.seen = self.seen.max(head);
        let regressed = !brought && !more && announced > self.served && head <= self.served;
        if regressed && self.seen <= announced {
            self.seen = self.served;
        }
        self.lagging = more || self.seen > self.served;
        !regressed
    }

    /// Ends lagging if the entries held during a read left nothing to read.
    pub(super) fn settle(&mut self) {
        if self.reading.is_none() && self.seen <= self.served {
            self.lagging = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live_at(n: u64) -> Cursor {
        let mut cursor = Cursor::new();
        cursor.synced(Seq::new(n), false);
        cursor
    }

    #[test]
    fn pushes_before_sync_only_raise_what_was_seen() {
        let mut cursor = Cursor::new();
        assert_eq!(cursor.offer(Seq::new(3)), PushVerdict::Drop);
        cursor.synced(Seq::new(2), false);
        assert!(
            cursor.wants_read(),
            "entry 3 was pushed before the connection was live"
        );
    }

    #[test]
    fn next_behind_and_ahead() {
        let mut cursor = live_at(2);
        assert_eq!(cursor.offer(Seq::new(2)), PushVerdict::Drop);
        assert_eq!(cursor.offer(Seq::new(3)), PushVerdict::Next);
        cursor.mark_served(Seq::new(3));
        assert_eq!(cursor.offer(Seq::new(5)), PushVerdict::Ahead);
        assert!(!cursor.wants_read(), "its predecessor may still come");
    }

    #[test]
    fn a_page_with_more_behind_it_does_not_go_live() {
        let mut cursor = Cursor::new();
        cursor.synced(Seq::new(50), true);
        assert_eq!(cursor.phase(), SyncPhase::Paging);
        assert_eq!(cursor.offer(Seq::new(51)), PushVerdict::Drop);
        cursor.synced(Seq::new(51), false);
        assert_eq!(cursor.phase(), SyncPhase::Live);
        assert!(!cursor.wants_read());
    }

    #[test]
    fn a_push_during_a_read_is_not_lost() {
        let mut cursor = live_at(1);
        assert!(cursor.hint(Seq::new(4)));
        assert_eq!(cursor.begin_read(), Seq::new(1));
        assert_eq!(cursor.offer(Seq::new(5)), PushVerdict::Ahead);
        cursor.mark_served(Seq::new(4));
        assert!(cursor.end_read(true, false, Seq::new(4)));
        assert!(cursor.wants_read(), "5 was seen and not served");
        cursor.mark_served(Seq::new(5));
        cursor.settle();
        assert!(!cursor.wants_read());
    }

    #[test]
    fn a_history_that_went_back_is_noticed_and_does_not_spin() {
        let mut cursor = live_at(1);
        cursor.hint(Seq::new(9));
        cursor.begin_read();
        assert!(!cursor.end_read(false, false, Seq::new(1)));
        assert!(!cursor.wants_read());
    }

    #[test]
    fn a_later_sync_never_moves_the_cursor_back() {
        let mut cursor = live_at(10);
        cursor.synced(Seq::new(3), true);
        assert_eq!(cursor.served(), Seq::new(10));
        assert_eq!(cursor.phase(), SyncPhase::Live);
    }
}
