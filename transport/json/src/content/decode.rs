//! Stored contents into their JSON form.

use gimlet_core::message::MessageContent;
use gimlet_proto::pb::{self, MessageType, PushCode};

use super::{
    Base64Bytes, BytesContent, CommandContent, CustomContent, FaceContent, FileContent,
    FriendAccepted, FriendRequested, GroupUpdated, ImageContent, JsonContent, LocationContent,
    MemberRemoved, MembersAdded, TextContent, VoiceContent,
};
use crate::values::WholeNumber;

impl JsonContent {
    /// Converts from gim's kind of content and its bytes.
    #[must_use]
    pub fn decode(kind: i32, content: &MessageContent) -> Self {
        let known = MessageType::try_from(kind)
            .ok()
            .and_then(|it| known(it, &content.0));
        known.unwrap_or_else(|| {
            Self::Bytes(BytesContent {
                kind,
                data: Base64Bytes(content.0.to_vec()),
            })
        })
    }
}

/// Returns a number of the wire if it can be shown as one without a sign.
fn number(raw: i64) -> Option<WholeNumber> {
    u64::try_from(raw).ok().map(WholeNumber)
}

/// Leaves out a number that was not set.
fn set(number: WholeNumber) -> Option<WholeNumber> {
    Some(number).filter(|it| it.0 != 0)
}

fn text(text: String) -> Option<String> {
    Some(text).filter(|it| !it.is_empty())
}

fn nonzero(number: i32) -> Option<i32> {
    Some(number).filter(|it| *it != 0)
}

/// Decodes bytes that are exactly what encoding the message gives again. Others carry fields that the
/// JSON form would lose.
fn exact<M: prost::Message + Default>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    (message.encode_to_vec() == bytes).then_some(message)
}

fn known(kind: MessageType, bytes: &[u8]) -> Option<JsonContent> {
    Some(match kind {
        MessageType::MtText => {
            let pb::Text { text } = exact(bytes)?;
            JsonContent::Text(TextContent { text })
        }
        MessageType::MtFace => {
            let pb::Face { face_id, face_url } = exact(bytes)?;
            JsonContent::Face(FaceContent {
                face_id: set(number(face_id)?),
                face_url: text(face_url),
            })
        }
        MessageType::MtVoice => {
            let it: pb::Voice = exact(bytes)?;
            JsonContent::Voice(VoiceContent {
                id: text(it.id),
                size: nonzero(it.size),
                duration: nonzero(it.duration),
                url: text(it.url),
            })
        }
        MessageType::MtImage => {
            let it: pb::Image = exact(bytes)?;
            JsonContent::Image(ImageContent {
                id: text(it.id),
                width: nonzero(it.width),
                height: nonzero(it.height),
                url: text(it.url),
                thumbnail_url: text(it.thumbnail_url),
            })
        }
        MessageType::MtFile => {
            let it: pb::File = exact(bytes)?;
            JsonContent::File(FileContent {
                id: set(number(it.id)?),
                name: text(it.name),
                size: set(number(it.size)?),
                url: text(it.url),
            })
        }
        MessageType::MtLocation => {
            let it: pb::Location = exact(bytes)?;
            // JSON has neither infinity nor NaN.
            let is_finite = it.latitude.is_finite() && it.longitude.is_finite();
            is_finite.then_some(JsonContent::Location(LocationContent {
                desc: text(it.desc),
                latitude: Some(it.latitude),
                longitude: Some(it.longitude),
            }))?
        }
        MessageType::MtCommand => {
            let pb::Command { code, data } = exact(bytes)?;
            push(code, &data).unwrap_or_else(|| {
                JsonContent::Command(CommandContent {
                    code,
                    data: Some(Base64Bytes(data.to_vec())).filter(|it| !it.0.is_empty()),
                })
            })
        }
        MessageType::MtCustom => {
            let pb::Custom { data } = exact(bytes)?;
            JsonContent::Custom(CustomContent { data })
        }
        MessageType::MtUnknown => return None,
    })
}

/// Decodes a message of the system itself.
fn push(code: i32, data: &[u8]) -> Option<JsonContent> {
    Some(match PushCode::try_from(code).ok()? {
        PushCode::PcAddDefault => return None,
        PushCode::PcAddFriend => {
            let it: pb::AddFriendPush = exact(data)?;
            JsonContent::FriendRequested(FriendRequested {
                user_id: number(it.friend_id)?,
                nickname: it.nickname,
                avatar_url: it.avatar_url,
                description: it.description,
            })
        }
        PushCode::PcAgreeAddFriend => {
            let it: pb::AgreeAddFriendPush = exact(data)?;
            JsonContent::FriendAccepted(FriendAccepted {
                user_id: number(it.friend_id)?,
                nickname: it.nickname,
                avatar_url: it.avatar_url,
            })
        }
        PushCode::PcUpdateGroup => {
            let it: pb::UpdateGroupPush = exact(data)?;
            JsonContent::GroupUpdated(GroupUpdated {
                operator_id: number(it.opt_id)?,
                operator_name: it.opt_name,
                name: it.name,
                avatar_url: it.avatar_url,
                introduction: it.introduction,
                extra: it.extra,
            })
        }
        PushCode::PcAddGroupMembers => {
            let it: pb::AddGroupMembersPush = exact(data)?;
            let users = it.members.iter().map(|member| number(member.user_id));
            JsonContent::MembersAdded(MembersAdded {
                operator_id: number(it.opt_id)?,
                operator_name: it.opt_name,
                user_ids: users.collect::<Option<_>>()?,
            })
        }
        PushCode::PcRemoveGroupMember => {
            let it: pb::RemoveGroupMemberPush = exact(data)?;
            JsonContent::MemberRemoved(MemberRemoved {
                operator_id: number(it.opt_id)?,
                operator_name: it.opt_name,
                user_id: number(it.deleted_user_id)?,
            })
        }
    })
}
