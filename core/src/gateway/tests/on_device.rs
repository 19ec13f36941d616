//! Messages for one device.

use super::*;
use crate::hub::ConnectionHandle;
use crate::id::MessageId;
use crate::message::{Message, MessageContent, MessageReceiver, UnknownFields, UserProfile};
use crate::time::UnixTimestamp;

/// Returns a message that is in no inbox, with this much content.
fn shown(length: usize) -> Message {
    Message {
        id: MessageId::generate(),
        sender: MessageSender::Business,
        receiver: MessageReceiver::User(user(2)),
        mentions: Vec::new(),
        kind: 1,
        content: MessageContent(vec![b'x'; length].into()),
        sent_at: UnixTimestamp(1),
        unknown: UnknownFields::NONE,
    }
}

fn device(number: u64) -> DeviceId {
    DeviceId::new(number).unwrap()
}

fn user_of(found: Option<&Arc<ConnectionHandle>>) -> Option<UserId> {
    Some(found?.identity().user)
}

#[tokio::test(start_paused = true)]
async fn a_device_of_several_users_needs_the_user() {
    let stores = memory::stores();
    let node = node(&stores);
    let gateway = node.gateway();
    assert!(gateway.on_device(device(21), None).unwrap().is_none());
    let (_first, _) = live(&node, 2, 21, 0).await;
    let found = gateway.on_device(device(21), None).unwrap();
    assert_eq!(user_of(found.as_ref()), Some(user(2)));
    let (_second, _) = live(&node, 3, 21, 0).await;
    let refused = gateway.on_device(device(21), None).unwrap_err();
    assert!(
        refused.to_string().contains("2 users; set user_id"),
        "{refused}"
    );
    let found = gateway.on_device(device(21), Some(user(3))).unwrap();
    assert_eq!(user_of(found.as_ref()), Some(user(3)));
    assert!(
        gateway
            .on_device(device(21), Some(user(4)))
            .unwrap()
            .is_none()
    );
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn content_that_is_shown_is_bounded_as_in_a_send() {
    let stores = memory::stores();
    let node = node(&stores);
    let gateway = node.gateway();
    let (connection, _) = live(&node, 2, 21, 0).await;
    let most = gateway.limits().content;
    let show = |length| {
        let profile = UserProfile::default();
        gateway.show(connection.handle(), shown(length), profile)
    };
    assert_eq!(show(most), Ok(()));
    let refused = show(most + 1).unwrap_err().to_string();
    assert!(refused.starts_with("message_content is"), "{refused}");
    node.stop().await;
}
