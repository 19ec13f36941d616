//! Events: the changes that hooks are told about (webhooks, push), durable and in order.
//!
//! A *hook* is a receiver of events outside of gimlet, known by its name. The configuration says
//! which events each hook wants ([`EventSubscriptions`]; it must be the same on all logic nodes). A
//! change that a hook wants is stored together with its event, in the same transaction or batch:
//!
//! - `message.created` and `message.offline` by `InboxStore::append`, if the message was stored (a
//!   repeat, a conflict and a stale send store no event);
//! - `group.changed` by `GroupStore`, `friend.requested` and `friend.accepted` by `FriendStore`, if
//!   the change was made.
//!
//! This module describes events and knows no store.
//!
//! Events about things that are not durable themselves (`room.message`, `user.online`,
//! `user.offline`) are stored soon after them by `OutboxStore::put`: a crash in between loses such an
//! event.
//!
//! The outbox (`store`) keeps the events of each hook as a queue. One node at a time delivers a hook
//! (`hook_lease`); it reads the first events, delivers them, and removes them. An event is delivered
//! at least once.
//!
//! Without a hook nothing is written, and a send carries one empty pointer.

mod event;
mod hook;
mod kind;
mod subscriptions;
#[cfg(test)]
mod tests;

pub use event::{EventBody, EventId, GroupEvent, HookEvent};
pub use hook::{EventHooks, HookName, HookNameError, HookTarget, NewEvent};
pub use kind::EventKind;
pub use subscriptions::{EventSubscriptions, HookSubscription, MessageFilter, SubscriptionError};
