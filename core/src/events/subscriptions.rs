//! The events that each hook wants.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::events::{EventHooks, EventKind, HookName, HookTarget};
use crate::message::{MessageReceiver, MessageSender};

/// Kinds of receivers whose messages a hook wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageFilter {
    /// Messages to a user.
    pub users: bool,
    /// Messages to a group.
    pub groups: bool,
}

impl MessageFilter {
    /// Messages to any receiver.
    pub const ALL: Self = Self {
        users: true,
        groups: true,
    };
}

impl Default for MessageFilter {
    fn default() -> Self {
        Self::ALL
    }
}

/// A hook with the events that it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSubscription {
    /// The hook.
    pub name: HookName,
    /// The events.
    pub events: BTreeSet<EventKind>,
    /// Filter of `message.created` and `message.offline`.
    pub messages: MessageFilter,
}

/// A list of hooks is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionError {
    /// Two hooks have the same name.
    #[error("two hooks are named {0}; give each a name of its own")]
    SameName(HookName),
    /// A hook wants no event.
    #[error("hook {0} wants no event; name at least one")]
    NoEvent(HookName),
}

/// The hooks of all kinds of events. Cheap to clone. All logic nodes must have the same: a node
/// without a hook stores no events for it.
#[derive(Clone, Debug, Default)]
pub struct EventSubscriptions {
    table: Option<Arc<SubscriptionTable>>,
}

#[derive(Debug, Default)]
struct SubscriptionTable {
    hooks: Vec<(HookSubscription, Arc<Notify>)>,
    to_user: EventHooks,
    to_group: EventHooks,
    /// Hooks by kind, in the order of [`EventKind::ALL`]; those of messages are above.
    others: Vec<EventHooks>,
}

impl EventSubscriptions {
    /// Makes the table of these hooks.
    ///
    /// # Errors
    /// Two hooks have the same name, or a hook wants no event.
    pub fn new(hooks: Vec<HookSubscription>) -> Result<Self, SubscriptionError> {
        let mut names = BTreeSet::new();
        for hook in &hooks {
            if !names.insert(&hook.name) {
                return Err(SubscriptionError::SameName(hook.name.clone()));
            }
            if hook.events.is_empty() {
                return Err(SubscriptionError::NoEvent(hook.name.clone()));
            }
        }
        if hooks.is_empty() {
            return Ok(Self::default());
        }
        let hooks: Vec<_> = hooks
            .into_iter()
            .map(|hook| (hook, Arc::<Notify>::default()))
            .collect();
        let table = SubscriptionTable {
            to_user: messages(&hooks, |filter| filter.users),
            to_group: messages(&hooks, |filter| filter.groups),
            others: EventKind::ALL
                .iter()
                .map(|kind| those(&hooks, |hook| hook.events.contains(kind)))
                .collect(),
            hooks,
        };
        let table = Some(Arc::new(table));
        Ok(Self { table })
    }

    /// Returns whether there are no hooks.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.table.is_none()
    }

    /// Returns all hooks.
    pub fn hooks(&self) -> impl Iterator<Item = &HookSubscription> {
        let hooks = self.table.as_deref().map(|table| &table.hooks);
        hooks.into_iter().flatten().map(|(hook, _)| hook)
    }

    /// Returns the hooks that want a message of this sender to this receiver. gimlet's own notices
    /// about friends and groups have events of their own, so they are not messages here.
    #[must_use]
    pub fn of_message(&self, sender: MessageSender, receiver: MessageReceiver) -> EventHooks {
        let Some(table) = &self.table else {
            return EventHooks::NONE;
        };
        match (sender, receiver) {
            (MessageSender::System, _) | (_, MessageReceiver::Everyone) => EventHooks::NONE,
            (_, MessageReceiver::User(_)) => table.to_user.clone(),
            (_, MessageReceiver::Group(_)) => table.to_group.clone(),
            (_, MessageReceiver::Room(_)) => self.of(EventKind::RoomMessage),
        }
    }

    /// Returns the hooks that want events of this kind. For messages, ask
    /// [`of_message`](Self::of_message), which also applies the filters.
    #[must_use]
    pub fn of(&self, kind: EventKind) -> EventHooks {
        let Some(table) = &self.table else {
            return EventHooks::NONE;
        };
        let mut kinds = EventKind::ALL.iter().zip(&table.others);
        let found = kinds.find(|(of, _)| **of == kind);
        found.map(|(_, hooks)| hooks.clone()).unwrap_or_default()
    }

    /// Waits until this node has stored an event for the hook since the last call. Events of other
    /// nodes are not noticed: read the outbox from time to time as well.
    pub async fn written(&self, hook: &HookName) {
        let hooks = self.table.as_deref().map(|table| &table.hooks);
        let mut hooks = hooks.into_iter().flatten();
        match hooks.find(|(it, _)| it.name == *hook) {
            Some((_, written)) => written.notified().await,
            None => std::future::pending().await,
        }
    }
}

fn messages(
    hooks: &[(HookSubscription, Arc<Notify>)],
    passes: impl Fn(MessageFilter) -> bool,
) -> EventHooks {
    those(hooks, |hook| {
        let kinds = [EventKind::MessageCreated, EventKind::MessageOffline];
        passes(hook.messages) && kinds.iter().any(|kind| hook.events.contains(kind))
    })
}

fn those(
    hooks: &[(HookSubscription, Arc<Notify>)],
    wants: impl Fn(&HookSubscription) -> bool,
) -> EventHooks {
    let targets = hooks
        .iter()
        .filter(|(hook, _)| wants(hook))
        .map(|(hook, written)| HookTarget {
            name: hook.name.clone(),
            recipients: hook.events.contains(&EventKind::MessageOffline),
            written: Arc::clone(written),
        });
    EventHooks::new(targets.collect())
}
