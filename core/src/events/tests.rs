//! Unit tests of subscriptions, names and kinds.

use super::*;
use crate::id::{GroupId, RoomId, UserId};
use crate::message::{MessageReceiver, MessageSender};

fn hook(name: &str, events: &[EventKind], messages: MessageFilter) -> HookSubscription {
    HookSubscription {
        name: HookName::new(name).unwrap(),
        events: events.iter().copied().collect(),
        messages,
    }
}

fn names(hooks: &EventHooks) -> Vec<(&str, bool)> {
    let targets = hooks.targets().iter();
    targets
        .map(|target| (target.name.as_str(), target.recipients))
        .collect()
}

#[test]
fn a_hook_has_a_short_plain_name() {
    for good in ["a", "backend-2", "x_1", &"n".repeat(64)] {
        assert_eq!(HookName::new(good).unwrap().as_str(), good);
    }
    for bad in ["", "A", "2nd", "-a", "a b", "é", &"n".repeat(65)] {
        let error = HookName::new(bad).unwrap_err().to_string();
        assert!(error.contains("is not the name of a hook: use 1 to 64"));
        assert!(error.len() < 300, "a long text is cut");
    }
}

#[test]
fn kinds_are_found_by_their_names() {
    for kind in EventKind::ALL {
        assert_eq!(EventKind::named(kind.name()), Some(kind));
    }
    assert_eq!(EventKind::named("message"), None);
}

#[test]
fn hooks_get_the_events_that_they_want() {
    use EventKind::{GroupChanged, MessageCreated, MessageOffline, RoomMessage, UserOnline};
    let users_only = MessageFilter {
        users: true,
        groups: false,
    };
    let table = EventSubscriptions::new(vec![
        hook("all", &EventKind::ALL, MessageFilter::ALL),
        hook("direct", &[MessageCreated], users_only),
        hook("push", &[MessageOffline], MessageFilter::ALL),
        hook("groups", &[GroupChanged], MessageFilter::ALL),
    ])
    .unwrap();
    let (user, group) = (UserId::MIN, GroupId::MIN);
    let from = MessageSender::User { user, device: None };
    let of = |sender, receiver| table.of_message(sender, receiver);
    let to_user = of(from, MessageReceiver::User(user));
    assert_eq!(
        names(&to_user),
        [("all", true), ("direct", false), ("push", true)]
    );
    let to_group = of(MessageSender::Business, MessageReceiver::Group(group));
    assert_eq!(names(&to_group), [("all", true), ("push", true)]);
    let to_room = of(from, MessageReceiver::Room(RoomId::MIN));
    assert_eq!(names(&to_room), names(&table.of(RoomMessage)));
    assert!(of(from, MessageReceiver::Everyone).is_empty());
    assert!(of(MessageSender::System, MessageReceiver::User(user)).is_empty());
    assert_eq!(
        names(&table.of(GroupChanged)),
        [("all", true), ("groups", false)]
    );
    assert_eq!(names(&table.of(UserOnline)), [("all", true)]);
    assert_eq!(table.hooks().count(), 4);
}

#[test]
fn without_hooks_nothing_is_wanted() {
    let none = EventSubscriptions::new(Vec::new()).unwrap();
    assert!(none.is_empty());
    let user = MessageReceiver::User(UserId::MIN);
    assert!(none.of_message(MessageSender::Business, user).is_empty());
    assert!(none.of(EventKind::GroupChanged).is_empty());
    assert!(none.hooks().next().is_none());
}

#[test]
fn a_table_with_a_mistake_is_refused() {
    let one = hook("a", &[EventKind::UserOnline], MessageFilter::ALL);
    let twice = EventSubscriptions::new(vec![one.clone(), one]).unwrap_err();
    assert_eq!(
        twice,
        SubscriptionError::SameName(HookName::new("a").unwrap())
    );
    let idle = EventSubscriptions::new(vec![hook("b", &[], MessageFilter::ALL)]).unwrap_err();
    assert_eq!(idle.to_string(), "hook b wants no event; name at least one");
}

#[tokio::test]
async fn a_write_is_noticed_even_before_the_wait() {
    let table = EventSubscriptions::new(vec![
        hook("a", &[EventKind::UserOnline], MessageFilter::ALL),
        hook("b", &[EventKind::UserOffline], MessageFilter::ALL),
    ])
    .unwrap();
    let (a, b) = (HookName::new("a").unwrap(), HookName::new("b").unwrap());
    table.of(EventKind::UserOnline).notify();
    table.written(&a).await;
    let waiting = table.written(&b);
    tokio::pin!(waiting);
    let pending = futures_util::poll!(&mut waiting);
    assert!(pending.is_pending(), "the other hook's write");
    table.of(EventKind::UserOffline).notify();
    waiting.await;
}
