//! One room of the crowd: what was published in it, and what its members have of that.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::judge::{Finding, Findings};
use crate::net::Pushed;

/// Bytes of a message: its number, when it was due, and filling.
pub const CONTENT: usize = 100;

/// The wire's number for a room as receiver.
const TO_ROOM: i32 = 3;

/// The bytes behind the number and the time.
const FILLING: [u8; CONTENT - 16] = [b'.'; CONTENT - 16];

/// A room, as all threads of the crowd know it.
#[derive(Debug)]
pub(super) struct Shared {
    id: i64,
    members: AtomicU64,
    /// Deliveries that have not come.
    open: AtomicU64,
    /// Somebody is about to publish.
    claimed: AtomicBool,
    /// When the last burst was due.
    begun: AtomicU64,
    book: Mutex<Book>,
}

/// What was published, and what its order is.
#[derive(Debug, Default)]
struct Book {
    /// When each message was due; its number is its place here.
    due: Vec<u64>,
    /// By number: whether it has a place in the order.
    placed: Vec<bool>,
    /// The numbers in the order of the seqs, as the first who got each place got them.
    order: Vec<u64>,
    /// The seq of the first place.
    base: Option<i64>,
}

impl Shared {
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

    // A book is whole whatever panicked.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A room, as one thread sees it: with its own copy of what it has seen of the book.
#[derive(Debug)]
pub(super) struct Room {
    shared: Arc<Shared>,
    due: Vec<u64>,
    order: Vec<u64>,
    base: Option<i64>,
    /// When the next burst is due, in an open loop.
    pub(super) next: u64,
}

/// A delivery that is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Right {
    /// When its message was due.
    pub(super) due: u64,
    /// Whether it was the last one that all wait for.
    pub(super) last: bool,
}

/// Where one connection is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// The place of its room in the crowd.
    pub(super) room: u32,
    /// Messages it has.
    received: usize,
}

impl Member {
    /// A connection in no room.
    pub(super) const fn nowhere() -> Self {
        Self {
            room: u32::MAX,
            received: 0,
        }
    }
}

impl Room {
    pub(super) const fn new(shared: Arc<Shared>, now: u64) -> Self {
        Self {
            shared,
            due: Vec::new(),
            order: Vec::new(),
            base: None,
            next: now,
        }
    }

    /// One more member; the room stands at that place.
    pub(super) fn join(&self, at: u32) -> Member {
        self.shared.members.fetch_add(1, Ordering::Relaxed);
        Member {
            room: at,
            received: 0,
        }
    }

    /// Deliveries that have not come.
    pub(super) fn open(&self) -> u64 {
        self.shared.open.load(Ordering::Acquire)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.open() == 0
    }

    /// When the last burst was due.
    pub(super) fn begun(&self) -> u64 {
        self.shared.begun.load(Ordering::Relaxed)
    }

    /// The next messages, if all members have the last ones and no other thread is faster.
    pub(super) fn publish_when_complete(&self, count: u64, due: u64) -> Option<Vec<Vec<u8>>> {
        if !self.is_complete() || self.shared.claimed.swap(true, Ordering::AcqRel) {
            return None;
        }
        let contents = self.is_complete().then(|| self.publish(count, due));
        self.shared.claimed.store(false, Ordering::Release);
        contents
    }

    /// From now on nobody publishes when it is complete.
    pub(super) fn seal(&self) {
        while self.shared.claimed.swap(true, Ordering::AcqRel) {
            std::hint::spin_loop();
        }
    }

    /// The next messages.
    pub(super) fn publish(&self, count: u64, due: u64) -> Vec<Vec<u8>> {
        let shared = &*self.shared;
        let mut book = shared.book();
        let first = book.due.len() as u64;
        book.due.extend((0..count).map(|_| due));
        let all = book.due.len();
        book.placed.resize(all, false);
        drop(book);
        shared.begun.store(due, Ordering::Relaxed);
        let deliveries = shared.members.load(Ordering::Relaxed) * count;
        shared.open.fetch_add(deliveries, Ordering::AcqRel);
        (first..first + count)
            .map(|number| content(number, due))
            .collect()
    }

    /// A member got a message; tells whether it is the right one.
    pub(super) fn deliver(
        &mut self,
        member: &mut Member,
        pushed: &Pushed<'_>,
        findings: &mut Findings,
    ) -> Option<Right> {
        let Pushed { seq, .. } = *pushed;
        if (pushed.receiver_type, pushed.receiver) != (TO_ROOM, self.shared.id) {
            let (kind, to, id) = (pushed.receiver_type, pushed.receiver, self.shared.id);
            let text = || format!("a message to {kind}/{to} came to a member of room {id}");
            findings.add(Finding::Misdirected, text);
            return None;
        }
        let shared = &self.shared;
        let base = *self
            .base
            .get_or_insert_with(|| *shared.book().base.get_or_insert(seq));
        let place = usize::try_from(seq - base).unwrap_or(0);
        if seq < base || place < member.received {
            findings.add(Finding::Doubled, || format!("seq {seq} came again"));
            return None;
        }
        for lost in member.received..place {
            findings.add(Finding::Dropped, || {
                format!("place {lost} behind {base} is missing")
            });
        }
        let come = (place + 1 - member.received) as u64;
        member.received = place + 1;
        let last = self.shared.open.fetch_sub(come, Ordering::AcqRel) == come;
        let Some((number, due)) = self.published(pushed.content) else {
            findings.add(Finding::Damaged, || {
                format!("seq {seq} is nothing that was published")
            });
            return None;
        };
        self.place(place, number, findings);
        Some(Right { due, last })
    }

    /// Which message these bytes are, and when it was due.
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

    /// A member got this number in that place: so must all others.
    fn place(&mut self, place: usize, number: usize, findings: &mut Findings) {
        if place >= self.order.len() {
            let mut book = self.shared.book();
            if place >= book.order.len() {
                let placed = book.placed.get_mut(number);
                if placed.is_some_and(|it| std::mem::replace(it, true)) {
                    findings.add(Finding::Doubled, || {
                        format!("message {number} has two seqs")
                    });
                }
                // A place that the first member skipped stays unknown.
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
            findings.add(Finding::Swapped, || {
                format!("place {place} is {first} for one and {number} for another")
            });
        }
    }
}

/// The bytes of a message.
#[must_use]
pub fn content(number: u64, due: u64) -> Vec<u8> {
    let mut content = Vec::with_capacity(CONTENT);
    content.extend(number.to_be_bytes());
    content.extend(due.to_be_bytes());
    content.extend(FILLING);
    content
}
