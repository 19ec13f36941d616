//! Encodes gim's system pushes as protobuf, which core does not know.

use bytes::Bytes;
use gimlet_core::business::UserInfo;
use gimlet_core::service::{PushCodec, SystemPush};
use gimlet_proto::pb;
use prost::Message;

/// Encodes system pushes as gim does: a `Command` with the push inside.
#[derive(Clone, Copy, Debug, Default)]
pub struct WirePushCodec;

impl PushCodec for WirePushCodec {
    fn encode(&self, push: &SystemPush) -> (i32, Bytes) {
        let command = pb::Command {
            code: push.code(),
            data: data(push.clone()).into(),
        };
        (
            pb::MessageType::MtCommand.into(),
            command.encode_to_vec().into(),
        )
    }
}

fn data(push: SystemPush) -> Vec<u8> {
    match push {
        SystemPush::AddFriend {
            user,
            nickname,
            avatar_url,
            description,
        } => pb::AddFriendPush {
            friend_id: user.to_wire(),
            nickname,
            avatar_url,
            description,
        }
        .encode_to_vec(),
        SystemPush::AgreeAddFriend {
            user,
            nickname,
            avatar_url,
        } => pb::AgreeAddFriendPush {
            friend_id: user.to_wire(),
            nickname,
            avatar_url,
        }
        .encode_to_vec(),
        SystemPush::UpdateGroup {
            operator,
            operator_name,
            name,
            avatar_url,
            introduction,
            extra,
        } => pb::UpdateGroupPush {
            opt_id: operator.to_wire(),
            opt_name: operator_name,
            name,
            avatar_url,
            introduction,
            extra,
        }
        .encode_to_vec(),
        SystemPush::AddGroupMembers {
            operator,
            operator_name,
            members,
        } => pb::AddGroupMembersPush {
            opt_id: operator.to_wire(),
            opt_name: operator_name,
            members: members.into_iter().map(member).collect(),
        }
        .encode_to_vec(),
        SystemPush::RemoveGroupMember {
            operator,
            operator_name,
            removed,
        } => pb::RemoveGroupMemberPush {
            opt_id: operator.to_wire(),
            opt_name: operator_name,
            deleted_user_id: removed.to_wire(),
        }
        .encode_to_vec(),
    }
}

/// Returns a member as gim shows it in a push: profile fields only.
fn member(info: UserInfo) -> pb::GroupMember {
    pb::GroupMember {
        user_id: info.user.to_wire(),
        nickname: info.profile.nickname,
        sex: info.sex,
        avatar_url: info.profile.avatar_url,
        user_extra: info.profile.extra,
        ..pb::GroupMember::default()
    }
}

#[cfg(test)]
mod tests {
    use gimlet_core::id::UserId;

    use super::*;

    #[test]
    fn a_push_is_a_command_with_its_data() {
        let push = SystemPush::AddFriend {
            user: UserId::new(2).unwrap(),
            nickname: "Alice".into(),
            avatar_url: String::new(),
            description: "it is me".into(),
        };
        let (kind, content) = WirePushCodec.encode(&push);
        assert_eq!(kind, 7);
        let command = pb::Command::decode(content).unwrap();
        assert_eq!(command.code, 100);
        let data = pb::AddFriendPush::decode(command.data).unwrap();
        assert_eq!((data.friend_id, data.description.as_str()), (2, "it is me"));
    }
}
