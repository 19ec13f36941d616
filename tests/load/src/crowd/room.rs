//! One room of the crowd: what was published in it, and what its members have of that.

use crate::judge::{Finding, Findings};
use crate::net::Pushed;

/// Bytes of a message: its number, when it was due, and filling.
pub const CONTENT: usize = 100;

/// The wire's number for a room as receiver.
const TO_ROOM: i32 = 3;

/// The bytes behind the number and the time.
const FILLING: [u8; CONTENT - 16] = [b'.'; CONTENT - 16];

/// A room.
#[derive(Debug)]
pub(super) struct Room {
    id: i64,
    members: u64,
    /// When each message was due; its number is its place here.
    due: Vec<u64>,
    /// By number: whether it has a place in the order.
    placed: Vec<bool>,
    /// The numbers in the order of the seqs, as the first who got each place got them.
    order: Vec<u64>,
    /// The seq of the first place.
    base: Option<i64>,
    delivered: u64,
    /// When the next burst is due, in an open loop.
    pub(super) next: u64,
    /// When the last burst was due.
    pub(super) begun: u64,
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
    pub(super) const fn new(id: i64, now: u64) -> Self {
        Self {
            id,
            members: 0,
            due: Vec::new(),
            placed: Vec::new(),
            order: Vec::new(),
            base: None,
            delivered: 0,
            next: now,
            begun: now,
        }
    }

    /// One more member; the room stands at that place.
    pub(super) const fn join(&mut self, at: u32) -> Member {
        self.members += 1;
        Member {
            room: at,
            received: 0,
        }
    }

    /// Deliveries that have not come.
    pub(super) const fn open(&self) -> u64 {
        (self.members * self.due.len() as u64).saturating_sub(self.delivered)
    }

    pub(super) const fn is_complete(&self) -> bool {
        self.open() == 0
    }

    /// The next messages.
    pub(super) fn publish(&mut self, count: u64, due: u64) -> Vec<Vec<u8>> {
        self.begun = due;
        let first = self.due.len() as u64;
        self.due.extend((0..count).map(|_| due));
        self.placed.resize(self.due.len(), false);
        (first..first + count)
            .map(|number| content(number, due))
            .collect()
    }

    /// A member got a message: when it was due, if it is the right one.
    pub(super) fn deliver(
        &mut self,
        member: &mut Member,
        pushed: &Pushed<'_>,
        findings: &mut Findings,
    ) -> Option<u64> {
        let Pushed { seq, .. } = *pushed;
        if (pushed.receiver_type, pushed.receiver) != (TO_ROOM, self.id) {
            let (kind, to, id) = (pushed.receiver_type, pushed.receiver, self.id);
            let text = || format!("a message to {kind}/{to} came to a member of room {id}");
            findings.add(Finding::Misdirected, text);
            return None;
        }
        let base = *self.base.get_or_insert(seq);
        let place = usize::try_from(seq - base).unwrap_or(0);
        if seq < base || place < member.received {
            findings.add(Finding::Doubled, || format!("seq {seq} came again"));
            return None;
        }
        for lost in member.received..place {
            findings.add(Finding::Dropped, || {
                format!("place {lost} behind {base} is missing")
            });
            self.delivered += 1;
        }
        member.received = place + 1;
        self.delivered += 1;
        let Some((number, due)) = self.published(pushed.content) else {
            findings.add(Finding::Damaged, || {
                format!("seq {seq} is nothing that was published")
            });
            return None;
        };
        self.place(place, number, findings);
        Some(due)
    }

    /// Which message these bytes are, and when it was due.
    fn published(&self, content: &[u8]) -> Option<(usize, u64)> {
        let number = usize::try_from(u64::from_be_bytes(*content.first_chunk()?)).ok()?;
        let due = *self.due.get(number)?;
        let whole = content.get(8..16) == Some(&due.to_be_bytes())
            && content.get(16..) == Some(FILLING.as_slice());
        whole.then_some((number, due))
    }

    /// A member got this number in that place: so must all others.
    fn place(&mut self, place: usize, number: usize, findings: &mut Findings) {
        match self.order.get(place) {
            Some(&first) if first == number as u64 => {}
            Some(first) => findings.add(Finding::Swapped, || {
                format!("place {place} is {first} for one and {number} for another")
            }),
            None => {
                let placed = self.placed.get_mut(number);
                if placed.is_some_and(|it| std::mem::replace(it, true)) {
                    findings.add(Finding::Doubled, || {
                        format!("message {number} has two seqs")
                    });
                }
                // A place that the first member skipped stays unknown.
                self.order.resize(place, u64::MAX);
                self.order.push(number as u64);
            }
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
