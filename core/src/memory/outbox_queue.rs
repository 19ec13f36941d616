//! The events of hooks in memory: one ordered queue for each hook, its dead letters and its lease.

use std::collections::BTreeMap;

use crate::events::{EventBody, HookEvent, HookName, NewEvent};
use crate::store::{DeadLetter, HookLease, LeaseMark, OutboxPosition};

/// Largest number of bytes of the events of one hook. Above it the oldest events are removed,
/// because this process has no disk to keep them on.
const MAX_HOOK_BYTES: usize = 256 << 20;
/// Bytes added for each event to those of its content.
const EVENT_OVERHEAD_BYTES: usize = 256;

/// The queues of all hooks.
#[derive(Debug, Default)]
pub(super) struct HookQueues {
    last: u64,
    hooks: BTreeMap<HookName, HookQueue>,
}

/// The events of one hook.
#[derive(Debug, Default)]
pub(super) struct HookQueue {
    pub(super) events: BTreeMap<OutboxPosition, HookEvent>,
    bytes: usize,
    pub(super) dead: BTreeMap<OutboxPosition, DeadLetter>,
    pub(super) lease: LeaseState,
}

/// The lease of one hook.
#[derive(Debug)]
pub(super) struct LeaseState {
    pub(super) mark: LeaseMark,
    /// Name of the node that holds it.
    pub(super) holder: Option<String>,
}

impl Default for LeaseState {
    fn default() -> Self {
        Self {
            mark: LeaseMark {
                generation: 0,
                beat: 0,
            },
            holder: None,
        }
    }
}

impl HookQueues {
    /// Appends an event to a hook's queue.
    pub(super) fn push(&mut self, hook: &HookName, event: HookEvent) {
        self.last += 1;
        let position = OutboxPosition(self.last);
        // Looked up before an insertion, which would copy the name.
        let queue = match self.hooks.get_mut(hook) {
            Some(queue) => queue,
            None => self.hooks.entry(hook.clone()).or_default(),
        };
        queue.insert(position, event);
        queue.shed();
    }

    /// Appends events to the queues of their hooks.
    pub(super) fn put(&mut self, events: &[NewEvent]) {
        for new in events {
            for target in new.hooks.targets() {
                self.push(&target.name, new.event.clone());
            }
        }
    }

    pub(super) fn get(&self, hook: &HookName) -> Option<&HookQueue> {
        self.hooks.get(hook)
    }

    pub(super) fn get_mut(&mut self, hook: &HookName) -> Option<&mut HookQueue> {
        self.hooks.get_mut(hook)
    }

    /// Returns the queue of a hook, made if there is none.
    pub(super) fn entry(&mut self, hook: &HookName) -> &mut HookQueue {
        self.hooks.entry(hook.clone()).or_default()
    }

    /// Returns the queue of a hook if this lease is in force.
    pub(super) fn leased(&mut self, lease: &HookLease) -> Option<&mut HookQueue> {
        let queue = self.hooks.get_mut(&lease.hook)?;
        let held = queue.lease.holder.is_some();
        (held && queue.lease.mark.generation == lease.generation).then_some(queue)
    }

    /// Returns the hooks with an event or a dead letter.
    pub(super) fn names(&self) -> Vec<HookName> {
        let used = |queue: &HookQueue| !queue.events.is_empty() || !queue.dead.is_empty();
        let hooks = self.hooks.iter().filter(|(_, queue)| used(queue));
        hooks.map(|(name, _)| name.clone()).collect()
    }
}

impl HookQueue {
    fn insert(&mut self, position: OutboxPosition, event: HookEvent) {
        self.bytes += weight(&event);
        self.events.insert(position, event);
    }

    /// Removes an event.
    pub(super) fn take(&mut self, position: OutboxPosition) -> Option<HookEvent> {
        let event = self.events.remove(&position)?;
        self.bytes = self.bytes.saturating_sub(weight(&event));
        Some(event)
    }

    /// Removes the oldest event.
    pub(super) fn take_first(&mut self) -> Option<HookEvent> {
        let first = *self.events.first_key_value()?.0;
        self.take(first)
    }

    fn shed(&mut self) {
        while self.bytes > MAX_HOOK_BYTES && self.events.len() > 1 {
            self.take_first();
            crate::error_rated!("event dropped: the hook's events in memory reached their limit");
        }
    }
}

/// Returns the bytes that an event counts with.
pub(super) fn weight(event: &HookEvent) -> usize {
    let content = match &event.body {
        EventBody::Message {
            message,
            recipients,
        } => message.content.len() + size_of_val(&**recipients),
        EventBody::RoomMessage { message, .. } => message.content.len(),
        EventBody::Group { .. }
        | EventBody::FriendRequested { .. }
        | EventBody::FriendAccepted { .. }
        | EventBody::Online { .. }
        | EventBody::Offline { .. } => 0,
    };
    EVENT_OVERHEAD_BYTES + content
}
