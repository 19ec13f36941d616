//! Bodies of requests: notifications as JSON.

use std::fmt::Write as _;

use bytes::Bytes;
use gimlet_core::events::GroupEvent;
use gimlet_core::hook_delivery::{HookNotification, NotificationBody};
use gimlet_core::id::{GroupId, UserId};
use gimlet_json::{message_text, rfc3339};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Builder;

/// Bytes of a body; the notification that passes them is its last.
const MAX_BODY_BYTES: usize = 1 << 20;

/// A body with the id of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedBody {
    /// The id: that of the notification, or one made of those of all notifications, so that a repeat
    /// has the same id only if it has the same content.
    pub(crate) id: String,
    /// The JSON text.
    pub(crate) text: Bytes,
}

/// Writes notifications as `{"events":[…]}`, in as few bodies as their size allows.
pub(crate) fn bodies(notifications: &[HookNotification]) -> Vec<SignedBody> {
    let mut bodies = Vec::new();
    let (mut text, mut ids) = (String::new(), Vec::new());
    for notification in notifications {
        text.push_str(if ids.is_empty() {
            r#"{"events":["#
        } else {
            ","
        });
        put_event(&mut text, notification);
        ids.push(notification.id.as_str());
        if text.len() >= MAX_BODY_BYTES {
            bodies.push(finish(std::mem::take(&mut text), &ids));
            ids.clear();
        }
    }
    if !ids.is_empty() {
        bodies.push(finish(text, &ids));
    }
    bodies
}

fn finish(mut text: String, ids: &[&str]) -> SignedBody {
    text.push_str("]}");
    let id = match ids {
        [id] => (*id).to_owned(),
        ids => id_of(ids),
    };
    SignedBody {
        id,
        text: text.into(),
    }
}

fn id_of(ids: &[&str]) -> String {
    let mut hash = Sha256::new();
    for id in ids {
        hash.update(id.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(digest) {
        *to = from;
    }
    Builder::from_custom_bytes(id).into_uuid().to_string()
}

fn put_event(text: &mut String, notification: &HookNotification) {
    let HookNotification { id, at, body } = notification;
    let (name, time) = (body.name(), rfc3339(*at));
    let _ = write!(
        text,
        r#"{{"id":"{id}","type":"{name}","time":"{time}","data":"#
    );
    put_data(text, body);
    text.push('}');
}

fn put_data(text: &mut String, body: &NotificationBody) {
    let data = match body {
        NotificationBody::MessageCreated(envelope) => {
            let _ = write!(text, r#"{{"message":{}}}"#, message_text(envelope));
            return;
        }
        NotificationBody::MessageOffline { user, messages } => {
            // A message to a group is written once and copied for each of its recipients.
            let _ = write!(text, r#"{{"user_id":"{}","messages":["#, user.get());
            for (at, envelope) in messages.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                text.push_str(message_text(envelope));
            }
            text.push_str("]}");
            return;
        }
        NotificationBody::RoomMessage { envelope, seq } => {
            let message = message_text(envelope);
            let _ = write!(text, r#"{{"seq":"{}","message":{message}}}"#, seq.get());
            return;
        }
        NotificationBody::GroupChanged {
            group,
            version,
            operator,
            change,
        } => group_data(*group, *version, *operator, change),
        NotificationBody::FriendRequested {
            user,
            friend,
            description,
        } => json!({
            "user_id": id_text(*user),
            "friend_id": id_text(*friend),
            "description": description,
        }),
        NotificationBody::FriendAccepted { user, friend } => json!({
            "user_id": id_text(*user),
            "friend_id": id_text(*friend),
        }),
        NotificationBody::UserOnline(user) | NotificationBody::UserOffline(user) => {
            json!({"user_id": id_text(*user)})
        }
        NotificationBody::Test => json!({"text": "a test by the operator of gimlet"}),
    };
    let _ = write!(text, "{data}");
}

fn group_data(
    group: GroupId,
    version: u64,
    operator: Option<UserId>,
    change: &GroupEvent,
) -> Value {
    let mut data = Map::new();
    data.insert("group_id".into(), group.get().to_string().into());
    data.insert("version".into(), version.to_string().into());
    if let Some(operator) = operator {
        data.insert("operator_id".into(), id_text(operator));
    }
    let (name, fields) = match change {
        GroupEvent::Created(users) => ("created", users_field(users)),
        GroupEvent::Edited {
            name,
            avatar_url,
            introduction,
            extra,
        } => {
            let fields = given(&[
                ("name", name),
                ("avatar_url", avatar_url),
                ("introduction", introduction),
                ("extra", extra),
            ]);
            ("edited", fields)
        }
        GroupEvent::Added(users) => ("members_added", users_field(users)),
        GroupEvent::Removed(user) => ("member_removed", json!({"user_id": id_text(*user)})),
        GroupEvent::MemberEdited {
            user,
            admin,
            remarks,
            extra,
        } => {
            let role = admin.map(|admin| if admin { "admin" } else { "member" });
            let fields = given(&[
                ("user_id", &Some(user.get().to_string())),
                ("role", &role.map(str::to_owned)),
                ("remarks", remarks),
                ("extra", extra),
            ]);
            ("member_edited", fields)
        }
    };
    data.insert("change".into(), name.into());
    if let Value::Object(fields) = fields {
        data.extend(fields);
    }
    Value::Object(data)
}

fn users_field(users: &[UserId]) -> Value {
    let users: Vec<_> = users.iter().copied().map(id_text).collect();
    json!({"user_ids": users})
}

/// Returns an object of those fields that are set.
fn given(fields: &[(&str, &Option<String>)]) -> Value {
    let set = fields.iter().filter_map(|(name, value)| {
        let value = value.as_ref()?;
        Some(((*name).to_owned(), Value::from(value.as_str())))
    });
    Value::Object(set.collect())
}

fn id_text(user: UserId) -> Value {
    user.get().to_string().into()
}

#[cfg(test)]
mod tests;
