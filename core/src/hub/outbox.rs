//! The bounded queue of one connection.
//!
//! A lock and a `VecDeque` that is allocated on first use: a channel per connection costs some 3.6
//! KB while idle. It is accessed under the handle's lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::delivery::ConnectionDelivery;
use crate::envelope::Envelope;
use crate::seq::Seq;

/// Deliveries that wait to be written, counted in bytes.
#[derive(Debug, Default)]
pub(super) struct ConnectionOutbox {
    queue: VecDeque<ConnectionDelivery>,
    bytes: usize,
}

impl ConnectionOutbox {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Queues a delivery if the budget allows, or if nothing else is queued.
    pub(super) fn push(&mut self, delivery: ConnectionDelivery, budget: usize) -> bool {
        let weight = delivery.weight();
        if self.bytes + weight > budget && !self.queue.is_empty() {
            return false;
        }
        self.bytes += weight;
        self.queue.push_back(delivery);
        true
    }

    /// Takes up to `max` deliveries from the front.
    pub(super) fn take(&mut self, max: usize) -> VecDeque<ConnectionDelivery> {
        if self.queue.len() <= max {
            self.bytes = 0;
            return std::mem::take(&mut self.queue);
        }
        let taken: VecDeque<_> = self.queue.drain(..max).collect();
        self.bytes -= taken.iter().map(ConnectionDelivery::weight).sum::<usize>();
        taken
    }

    /// Removes the inbox entries up to `upto`, which a SYNC has covered.
    pub(super) fn forget(&mut self, upto: Seq) {
        self.queue
            .retain(|d| !matches!(d, ConnectionDelivery::Entry { seq, .. } if *seq <= upto));
        self.bytes = self.queue.iter().map(ConnectionDelivery::weight).sum();
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// An entry to be queued; `None` for the device's own send, which needs no body because its seq was
/// the answer.
pub(super) type EntryBody = Option<Arc<Envelope>>;

/// Entries that arrived before their predecessors.
#[derive(Debug, Default)]
pub(super) struct ParkedEntries {
    entries: BTreeMap<Seq, EntryBody>,
    bytes: usize,
}

impl ParkedEntries {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Parks an entry; returns `false` and keeps nothing of it if a bound is reached.
    pub(super) fn park(
        &mut self,
        seq: Seq,
        envelope: EntryBody,
        max_entries: usize,
        max_bytes: usize,
    ) -> bool {
        if self.entries.contains_key(&seq) {
            return true;
        }
        let weight = envelope.as_ref().map_or(0, |e| e.weight());
        if self.entries.len() >= max_entries || self.bytes + weight > max_bytes {
            return false;
        }
        self.bytes += weight;
        self.entries.insert(seq, envelope);
        true
    }

    /// Takes the entry with this seq, and drops those before it.
    pub(super) fn take(&mut self, seq: Seq) -> Option<EntryBody> {
        while let Some(first) = self.entries.first_entry() {
            if *first.key() > seq {
                return None;
            }
            let (at, envelope) = first.remove_entry();
            self.bytes -= envelope.as_ref().map_or(0, |e| e.weight());
            if at == seq {
                return Some(envelope);
            }
        }
        None
    }
}
