//! Cases of events: each is stored with its change, and only with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use super::StoreFixture;
use super::events::{event, events, hook, hooked, hooks, lease, rows, text, texts};
use super::helpers::{
    LATER, NOW, append, contents, found, group, keyed, message, put, send, stored, to_group,
    together, user, users, work,
};
use crate::events::{EventBody, EventId, GroupEvent, NewEvent};
use crate::message::MessageReceiver;
use crate::page::PageLimit;
use crate::seq::Seq;
use crate::store::{
    AppendOutcome, FriendAcceptOutcome, FriendRequestOutcome, GroupChange, GroupChangeOutcome,
    GroupEdit, LeasedOutcome, OutboxPosition, RosterVersion, StoreErrorKind, StoreSet,
};

pub(super) async fn an_event_is_stored_with_its_send(it: StoreFixture) {
    let s = &it.stores;
    let sent = hooked(send(&users(1..=2), "hi"), &["a", "all*"]);
    stored(append(s, sent.clone()).await);
    put(s, &users(1..=2), "without a hook").await;
    for (name, recipients) in [("a", Vec::new()), ("all", users(1..=2))] {
        let events = events(s, name).await;
        let [event] = events.as_slice() else {
            panic!("{name}: {events:?}");
        };
        assert_eq!(event.id, EventId::from_bytes(*sent.message.id.as_bytes()));
        let body = EventBody::Message {
            message: Arc::clone(&sent.message),
            recipients: recipients.into(),
        };
        assert_eq!(event.body, body);
        assert!(event.at.0 > 0, "the server's time");
    }
    assert!(rows(s, "b").await.is_empty(), "a hook that was not named");
}

/// Law 4: a repeat stores nothing, no event either.
pub(super) async fn a_repeat_stores_no_second_event(it: StoreFixture) {
    let s = &it.stores;
    let sent = |text: &'static str| hooked(keyed(send(&users(1..=2), text), "k"), &["a"]);
    let outcomes = s.inbox.append(&[sent("hi"), sent("hi"), sent("ho")]).await;
    assert!(matches!(
        outcomes.unwrap().as_slice(),
        [
            AppendOutcome::Stored { .. },
            AppendOutcome::Repeated { .. },
            AppendOutcome::Conflict
        ]
    ));
    assert!(matches!(
        append(s, sent("hi")).await,
        AppendOutcome::Repeated { .. }
    ));
    assert_eq!(append(s, sent("ho")).await, AppendOutcome::Conflict);
    assert_eq!(texts(s, "a").await, ["hi"]);
}

pub(super) async fn a_refused_send_stores_no_event(it: StoreFixture) {
    let s = &it.stores;
    let mut plan = found(s, group(1), &users(1..=3)).await;
    plan.version = RosterVersion(9);
    let stale = hooked(to_group(group(1), &plan, "stale"), &["a"]);
    let missing = hooked(to_group(group(2), &plan, "no group"), &["a"]);
    let good = hooked(send(&users(1..=2), "good"), &["a"]);
    let outcomes = s.inbox.append(&[stale, missing, good]).await.unwrap();
    assert_eq!(outcomes[..2], [AppendOutcome::Stale, AppendOutcome::Stale]);
    assert_eq!(texts(s, "a").await, ["good"]);
    let wrong = [
        hooked(send(&users(1..=2), "x"), &["a"]),
        hooked(send(&[], "to nobody"), &["a"]),
    ];
    let refused = s.inbox.append(&wrong).await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Misuse);
    assert_eq!(texts(s, "a").await, ["good"]);
}

pub(super) async fn a_large_send_has_one_event(it: StoreFixture) {
    let s = &it.stores;
    let plan = found(s, group(1), &users(1..=2_500)).await;
    let sent = hooked(to_group(group(1), &plan, "to all"), &["a*"]);
    let outcome = append(s, sent).await;
    assert!(matches!(outcome, AppendOutcome::Stored { job: true, .. }));
    let read = async || match &events(s, "a").await[..] {
        [event] => match &event.body {
            EventBody::Message { recipients, .. } => recipients.len(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(read().await, 2_500);
    work(s, group(1)).await;
    assert_eq!(read().await, 2_500, "its parts have no events");
}

pub(super) async fn a_batch_of_events_keeps_its_order(it: StoreFixture) {
    let s = &it.stores;
    let batch: Vec<_> = (0..300)
        .map(|n| {
            let names: &[&str] = if n % 3 == 0 { &["a", "b*"] } else { &["a"] };
            hooked(send(&[user(1 + n % 7), user(9)], n.to_string()), names)
        })
        .collect();
    s.inbox.append(&batch).await.unwrap();
    let all: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    assert_eq!(texts(s, "a").await, all);
    let third: Vec<String> = (0..300).step_by(3).map(|n| n.to_string()).collect();
    assert_eq!(texts(s, "b").await, third);
}

/// Delivers while many send: each receiver's events come in the order of its inbox, whole, although
/// each is removed at once.
pub(super) async fn events_of_a_receiver_are_delivered_in_its_order(it: StoreFixture) {
    const RECEIVERS: u64 = 4;
    const SENDERS: u64 = 12;
    const ROUNDS: u64 = 25;
    let s = it.stores.clone();
    let lease = lease(&s, "a", "node").await;
    let done = Arc::new(AtomicBool::new(false));
    let mut delivering = JoinSet::new();
    let (store, last_sent) = (s.clone(), Arc::clone(&done));
    delivering.spawn(async move {
        let mut delivered: BTreeMap<MessageKey, Vec<String>> = BTreeMap::new();
        loop {
            let last = last_sent.load(Ordering::SeqCst);
            let limit = PageLimit::items(7);
            let page = store.outbox.read(&lease.hook, &[], limit).await.unwrap();
            let mut positions = Vec::new();
            for row in &page.items {
                let event = row.event.as_ref().unwrap();
                let to = delivered.entry(receiver_of(&event.body)).or_default();
                to.push(text(event));
                positions.push(row.position);
            }
            let removed = store.outbox.remove(&lease, &positions).await.unwrap();
            assert_eq!(removed, LeasedOutcome::Done);
            if last && page.items.is_empty() && !page.more {
                return delivered;
            }
            tokio::task::yield_now().await;
        }
    });
    let sending = s.clone();
    together(SENDERS, move |sender| {
        let s = sending.clone();
        async move {
            for round in 0..ROUNDS {
                // The sender comes first and the receiver last, as in a send of the service.
                let batch: Vec<_> = (0..RECEIVERS)
                    .filter(|to| (to + round + sender) % 3 != 0)
                    .map(|to| {
                        let content = format!("{sender} {round}");
                        hooked(send(&[user(100 + sender), user(1 + to)], content), &["a"])
                    })
                    .collect();
                s.inbox.append(&batch).await.unwrap();
            }
        }
    })
    .await;
    done.store(true, Ordering::SeqCst);
    let delivered = delivering.join_next().await.unwrap().unwrap();
    for to in 1..=RECEIVERS {
        let inbox = contents(&s, user(to)).await;
        assert_eq!(delivered[&MessageKey::User(to)], inbox, "receiver {to}");
    }
    assert!(rows(&s, "a").await.is_empty());
}

/// A receiver as a key of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum MessageKey {
    User(u64),
    Group(u64),
    Other,
}

fn receiver_of(body: &EventBody) -> MessageKey {
    match body.receiver() {
        MessageReceiver::User(user) => MessageKey::User(user.get()),
        MessageReceiver::Group(group) => MessageKey::Group(group.get()),
        MessageReceiver::Room(_) | MessageReceiver::Everyone => MessageKey::Other,
    }
}

fn group_event(version: u64, change: GroupEvent) -> NewEvent {
    event(
        "a",
        EventBody::Group {
            group: group(1),
            version,
            operator: Some(user(1)),
            change,
        },
    )
}

pub(super) async fn a_change_of_a_group_has_its_event(it: StoreFixture) {
    let s = &it.stores;
    let plan = found(s, group(1), &users(1..=2)).await;
    let edit = GroupChange::Edit(GroupEdit {
        name: Some("new".into()),
        ..GroupEdit::default()
    });
    let edited = group_event(
        2,
        GroupEvent::Edited {
            name: Some("new".into()),
            avatar_url: None,
            introduction: None,
            extra: None,
        },
    );
    let update = async |version, event: &NewEvent| {
        let events = std::slice::from_ref(event);
        let changed = s.group.update(group(1), version, &edit, &[], events, LATER);
        changed.await.unwrap()
    };
    let done = update(plan.version, &edited).await;
    assert!(matches!(done, GroupChangeOutcome::Done { .. }));
    let stale = update(plan.version, &group_event(2, GroupEvent::Removed(user(2)))).await;
    assert_eq!(stale, GroupChangeOutcome::Stale);
    assert_eq!(events(s, "a").await, [edited.event]);
}

pub(super) async fn a_new_group_has_its_event(it: StoreFixture) {
    let s = &it.stores;
    let new = crate::store::NewGroup {
        id: group(1),
        name: "a group".into(),
        avatar_url: String::new(),
        introduction: String::new(),
        extra: String::new(),
        members: vec![(user(1), crate::store::MemberRole::Admin)],
        at: NOW,
    };
    let created = group_event(1, GroupEvent::Created(users(1..=1).into()));
    let event = std::slice::from_ref(&created);
    s.group.create(&new, event).await.unwrap();
    let again = s.group.create(&new, event).await.unwrap_err();
    assert_eq!(again.kind, StoreErrorKind::Misuse);
    assert_eq!(events(s, "a").await, [created.event]);
}

pub(super) async fn a_friend_request_has_its_event(it: StoreFixture) {
    let s = &it.stores;
    let requested = event(
        "a",
        EventBody::FriendRequested {
            user: user(1),
            friend: user(2),
            description: "it is me 😀".into(),
        },
    );
    let accepted = event(
        "a",
        EventBody::FriendAccepted {
            user: user(2),
            friend: user(1),
        },
    );
    let friend = &s.friend;
    let accept = async || {
        let pushes = [send(&[user(1)], "agreed")];
        let event = std::slice::from_ref(&accepted);
        let agreed = friend.agree(user(2), user(1), "", &pushes, event, NOW);
        agreed.await.unwrap()
    };
    let ask = async || {
        let pushes = [send(&[user(2)], "asked")];
        let event = std::slice::from_ref(&requested);
        let asked = friend.request(user(1), user(2), "", &pushes, event, NOW);
        asked.await.unwrap()
    };
    assert_eq!(accept().await, FriendAcceptOutcome::NoRequest);
    assert!(matches!(ask().await, FriendRequestOutcome::Sent(_)));
    assert_eq!(ask().await, FriendRequestOutcome::Pending);
    assert!(matches!(accept().await, FriendAcceptOutcome::Now(_)));
    assert_eq!(accept().await, FriendAcceptOutcome::Before);
    assert_eq!(ask().await, FriendRequestOutcome::Friends);
    assert_eq!(events(s, "a").await, [requested.event, accepted.event]);
}

/// Every kind of event comes back as it was stored.
pub(super) async fn any_event_comes_back(it: StoreFixture) {
    let s = &it.stores;
    let large = message(MessageReceiver::Group(group(7)), vec![b'x'; 60 * 1024]);
    let bodies = [
        EventBody::Message {
            message: Arc::new(large.clone()),
            recipients: users(5..=1_500).into(),
        },
        EventBody::RoomMessage {
            message: Arc::new(large),
            seq: Seq::new(12),
        },
        EventBody::Group {
            group: group(1),
            version: 7,
            operator: None,
            change: GroupEvent::MemberEdited {
                user: user(3),
                admin: Some(false),
                remarks: Some(String::new()),
                extra: None,
            },
        },
        EventBody::Group {
            group: group(1),
            version: 8,
            operator: Some(user(1)),
            change: GroupEvent::Added(users(4..=6).into()),
        },
        EventBody::Online { user: user(1) },
        EventBody::Offline { user: user(1) },
    ];
    let all: Vec<NewEvent> = bodies.into_iter().map(|body| event("a", body)).collect();
    s.outbox.put(&all).await.unwrap();
    s.outbox.put(&[]).await.unwrap();
    let want: Vec<_> = all.into_iter().map(|new| new.event).collect();
    assert_eq!(events(s, "a").await, want);
}

pub(super) async fn a_put_reaches_every_hook(it: StoreFixture) {
    let s = &it.stores;
    let online = EventBody::Online { user: user(1) };
    let event = NewEvent::at(NOW, &hooks(&["a", "ab", "b"]), || online).unwrap();
    s.outbox.put(std::slice::from_ref(&event)).await.unwrap();
    for name in ["a", "ab", "b"] {
        let stored = events(s, name).await;
        assert_eq!(stored, std::slice::from_ref(&event.event), "{name}");
    }
    let named = s.outbox.hooks().await.unwrap();
    assert_eq!(named, ["a", "ab", "b"].map(hook));
}

/// The stores of the other cases write without hooks.
pub(super) async fn without_hooks_there_are_no_events(it: StoreFixture) {
    let s: &StoreSet = &it.stores;
    put(s, &users(1..=2), "hi").await;
    assert_eq!(s.outbox.hooks().await.unwrap(), []);
    let nothing = s.outbox.read(&hook("a"), &[], PageLimit::items(9)).await;
    assert_eq!(nothing.unwrap().items, []);
    let gone = s.outbox.backlog(&hook("a")).await.unwrap();
    assert_eq!(gone, crate::store::HookBacklog::default());
    let known = [OutboxPosition(1), OutboxPosition(7)];
    let page = s.outbox.read(&hook("a"), &known, PageLimit::items(9)).await;
    assert!(!page.unwrap().more);
}
