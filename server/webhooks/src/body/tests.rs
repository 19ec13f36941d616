//! Each kind of event as JSON.

use std::sync::Arc;

use gimlet_core::envelope::Envelope;
use gimlet_core::id::{DeviceId, MessageId};
use gimlet_core::message::{
    Message, MessageContent, MessageReceiver, MessageSender, UnknownFields, UserProfile,
};
use gimlet_core::seq::Seq;
use gimlet_core::time::UnixTimestamp;

use super::*;

fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

fn envelope(content: usize) -> Arc<Envelope> {
    let message = Message {
        id: MessageId::generate(),
        sender: MessageSender::User {
            user: user(u64::MAX >> 1),
            device: DeviceId::new(5),
        },
        receiver: MessageReceiver::User(user(2)),
        mentions: Vec::new(),
        kind: 8,
        content: MessageContent(vec![7; content].into()),
        sent_at: UnixTimestamp(1_700_000_000_123),
        unknown: UnknownFields::NONE,
    };
    let profile = UserProfile {
        nickname: "Ada \"L\"".into(),
        ..UserProfile::default()
    };
    Arc::new(Envelope::new(Arc::new(message), Arc::new(profile), 0))
}

fn notification(id: &str, body: NotificationBody) -> HookNotification {
    HookNotification {
        id: id.into(),
        at: UnixTimestamp(1_700_000_000_123),
        body,
    }
}

fn only(notifications: &[HookNotification]) -> Value {
    let bodies = bodies(notifications);
    let [body] = bodies.as_slice() else {
        panic!("{} bodies", bodies.len());
    };
    serde_json::from_slice(&body.text).unwrap()
}

fn group_event(change: GroupEvent) -> Value {
    let body = NotificationBody::GroupChanged {
        group: GroupId::new(9).unwrap(),
        version: 4,
        operator: Some(user(1)),
        change,
    };
    only(&[notification("g", body)])["events"][0]["data"].clone()
}

#[test]
fn an_event_has_an_id_a_type_a_time_and_data() {
    let created = NotificationBody::MessageCreated(envelope(3));
    let body = only(&[notification("m-1", created)]);
    let event = &body["events"][0];
    assert_eq!(event["id"], "m-1");
    assert_eq!(event["type"], "message.created");
    assert_eq!(event["time"], "2023-11-14T22:13:20.123Z");
    let message = &event["data"]["message"];
    assert_eq!(message["sender"]["user_id"], "9223372036854775807");
    assert_eq!(message["sender"]["nickname"], "Ada \"L\"");
    assert_eq!(message["receiver"]["user_id"], "2");
}

#[test]
fn every_kind_of_event_is_valid_json_with_its_fields() {
    let (user, friend) = (user(1), user(2));
    let description = "hi \"you\"\n".to_owned();
    let all = [
        NotificationBody::MessageOffline {
            user,
            messages: vec![envelope(1), envelope(2)],
        },
        NotificationBody::RoomMessage {
            envelope: envelope(1),
            seq: Seq::new(3),
        },
        NotificationBody::FriendRequested {
            user,
            friend,
            description,
        },
        NotificationBody::FriendAccepted { user, friend },
        NotificationBody::UserOnline(user),
        NotificationBody::UserOffline(user),
        NotificationBody::Test,
    ];
    let all = all.map(|body| notification("x", body));
    let body = only(&all);
    let data = |at: usize| &body["events"][at]["data"];
    assert_eq!(data(0)["messages"].as_array().unwrap().len(), 2);
    assert_eq!(data(1)["seq"], "3");
    assert_eq!(data(2)["description"], "hi \"you\"\n");
    for at in [0, 2, 3, 4, 5] {
        assert_eq!(data(at)["user_id"], "1");
    }
    assert_eq!(body["events"][6]["type"], "webhook.test");
}

#[test]
fn each_change_of_a_group_says_what_changed() {
    let created = group_event(GroupEvent::Created([user(1)].into()));
    assert_eq!(created["change"], "created");
    assert_eq!(created["user_ids"][0], "1");
    assert_eq!(
        (&created["group_id"], &created["version"]),
        (&"9".into(), &"4".into())
    );
    let edited = group_event(GroupEvent::Edited {
        name: Some("new".into()),
        avatar_url: None,
        introduction: None,
        extra: None,
    });
    assert_eq!(
        (&edited["change"], &edited["name"]),
        (&"edited".into(), &"new".into())
    );
    assert_eq!(edited.get("extra"), None);
    let added = group_event(GroupEvent::Added([user(7)].into()));
    assert_eq!(
        (&added["change"], &added["user_ids"][0]),
        (&"members_added".into(), &"7".into())
    );
    let removed = group_event(GroupEvent::Removed(user(7)));
    assert_eq!(removed["change"], "member_removed");
    let edited = group_event(GroupEvent::MemberEdited {
        user: user(7),
        admin: Some(false),
        remarks: None,
        extra: None,
    });
    assert_eq!(
        (&edited["user_id"], &edited["role"]),
        (&"7".into(), &"member".into())
    );
}

#[test]
fn large_notifications_are_split_and_ids_follow_the_content() {
    let created = |id: &str| notification(id, NotificationBody::MessageCreated(envelope(60_000)));
    let ids: Vec<String> = (0..40).map(|id| id.to_string()).collect();
    let all: Vec<_> = ids.iter().map(|id| created(id)).collect();
    let split = bodies(&all);
    assert!(split.len() > 1);
    let mut seen = Vec::new();
    for body in &split {
        assert!(body.text.len() < MAX_BODY_BYTES + 200_000);
        let value: Value = serde_json::from_slice(&body.text).unwrap();
        let events = value["events"].as_array().unwrap();
        seen.extend(
            events
                .iter()
                .map(|it| it["id"].as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(seen, ids, "in order, each once");
    let small = [created("1"), created("2")];
    let [both, one] = [bodies(&small), bodies(&small[..1])];
    assert_eq!(one[0].id, "1");
    assert_ne!(both[0].id, one[0].id);
    assert_eq!(both[0].id, bodies(&small)[0].id);
    assert!(bodies(&[]).is_empty());
}
