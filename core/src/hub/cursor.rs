//! A connection as a cursor over its user's inbox: which entry may go out next.
//!
//! Pure: no clock, no lock, no I/O. It knows positions only; the outbox beside it holds the
//! messages. `served` is the place up to which everything was queued for this connection, written,
//! or needs no writing; `seen` is the highest entry it has heard of. What is between them is read
//! from the inbox, whatever happened to its push.

use crate::seq::Seq;

/// Whether pushes may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Signed in, no SYNC yet: pushes only raise `seen`.
    Waiting,
    /// A SYNC was answered and there is more: the client is about to ask for the next page.
    Paging,
    /// Pushes go out in order.
    Live,
}

/// What to do with a pushed entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the next one: queue it.
    Next,
    /// It is ahead: hold it until its predecessors are there.
    Ahead,
    /// It was served before, or will be read from the inbox: drop it.
    Drop,
}

/// The cursor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    phase: Phase,
    served: Seq,
    seen: Seq,
    /// What the next read must at least bring, if a read is under way.
    reading: Option<Seq>,
    /// The inbox is to be read from `served` on.
    lagging: bool,
}

impl Cursor {
    pub(super) const fn new() -> Self {
        Self {
            phase: Phase::Waiting,
            served: Seq::ZERO,
            seen: Seq::ZERO,
            reading: None,
            lagging: false,
        }
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) const fn served(&self) -> Seq {
        self.served
    }

    pub(super) fn head(&self) -> Seq {
        self.seen.max(self.served)
    }

    /// A push of this entry arrived.
    pub(super) fn offer(&mut self, seq: Seq) -> Verdict {
        self.seen = self.seen.max(seq);
        if self.phase != Phase::Live || seq <= self.served {
            return Verdict::Drop;
        }
        if self.lagging {
            // What a read under way may not bring any more is held, so that the read can end.
            return if self.reading.is_some() {
                Verdict::Ahead
            } else {
                Verdict::Drop
            };
        }
        if seq == self.served.next() {
            Verdict::Next
        } else {
            Verdict::Ahead
        }
    }

    /// The entry was queued, or needs no writing.
    pub(super) fn pass(&mut self, seq: Seq) {
        self.served = self.served.max(seq);
        self.seen = self.seen.max(seq);
    }

    /// Pushes cannot be followed any more: the inbox is read instead.
    pub(super) const fn lag(&mut self) {
        self.lagging = true;
    }

    /// The inbox is known to reach this far. Returns whether that is news to a live connection.
    pub(super) fn hint(&mut self, head: Seq) -> bool {
        self.seen = self.seen.max(head);
        let behind = self.phase == Phase::Live && self.seen > self.served;
        self.lagging |= behind;
        behind
    }

    /// A SYNC from `asked` was answered with everything up to `upto`.
    pub(super) fn synced(&mut self, upto: Seq, more: bool) {
        self.pass(upto);
        match self.phase {
            Phase::Live => {}
            _ if more => self.phase = Phase::Paging,
            _ => self.go_live(),
        }
    }

    /// Goes live from `start` at least, in one step: if more was seen meanwhile, it is read first.
    pub(super) fn go_live(&mut self) {
        self.phase = Phase::Live;
        self.lagging |= self.seen > self.served;
    }

    /// Without a SYNC: everything up to `head` counts as served.
    pub(super) fn start_at(&mut self, head: Seq) {
        self.pass(head);
    }

    /// Whether it is live and behind.
    pub(super) fn lags(&self) -> bool {
        self.lagging && self.phase == Phase::Live
    }

    /// Whether the inbox should be read now.
    pub(super) const fn wants_read(&self) -> bool {
        self.lagging && self.reading.is_none()
    }

    /// A read from the returned place begins.
    pub(super) fn begin_read(&mut self) -> Seq {
        self.reading = Some(self.seen);
        self.served
    }

    /// The read failed: it is tried again. Returns whether one was under way.
    pub(super) fn read_failed(&mut self) -> bool {
        self.reading.take().is_some()
    }

    /// The read has ended and its entries were passed; `more` says that the inbox goes on, `head`
    /// where it stood. Returns `false` if the inbox is shorter than what was announced before the
    /// read began: a history that went back.
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

    /// Entries held during a read were passed: it may be that nothing is left to read.
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
        assert_eq!(cursor.offer(Seq::new(3)), Verdict::Drop);
        cursor.synced(Seq::new(2), false);
        assert!(
            cursor.wants_read(),
            "entry 3 was pushed before the connection was live"
        );
    }

    #[test]
    fn next_behind_and_ahead() {
        let mut cursor = live_at(2);
        assert_eq!(cursor.offer(Seq::new(2)), Verdict::Drop);
        assert_eq!(cursor.offer(Seq::new(3)), Verdict::Next);
        cursor.pass(Seq::new(3));
        assert_eq!(cursor.offer(Seq::new(5)), Verdict::Ahead);
        assert!(!cursor.wants_read(), "its predecessor may still come");
    }

    #[test]
    fn a_page_with_more_behind_it_does_not_go_live() {
        let mut cursor = Cursor::new();
        cursor.synced(Seq::new(50), true);
        assert_eq!(cursor.phase(), Phase::Paging);
        assert_eq!(cursor.offer(Seq::new(51)), Verdict::Drop);
        cursor.synced(Seq::new(51), false);
        assert_eq!(cursor.phase(), Phase::Live);
        assert!(!cursor.wants_read());
    }

    #[test]
    fn a_push_during_a_read_is_not_lost() {
        let mut cursor = live_at(1);
        assert!(cursor.hint(Seq::new(4)));
        assert_eq!(cursor.begin_read(), Seq::new(1));
        assert_eq!(cursor.offer(Seq::new(5)), Verdict::Ahead);
        cursor.pass(Seq::new(4));
        assert!(cursor.end_read(true, false, Seq::new(4)));
        assert!(cursor.wants_read(), "5 was seen and not served");
        cursor.pass(Seq::new(5));
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
        assert_eq!(cursor.phase(), Phase::Live);
    }
}
