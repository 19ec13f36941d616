//! Events of the services' changes: which hooks want them, and their write.

use crate::envelope::Envelope;
use crate::events::{EventBody, EventHooks, EventKind, GroupEvent, NewEvent};
use crate::service::LogicService;
use crate::store::{GroupChange, MemberRole};
use crate::time::UnixTimestamp;

impl LogicService {
    /// Returns the hooks that want the event of a message.
    pub(super) fn message_hooks(&self, envelope: &Envelope) -> EventHooks {
        let message = &envelope.message;
        let events = &self.inner.events;
        events.of_message(message.sender, message.receiver)
    }

    /// Returns the event of a change, to be stored with it; no event if no hook wants it.
    pub(super) fn events_of(
        &self,
        kind: EventKind,
        at: UnixTimestamp,
        body: impl FnOnce() -> EventBody,
    ) -> Vec<NewEvent> {
        let hooks = self.inner.events.of(kind);
        NewEvent::at(at, &hooks, body).into_iter().collect()
    }

    /// Writes an event that no change of a store carries, if a hook wants it. Does not wait.
    pub(super) fn write_event(
        &self,
        kind: EventKind,
        at: UnixTimestamp,
        body: impl FnOnce() -> EventBody,
    ) {
        let hooks = self.inner.events.of(kind);
        if let Some(event) = NewEvent::at(at, &hooks, body) {
            self.inner.event_writer.write(event);
        }
    }
}

/// Wakes the deliverers after the store has answered that these events are stored.
pub(super) fn notify_written(events: &[NewEvent]) {
    for event in events {
        event.hooks.notify();
    }
}

/// Describes a change of a group as an event.
pub(super) fn group_event(change: &GroupChange) -> GroupEvent {
    match change {
        GroupChange::Edit(edit) => GroupEvent::Edited {
            name: edit.name.clone(),
            avatar_url: edit.avatar_url.clone(),
            introduction: edit.introduction.clone(),
            extra: edit.extra.clone(),
        },
        GroupChange::Add(users) => GroupEvent::Added(users.as_slice().into()),
        GroupChange::Remove(user) => GroupEvent::Removed(*user),
        GroupChange::EditMember(user, edit) => GroupEvent::MemberEdited {
            user: *user,
            admin: edit.role.map(|role| role == MemberRole::Admin),
            remarks: edit.remarks.clone(),
            extra: edit.extra.clone(),
        },
    }
}
