//! One room: its published messages, and the deliveries to its members. The threads share one
//! record per room, and each keeps a copy of what it has read of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::judge::{FindingKind, JudgeFindings, PushedMessage};

/// Bytes of a message: its number, the time it was due, and filler.
pub const CONTENT: usize = 100;

/// Receiver type of a room on the wire.
const TO_ROOM: i32 = 3;

/// Filler behind the number and the time.
const FILLING: [u8; CONTENT - 16] = [b'.'; CONTENT - 16];

/// Record of a room that all threads share.
#[derive(Debug)]
pub(super) struct SharedRoom {
    id: i64,
    members: AtomicU64,
    /// Deliveries still expected.
    open: AtomicU64,
    /// True while a thread is about to publish, and for good once the room is sealed.
    claimed: AtomicBool,
    /// Time at which the last burst was due.
    begun: AtomicU64,
    book: Mutex<RoomRecord>,
}

/// Published messages, and their order.
#[derive(Debug, Default)]
struct RoomRecord {
    /// Time at which each message was due, by message number.
    due: Vec<u64>,
    /// True once the message has a place in the order, by message number.
    placed: Vec<bool>,
    /// Message numbers in the order of the seqs, as the first member to reach each place got them.
    order: Vec<u64>,
    /// Seq of the first place.
    base: Option<i64>,
}

impl SharedRoom {
    pub(super) fn new(id: i64) -> Self {
        Self {
            id,
            members: AtomicU64::new(0),
            open: AtomicU64::new(0),
            claimed: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            book: Mutex::default(),
        }
    }

    // Poisoning is ignored: no panic leaves a book half-written.
    fn book(&self) -> MutexGuard<'_, RoomRecord> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room as one thread sees it, with a copy of the part of the book that it has read.
#[derive(Debug)]
pub(super) struct ReaderRoom {
    shared: Arc<SharedRoom>,
    due: Vec<u64>,
    order: Vec<u64>,
    base: Option<i64>,
    /// Time at which the next burst is due, in an open loop.
    pub(super) next: u64,
}

/// Delivery that passed the checks.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValidDelivery {
    /// Time at which its message was due.
    pub(super) due: u64,
    /// True if it was the last delivery that was still expected.
    pub(super) last: bool,
}

/// State of one member's connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoomMember {
    /// Index of its room.
    pub(super) room: u32,
    /// Messages received.
    received: usize,
}

impl RoomMember {
    /// Returns the state of a connection that is in no room.
    pub(super) const fn nowhere() -> Self {
        Self {
            room: u32::MAX,
            received: 0,
        }
    }
}

impl ReaderRoom {
    pub(super) const fn new(shared: Arc<SharedRoom>, now: u64) -> Self {
        Self {
            shared,
            due: Vec::new(),
            order: Vec::new(),
            base: None,
            next: now,
        }
    }

    /// Adds a member; `at` is the index of this room.
    pub(super) fn join(&self, at: u32) -> RoomMember {
        self.shared.members.fetch_add(1, Ordering::Relaxed);
        RoomMember {
            room: at,
            received: 0,
        }
    }

    /// Returns the number of deliveries still expected.
    pub(super) fn open(&self) -> u64 {
        self.shared.open.load(Ordering::Acquire)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.open() == 0
    }

    /// Returns the time at which the last burst was due.
    pub(super) fn begun(&self) -> u64 {
        self.shared.begun.load(Ordering::Relaxed)
    }

    /// Returns the next messages, if all members have the last ones and no other thread publishes.
    pub(super) fn publish_when_complete(&self, count: u64, due: u64) -> Option<Vec<Vec<u8>>> {
        if !self.is_complete() || self.shared.claimed.swap(true, Ordering::AcqRel) {
            return None;
        }
        // Check again under the claim: another thread may have published since the first check.
        let contents = self.is_complete().then(|| self.publish(count, due));
        self.shared.claimed.store(false, Ordering::Release);
        contents
    }

    /// Prevents every later publish of a complete room. Takes the claim, which waits for a publish
    /// in progress, and never returns it.
    pub(super) fn seal(&self) {
        while self.shared.claimed.swap(true, Ordering::AcqRel) {
            std::hint::spin_loop();
        }
    }

    /// Records the next messages and returns their contents.
    pub(super) fn publish(&self, count: u64, due: u64) -> Vec<Vec<u8>> {
        let shared = &*self.shared;
        let mut book = shared.book();
        let first = book.due.len() as u64;
        book.due.extend((0..count).map(|_| due));
        let all = book.due.len();
        book.placed.resize(all, false);
        drop(book);
        // Raise `open` before the contents leave this function: no delivery may find it at 0. This
        // addition also makes `begun` visible to the thread that gets the last delivery.
        shared.begun.store(due, Ordering::Relaxed);
        let deliveries = shared.members.load(Ordering::Relaxed) * count;
        shared.open.fetch_add(deliveries, Ordering::AcqRel);
        (first..first + count)
            .map(|number| content(number, due))
            .collect()
    }

    /// Checks one delivery to a member; returns it if it is right.
    pub(super) fn deliver(
        &mut self,
        member: &mut RoomMember,
        pushed: &PushedMessage<'_>,
        findings: &mut JudgeFindings,
    ) -> Option<ValidDelivery> {
        let PushedMessage { seq, .. } = *pushed;
        if (pushed.receiver_type, pushed.receiver) != (TO_ROOM, self.shared.id) {
            let (kind, to, id) = (pushed.receiver_type, pushed.receiver, self.shared.id);
            let text = || format!("a message to {kind}/{to} came to a member of room {id}");
            findings.add(FindingKind::Misdirected, text);
            return None;
        }
        let shared = &self.shared;
        // The first seq that any thread sees becomes place 0 for all of them.
        let base = *self
            .base
            .get_or_insert_with(|| *shared.book().base.get_or_insert(seq));
        let place = usize::try_from(seq - base).unwrap_or(0);
        if seq < base || place < member.received {
            findings.add(FindingKind::Doubled, || format!("seq {seq} came again"));
            return None;
        }
        for lost in member.received..place {
            findings.add(FindingKind::Dropped, || {
                format!("place {lost} after seq {base} is missing")
            });
        }
        // Skipped messages are subtracted too: each is a finding already, and must not keep the
        // room open.
        let come = (place + 1 - member.received) as u64;
        member.received = place + 1;
        let last = self.shared.open.fetch_sub(come, Ordering::AcqRel) == come;
        let Some((number, due)) = self.published(pushed.content) else {
            findings.add(FindingKind::Damaged, || {
                format!("seq {seq} has a content that was never published")
            });
            return None;
        };
        self.check_place(place, number, findings);
        Some(ValidDelivery { due, last })
    }

    /// Returns the number of the message with these bytes, and the time at which it was due.
    fn published(&mut self, content: &[u8]) -> Option<(usize, u64)> {
        let number = usize::try_from(u64::from_be_bytes(*content.first_chunk()?)).ok()?;
        if number >= self.due.len() {
            let book = self.shared.book();
            let known = self.due.len();
            self.due.extend_from_slice(book.due.get(known..)?);
        }
        let due = *self.due.get(number)?;
        let whole = content.get(8..16) == Some(&due.to_be_bytes())
            && content.get(16..) == Some(FILLING.as_slice());
        whole.then_some((number, due))
    }

    /// Checks that all members get the same message in this place.
    fn check_place(&mut self, place: usize, number: usize, findings: &mut JudgeFindings) {
        if place >= self.order.len() {
            let mut book = self.shared.book();
            if place >= book.order.len() {
                let placed = book.placed.get_mut(number);
                if placed.is_some_and(|it| std::mem::replace(it, true)) {
                    findings.add(FindingKind::Doubled, || {
                        format!("message {number} has two seqs")
                    });
                }
                // Places that the first member skipped stay unknown.
                book.order.resize(place, u64::MAX);
                book.order.push(number as u64);
            }
            let known = self.order.len();
            self.order
                .extend_from_slice(book.order.get(known..).unwrap_or_default());
        }
        if let Some(&first) = self.order.get(place)
            && first != number as u64
        {
            findings.add(FindingKind::Swapped, || {
                format!("place {place} is message {first} for one member and {number} for another")
            });
        }
    }
}

/// Returns the content of a message.
#[must_use]
pub fn content(number: u64, due: u64) -> Vec<u8> {
    let mut content = Vec::with_capacity(CONTENT);
    content.extend(number.to_be_bytes());
    content.extend(due.to_be_bytes());
    content.extend(FILLING);
    content
}
