//! Contents of messages: JSON objects into gim's bytes and back.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gimlet_proto::pb::{self, MessageType, PushCode};
use prost::Message as _;
use serde_json::{Value, json};

use super::fields::{number, text};
use super::frames::untranslatable;

/// Writes a content as JSON: a text as one, anything else as its bytes.
pub(super) fn to_json(kind: i32, content: &[u8]) -> Value {
    let text = pb::Text::decode(content).ok();
    match text.filter(|it| kind == MessageType::MtText as i32 && it.encode_to_vec() == content) {
        Some(pb::Text { text }) => json!({"type": "text", "text": text}),
        None => json!({"type": "bytes", "kind": kind, "data": STANDARD.encode(content)}),
    }
}

/// Reads a content: its kind and its bytes.
pub(super) fn from_json(content: &Value) -> io::Result<(i32, Vec<u8>)> {
    let field = |name: &str| text(content, name);
    let id = |name: &str| number(content, name);
    let data = || STANDARD.decode(field("data")).map_err(io::Error::other);
    let known = |kind: MessageType, message: Vec<u8>| Ok((kind.into(), message));
    let push = |code: PushCode, data: Vec<u8>| {
        let command = pb::Command {
            code: code.into(),
            data: data.into(),
        };
        Ok((MessageType::MtCommand.into(), command.encode_to_vec()))
    };
    match &*field("type") {
        "text" => {
            let text = pb::Text {
                text: field("text"),
            };
            known(MessageType::MtText, text.encode_to_vec())
        }
        "custom" => {
            let custom = pb::Custom {
                data: field("data"),
            };
            known(MessageType::MtCustom, custom.encode_to_vec())
        }
        "command" => {
            let command = pb::Command {
                code: small(content, "code"),
                data: data()?.into(),
            };
            known(MessageType::MtCommand, command.encode_to_vec())
        }
        "bytes" => Ok((small(content, "kind"), data()?)),
        "friend_requested" => {
            let it = pb::AddFriendPush {
                friend_id: id("user_id")?,
                nickname: field("nickname"),
                avatar_url: field("avatar_url"),
                description: field("description"),
            };
            push(PushCode::PcAddFriend, it.encode_to_vec())
        }
        "friend_accepted" => {
            let it = pb::AgreeAddFriendPush {
                friend_id: id("user_id")?,
                nickname: field("nickname"),
                avatar_url: field("avatar_url"),
            };
            push(PushCode::PcAgreeAddFriend, it.encode_to_vec())
        }
        "group_updated" => {
            let it = pb::UpdateGroupPush {
                opt_id: id("operator_id")?,
                opt_name: field("operator_name"),
                name: field("name"),
                avatar_url: field("avatar_url"),
                introduction: field("introduction"),
                extra: field("extra"),
            };
            push(PushCode::PcUpdateGroup, it.encode_to_vec())
        }
        "group_members_added" => {
            let users = content.get("user_ids").and_then(Value::as_array);
            let members = users.into_iter().flatten().map(|user| {
                let user_id = user.as_str().and_then(|it| it.parse().ok());
                pb::GroupMember {
                    user_id: user_id.unwrap_or_default(),
                    ..pb::GroupMember::default()
                }
            });
            let it = pb::AddGroupMembersPush {
                opt_id: id("operator_id")?,
                opt_name: field("operator_name"),
                members: members.collect(),
            };
            push(PushCode::PcAddGroupMembers, it.encode_to_vec())
        }
        "group_member_removed" => {
            let it = pb::RemoveGroupMemberPush {
                opt_id: id("operator_id")?,
                opt_name: field("operator_name"),
                deleted_user_id: id("user_id")?,
            };
            push(PushCode::PcRemoveGroupMember, it.encode_to_vec())
        }
        _ => Err(untranslatable(content)),
    }
}

fn small(content: &Value, name: &str) -> i32 {
    let number = content.get(name).and_then(Value::as_i64);
    number.and_then(|it| it.try_into().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_come_back() {
        for (kind, bytes) in [(1, &b"\x0a\x02hi"[..]), (1, b"?"), (99, b"\xff"), (1, b"")] {
            let json = to_json(kind, bytes);
            assert_eq!(from_json(&json).unwrap(), (kind, bytes.to_vec()), "{json}");
        }
        assert!(from_json(&json!({"type": "hologram"})).is_err());
    }
}
