//! Hooks and the events that are to be stored for them.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::events::{EventBody, EventId, HookEvent};
use crate::time::UnixTimestamp;

/// Name of a hook: 1 to 64 lower-case letters, digits, `-` and `_`, beginning with a letter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HookName(Arc<str>);

/// A text is not the name of a hook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not the name of a hook: use 1 to 64 lower-case letters, digits, - and _, beginning \
     with a letter"
)]
pub struct HookNameError(String);

impl HookName {
    /// Longest name, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Checks a name.
    ///
    /// # Errors
    /// The text is not a name.
    pub fn new(text: &str) -> Result<Self, HookNameError> {
        let letters = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-_".contains(&c);
        let first = text.bytes().next();
        let is_name = first.is_some_and(|c| c.is_ascii_lowercase())
            && text.len() <= Self::MAX_BYTES
            && text.bytes().all(letters);
        if is_name {
            Ok(Self(text.into()))
        } else {
            let shown: String = text.chars().take(Self::MAX_BYTES).collect();
            Err(HookNameError(shown))
        }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A hook that wants an event.
#[derive(Clone, Debug)]
pub struct HookTarget {
    /// The hook.
    pub name: HookName,
    /// Set if the event names the recipients of the message: the hook wants `message.offline`.
    pub recipients: bool,
    /// Notified after an event was stored for the hook by this node.
    pub(super) written: Arc<Notify>,
}

impl HookTarget {
    /// Makes a target without a listener, for tests of stores.
    #[must_use]
    pub fn new(name: HookName, recipients: bool) -> Self {
        Self {
            name,
            recipients,
            written: Arc::default(),
        }
    }
}

/// The hooks for which an event is stored; usually none. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct EventHooks(Option<Arc<[HookTarget]>>);

impl EventHooks {
    /// No hook: nothing is stored.
    pub const NONE: Self = Self(None);

    /// Makes a list of hooks.
    #[must_use]
    pub fn new(targets: Vec<HookTarget>) -> Self {
        Self((!targets.is_empty()).then(|| targets.into()))
    }

    /// Returns whether no hook wants the event.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the hooks.
    #[must_use]
    pub fn targets(&self) -> &[HookTarget] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Wakes the deliverers of these hooks on this node. Called after the store has answered that
    /// the event is stored.
    pub fn notify(&self) {
        for target in self.targets() {
            target.written.notify_one();
        }
    }
}

/// An event to be stored with the change that it is about.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The hooks that want it.
    pub hooks: EventHooks,
    /// The event.
    pub event: HookEvent,
}

impl NewEvent {
    /// Makes an event with a new id; `None` if no hook wants it.
    #[must_use]
    pub fn at(
        at: UnixTimestamp,
        hooks: &EventHooks,
        body: impl FnOnce() -> EventBody,
    ) -> Option<Self> {
        (!hooks.is_empty()).then(|| Self {
            hooks: hooks.clone(),
            event: HookEvent {
                id: EventId::generate(),
                at,
                body: body(),
            },
        })
    }
}
