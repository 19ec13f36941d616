//! Helpers for cases about the events of hooks.

use super::helpers::NOW;
use crate::events::{EventBody, EventHooks, HookEvent, HookName, HookTarget, NewEvent};
use crate::id::NodeId;
use crate::page::PageLimit;
use crate::store::{
    AppendRequest, HookClaimOutcome, HookLease, OutboxPosition, OutboxRow, StoreSet,
};

/// Returns the hook with this name.
pub(super) fn hook(name: &str) -> HookName {
    HookName::new(name).unwrap()
}

/// Returns hooks; `*` behind a name means that the hook wants the recipients.
pub(super) fn hooks(names: &[&str]) -> EventHooks {
    let targets = names.iter().map(|name| {
        let recipients = name.ends_with('*');
        HookTarget::new(hook(name.trim_end_matches('*')), recipients)
    });
    EventHooks::new(targets.collect())
}

/// Adds hooks to a send.
pub(super) fn hooked(send: AppendRequest, names: &[&str]) -> AppendRequest {
    AppendRequest {
        hooks: hooks(names),
        ..send
    }
}

/// Builds an event for one hook.
pub(super) fn event(name: &str, body: EventBody) -> NewEvent {
    NewEvent::at(NOW, &hooks(&[name]), || body).unwrap()
}

/// Reads all events of a hook, page by page.
pub(super) async fn rows(s: &StoreSet, name: &str) -> Vec<OutboxRow> {
    let mut all: Vec<OutboxRow> = Vec::new();
    loop {
        let known: Vec<OutboxPosition> = all.iter().map(|row| row.position).collect();
        let limit = PageLimit::items(100);
        let page = s.outbox.read(&hook(name), &known, limit).await.unwrap();
        assert!(page.items.len() <= 100);
        let done = page.items.is_empty() && !page.more;
        all.extend(page.items);
        if done {
            break;
        }
    }
    assert!(
        all.is_sorted_by(|a, b| a.position < b.position),
        "positions only increase"
    );
    all
}

/// Returns the positions of all events of a hook.
pub(super) async fn positions(s: &StoreSet, name: &str) -> Vec<OutboxPosition> {
    let rows = rows(s, name).await;
    rows.iter().map(|row| row.position).collect()
}

/// Reads all events of a hook.
pub(super) async fn events(s: &StoreSet, name: &str) -> Vec<HookEvent> {
    let rows = rows(s, name).await;
    rows.into_iter().map(|row| row.event.unwrap()).collect()
}

/// Returns the text of each message among all events of a hook.
pub(super) async fn texts(s: &StoreSet, name: &str) -> Vec<String> {
    let events = events(s, name).await;
    events.iter().map(text).collect()
}

/// Returns the text of a message's event.
pub(super) fn text(event: &HookEvent) -> String {
    match &event.body {
        EventBody::Message { message, .. } => {
            String::from_utf8(message.content.0.to_vec()).unwrap()
        }
        other => panic!("not a message: {other:?}"),
    }
}

/// Claims a hook for the node with this name; it must be free.
pub(super) async fn lease(s: &StoreSet, name: &str, node: &str) -> HookLease {
    let claimed = s.outbox.claim(&hook(name), &NodeId::boot(node), None).await;
    match claimed.unwrap() {
        HookClaimOutcome::Claimed(lease) => lease,
        HookClaimOutcome::Held(mark) => panic!("held: {mark:?}"),
    }
}
