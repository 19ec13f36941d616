//! Events: each change that hooks want has one, and a change that was not made has none.

use super::*;
use crate::events::{EventBody, EventKind, GroupEvent, HookName, HookSubscription, MessageFilter};
use crate::service::RoomDraft;
use crate::store::{GroupEdit, MemberEdit};
use crate::testkit::helpers::room;

fn all_events(messages: MessageFilter) -> EventSubscriptions {
    let hook = HookSubscription {
        name: HookName::new("all").unwrap(),
        events: EventKind::ALL.into_iter().collect(),
        messages,
    };
    EventSubscriptions::new(vec![hook]).unwrap()
}

pub(super) fn hooked_fixture(stores: StoreSet) -> ServiceFixture {
    let events = all_events(MessageFilter::ALL);
    start_fixture(stores, Limits::default(), ServerPolicy::default(), events)
}

impl ServiceFixture {
    pub(super) async fn events(&self) -> Vec<EventBody> {
        let hook = HookName::new("all").unwrap();
        let outbox = &self.service.stores().outbox;
        let page = outbox.read(&hook, &[], PageLimit::items(10_000)).await;
        let rows = page.unwrap().items.into_iter();
        rows.map(|row| row.event.unwrap().body).collect()
    }

    /// Returns a short description of each event.
    async fn described(&self) -> Vec<String> {
        let events = self.events().await;
        events.iter().map(describe).collect()
    }
}

fn describe(body: &EventBody) -> String {
    let text = |content: &MessageContent| String::from_utf8_lossy(&content.0).into_owned();
    match body {
        EventBody::Message {
            message,
            recipients,
        } => format!("{} to {recipients:?}", text(&message.content)),
        EventBody::RoomMessage { message, seq } => {
            format!("{} in a room at {}", text(&message.content), seq.get())
        }
        EventBody::Group {
            version,
            operator,
            change,
            ..
        } => {
            let what = match change {
                GroupEvent::Created(users) => format!("created {users:?}"),
                GroupEvent::Edited { name, .. } => format!("edited {name:?}"),
                GroupEvent::Added(users) => format!("added {users:?}"),
                GroupEvent::Removed(user) => format!("removed {user}"),
                GroupEvent::MemberEdited { user, admin, .. } => {
                    format!("member {user} {admin:?}")
                }
            };
            format!("{version} by {operator:?}: {what}")
        }
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_has_one_event_and_a_refused_or_live_one_none() {
    let world = hooked_fixture(memory::stores());
    let service = &world.service;
    let keyed = |text: &str| MessageDraft {
        client_id: Some("k".into()),
        ..to_user(2, text)
    };
    service.send(from(1), keyed("hi")).await.unwrap();
    service.send(from(1), keyed("hi")).await.unwrap();
    service.send(from(1), keyed("ho")).await.unwrap_err();
    service
        .send(from(1), to_user(9_999, "nobody"))
        .await
        .unwrap_err();
    let live = MessageDraft {
        persist: false,
        ..to_user(2, "live")
    };
    service.send(from(1), live).await.unwrap();
    service
        .send(MessageSender::Business, to_user(2, "from the backend"))
        .await
        .unwrap();
    assert_eq!(
        world.described().await,
        ["hi to [u:1, u:2]", "from the backend to [u:2]"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_event_of_a_stale_send_has_the_recipients_of_its_new_plan() {
    let stores = memory::stores();
    let one = hooked_fixture(stores.clone());
    let two = hooked_fixture(stores);
    let group = one.group([1, 2]).await;
    let send = |text| two.service.send(from(1), to_group(group, text));
    send("before").await.unwrap();
    one.service
        .add_members(user(1), group, &[user(3)])
        .await
        .unwrap();
    send("after").await.unwrap();
    assert_eq!(
        two.described().await,
        [
            "1 by Some(u:1): created [u:1, u:2]",
            "before to [u:1, u:2]",
            "2 by Some(u:1): added [u:3]",
            "after to [u:1, u:2, u:3]",
        ]
    );
}

#[tokio::test]
async fn each_change_of_a_group_has_an_event_with_its_operator() {
    let world = hooked_fixture(memory::stores());
    let service = &world.service;
    let group = world.group([1, 2]).await;
    let edit = GroupEdit {
        name: Some("new".into()),
        ..GroupEdit::default()
    };
    service.update_group(user(1), group, edit).await.unwrap();
    let refused = service.remove_member(user(2), group, user(1)).await;
    refused.unwrap_err();
    let promote = MemberEdit {
        role: Some(crate::store::MemberRole::Admin),
        ..MemberEdit::default()
    };
    service
        .update_member(user(1), group, user(2), promote)
        .await
        .unwrap();
    service
        .remove_member(user(2), group, user(1))
        .await
        .unwrap();
    // Not a member: nothing changes.
    service
        .remove_member(user(2), group, user(7))
        .await
        .unwrap();
    assert_eq!(
        world.described().await,
        [
            "1 by Some(u:1): created [u:1, u:2]",
            "2 by Some(u:1): edited Some(\"new\")",
            "3 by Some(u:1): member u:2 Some(true)",
            "4 by Some(u:2): removed u:1",
        ]
    );
}

#[tokio::test]
async fn a_friend_request_and_its_acceptance_have_events() {
    let world = hooked_fixture(memory::stores());
    world.ask(1, 2).await.unwrap();
    world.ask(1, 2).await.unwrap();
    world.agree(2, 1).await.unwrap();
    world.agree(2, 1).await.unwrap();
    let requested = EventBody::FriendRequested {
        user: user(1),
        friend: user(2),
        description: "it is me".into(),
    };
    let accepted = EventBody::FriendAccepted {
        user: user(2),
        friend: user(1),
    };
    assert_eq!(world.events().await, [requested, accepted]);
}

#[tokio::test]
async fn a_message_of_a_room_has_an_event_soon() {
    let world = hooked_fixture(memory::stores());
    for text in ["one", "two"] {
        let draft = RoomDraft {
            room: room(5),
            mentions: Vec::new(),
            kind: 1,
            content: MessageContent(text.into()),
            persist: false,
        };
        world.service.push_room(from(1), draft).await.unwrap();
    }
    let hook = HookName::new("all").unwrap();
    while world.events().await.len() < 2 {
        world.service.events().written(&hook).await;
    }
    assert_eq!(
        world.described().await,
        ["one in a room at 1", "two in a room at 2"]
    );
    assert_eq!(world.service.dropped_events(), 0);
    world.stop().await;
}

#[tokio::test]
async fn a_filter_leaves_messages_out() {
    let groups_only = MessageFilter {
        users: false,
        groups: true,
    };
    let (limits, policy) = (Limits::default(), ServerPolicy::default());
    let world = start_fixture(memory::stores(), limits, policy, all_events(groups_only));
    let group = world.group([1, 2]).await;
    let service = &world.service;
    service.send(from(1), to_user(2, "direct")).await.unwrap();
    service
        .send(from(1), to_group(group, "group"))
        .await
        .unwrap();
    let described = world.described().await;
    assert_eq!(described[1..], ["group to [u:1, u:2]"]);
}

#[tokio::test]
async fn a_stored_message_is_noticed_by_the_deliverer() {
    let world = hooked_fixture(memory::stores());
    let hook = HookName::new("all").unwrap();
    world.service.send(from(1), to_user(2, "hi")).await.unwrap();
    world.service.events().written(&hook).await;
    assert_eq!(world.events().await.len(), 1);
}
