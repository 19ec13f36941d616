//! Conversions between gim's gRPC messages and core's types: the only place of this crate that
//! makes ids from wire integers. Types that the sockets carry as well are converted in
//! `gimlet-transport`. A field with an impossible value is refused by its name, with the values
//! that would be right.

use std::collections::BTreeSet;

use gimlet_core::business::UserInfo;
use gimlet_core::envelope::Envelope;
use gimlet_core::error::RequestRefusal;
use gimlet_core::id::{DeviceId, GroupId, MessageId, RoomId, UserId};
use gimlet_core::message::{
    Message, MessageContent, MessageDraft, MessageReceiver, MessageSender, UnknownFields,
    UserProfile,
};
use gimlet_core::seq::Seq;
use gimlet_core::service::RoomDraft;
use gimlet_core::store::{Device, Friend, Group, Member, MemberRole, Route};
use gimlet_core::time::UnixTimestamp;
use gimlet_proto::pb;
use gimlet_transport::convert;

pub(super) use gimlet_transport::convert::{id, sent, seq};

pub(super) fn user(field: &str, raw: i64) -> Result<UserId, RequestRefusal> {
    id(field, raw, UserId::from_wire)
}

pub(super) fn users(field: &str, raw: &[i64]) -> Result<Vec<UserId>, RequestRefusal> {
    raw.iter().map(|&raw| user(field, raw)).collect()
}

pub(super) fn device(field: &str, raw: i64) -> Result<DeviceId, RequestRefusal> {
    id(field, raw, DeviceId::from_wire)
}

pub(super) fn group(field: &str, raw: i64) -> Result<GroupId, RequestRefusal> {
    id(field, raw, GroupId::from_wire)
}

/// Converts the id after which a page starts; 0 is the beginning.
pub(super) fn after<T>(
    raw: i64,
    id: impl FnOnce(&str, i64) -> Result<T, RequestRefusal>,
) -> Result<Option<T>, RequestRefusal> {
    (raw != 0).then(|| id("after", raw)).transpose()
}

/// Converts a send request.
pub(super) fn draft(
    req: pb::SendMessageReq,
    request_id: Option<i64>,
) -> Result<MessageDraft, RequestRefusal> {
    let draft = convert::draft(req)?;
    Ok(MessageDraft {
        request_id,
        ..draft
    })
}

/// Converts a room push.
pub(super) fn room_draft(req: &pb::PushRoomReq) -> Result<RoomDraft, RequestRefusal> {
    Ok(RoomDraft {
        room: id("room_id", req.room_id, RoomId::from_wire)?,
        mentions: Vec::new(),
        kind: req.message_type,
        content: MessageContent::copied_from(&req.message_content),
        persist: req.is_persist,
    })
}

pub(super) fn role(raw: i32) -> Result<Option<MemberRole>, RequestRefusal> {
    match pb::MemberType::try_from(raw) {
        Ok(pb::MemberType::GmtUnknown) => Ok(None),
        Ok(pb::MemberType::GmtAdmin) => Ok(Some(MemberRole::Admin)),
        Ok(pb::MemberType::GmtMember) => Ok(Some(MemberRole::Member)),
        Err(_) => Err(RequestRefusal::bad(format!(
            "member_type is {raw}; it is 1 for an admin or 2 for a member"
        ))),
    }
}

/// Converts an inbox entry as SYNC shows it: with the sender's present profile and without a
/// device.
pub(super) fn entry(seq: Seq, envelope: &Envelope) -> pb::Message {
    let mut message = convert::message(&envelope.message, &envelope.profile);
    message.seq = seq.to_wire();
    message.status = pb::MessageStatus::MsNormal.into();
    if let Some(sender) = &mut message.sender {
        sender.device_id = 0;
    }
    message
}

pub(super) fn friend((friend, info): (Friend, Option<UserInfo>)) -> pb::Friend {
    let (profile, sex) = info
        .map(|info| (info.profile, info.sex))
        .unwrap_or_default();
    pb::Friend {
        user_id: friend.user.to_wire(),
        phone_number: String::new(),
        nickname: profile.nickname,
        sex,
        avatar_url: profile.avatar_url,
        user_extra: profile.extra,
        remarks: friend.remarks,
        extra: friend.extra,
    }
}

pub(super) fn group_info(group: Group) -> pb::Group {
    pb::Group {
        group_id: group.id.to_wire(),
        name: group.name,
        avatar_url: group.avatar_url,
        introduction: group.introduction,
        user_mum: i32::try_from(group.members).unwrap_or(i32::MAX),
        extra: group.extra,
        create_time: group.created_at.seconds(),
        update_time: group.updated_at.seconds(),
    }
}

pub(super) fn member((member, info): (Member, Option<UserInfo>)) -> pb::GroupMember {
    let (profile, sex) = info
        .map(|info| (info.profile, info.sex))
        .unwrap_or_default();
    let role = match member.role {
        MemberRole::Admin => pb::MemberType::GmtAdmin,
        MemberRole::Member => pb::MemberType::GmtMember,
    };
    pb::GroupMember {
        user_id: member.user.to_wire(),
        nickname: profile.nickname,
        sex,
        avatar_url: profile.avatar_url,
        user_extra: profile.extra,
        member_type: role.into(),
        remarks: member.remarks,
        extra: member.extra,
    }
}

pub(super) fn user_info(info: UserInfo) -> pb::User {
    pb::User {
        user_id: info.user.to_wire(),
        nickname: info.profile.nickname,
        sex: info.sex,
        avatar_url: info.profile.avatar_url,
        extra: info.profile.extra,
        create_time: info.created_at.seconds(),
        update_time: info.updated_at.seconds(),
    }
}

pub(super) fn device_info(device: Device, route: Option<Route>) -> pb::Device {
    let status = i32::from(route.is_some());
    let (conn_addr, client_addr) = route
        .map(|route| (route.node.name, route.client))
        .unwrap_or_default();
    let client_addr = client_addr.map(|addr| addr.to_string());
    pb::Device {
        device_id: device.id.to_wire(),
        user_id: device.user.map_or(0, UserId::to_wire),
        r#type: device.info.kind,
        brand: device.info.brand,
        model: device.info.model,
        system_version: device.info.system_version,
        sdk_version: device.info.sdk_version,
        status,
        conn_addr,
        client_addr: client_addr.unwrap_or_default(),
        create_time: device.created_at.seconds(),
        update_time: device.updated_at.seconds(),
    }
}

/// Converts a message that is shown as it is, outside every inbox.
pub(super) fn live(message: pb::Message) -> Result<(Message, UserProfile), RequestRefusal> {
    let from = message.sender.unwrap_or_default();
    let sender = match pb::SenderType::try_from(from.sender_type) {
        Ok(pb::SenderType::StUser) => MessageSender::User {
            user: user("sender_id", from.sender_id)?,
            device: DeviceId::from_wire(from.device_id),
        },
        Ok(pb::SenderType::StBusiness) => MessageSender::Business,
        Ok(pb::SenderType::StSystem | pb::SenderType::StUnknown) | Err(_) => MessageSender::System,
    };
    let receiver = match pb::ReceiverType::try_from(message.receiver_type) {
        Ok(pb::ReceiverType::RtRoom) if message.receiver_id == 0 => MessageReceiver::Everyone,
        Ok(pb::ReceiverType::RtRoom) => {
            MessageReceiver::Room(id("receiver_id", message.receiver_id, RoomId::from_wire)?)
        }
        Ok(pb::ReceiverType::RtGroup) => {
            MessageReceiver::Group(group("receiver_id", message.receiver_id)?)
        }
        Ok(pb::ReceiverType::RtUser | pb::ReceiverType::RtUnknown) | Err(_) => {
            MessageReceiver::User(user("receiver_id", message.receiver_id)?)
        }
    };
    let profile = UserProfile {
        nickname: from.nickname,
        avatar_url: from.avatar_url,
        extra: from.extra,
    };
    let message = Message {
        id: MessageId::generate(),
        sender,
        receiver,
        mentions: users("to_user_ids", &message.to_user_ids)?,
        kind: message.message_type,
        content: MessageContent::copied_from(&message.message_content),
        sent_at: UnixTimestamp(message.send_time),
        unknown: UnknownFields::NONE,
    };
    Ok((message, profile))
}

/// Converts the keys of gim's user map, in order and without repeats.
pub(super) fn user_keys(raw: impl Iterator<Item = i64>) -> Result<Vec<UserId>, RequestRefusal> {
    let keys: BTreeSet<UserId> = raw
        .map(|raw| user("user_ids", raw))
        .collect::<Result<_, _>>()?;
    Ok(keys.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_field_is_named_with_what_is_right() {
        let refusal = |req: pb::SendMessageReq| draft(req, None).unwrap_err().to_string();
        let to = |receiver_type, receiver_id| pb::SendMessageReq {
            receiver_type,
            receiver_id,
            ..Default::default()
        };
        assert!(refusal(to(1, 0)).starts_with("receiver_id is 0; an id is from 1"));
        assert!(refusal(to(2, -5)).starts_with("receiver_id is -5"));
        assert!(refusal(to(3, 1)).contains("PushRoom"));
        assert!(refusal(to(0, 1)).starts_with("receiver_type is 0"));
        assert!(refusal(to(9, 1)).starts_with("receiver_type is 9"));
        let mentions = pb::SendMessageReq {
            to_user_ids: vec![1, 0],
            ..to(1, 1)
        };
        assert!(refusal(mentions).starts_with("to_user_ids is 0"));
        assert!(
            role(7)
                .unwrap_err()
                .to_string()
                .starts_with("member_type is 7")
        );
        assert!(
            seq("seq", -1)
                .unwrap_err()
                .to_string()
                .starts_with("seq is -1")
        );
    }

    /// Decodes the message from a buffer that is 250 KB longer.
    fn padded<M: prost::Message + Default>(message: &M) -> M {
        let mut buffer = message.encode_to_vec();
        // Field 2047, which is unknown to every version.
        buffer.extend_from_slice(&[0xfa, 0x7f, 0x90, 0xa1, 0x0f]);
        buffer.resize(buffer.len() + 250_000, 0);
        M::decode(bytes::Bytes::from(buffer)).unwrap()
    }

    fn capacity(content: MessageContent) -> usize {
        let content = content.0.try_into_mut().expect("nobody else has it");
        content.capacity()
    }

    #[test]
    fn a4_what_is_kept_of_a_padded_request_is_small() {
        let push = padded(&pb::PushRoomReq {
            room_id: 1,
            message_content: "x".into(),
            ..Default::default()
        });
        assert_eq!(capacity(room_draft(&push).unwrap().content), 1);
        let shown = padded(&pb::Message {
            receiver_type: 1,
            receiver_id: 1,
            message_content: "x".into(),
            ..Default::default()
        });
        assert_eq!(capacity(live(shown).unwrap().0.content), 1);
        let sent = padded(&pb::SendMessageReq {
            receiver_type: 1,
            receiver_id: 1,
            message_content: "x".into(),
            ..Default::default()
        });
        assert_eq!(capacity(draft(sent, None).unwrap().content), 1);
    }

    #[test]
    fn an_empty_client_message_id_is_none() {
        let req = pb::SendMessageReq {
            receiver_type: 1,
            receiver_id: 1,
            ..Default::default()
        };
        assert_eq!(draft(req.clone(), None).unwrap().client_id, None);
        let req = pb::SendMessageReq {
            client_message_id: "a".into(),
            ..req
        };
        assert_eq!(draft(req, None).unwrap().client_id.as_deref(), Some("a"));
    }
}
