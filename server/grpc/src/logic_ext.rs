//! `LogicExt`: the clients' gRPC service of the logic role. Each method converts, calls the
//! service, and converts back.

use gimlet_core::message::MessageSender;
use gimlet_core::service::{GroupDraft, GroupOperator, LogicService};
use gimlet_core::store::{DeviceInfo, Friend, Group, GroupEdit, Member, MemberEdit};
use gimlet_proto::pb::logic_ext_server::LogicExt;
use gimlet_proto::pb::{self, Empty};
use tonic::{Request, Response, Status, async_trait};

use crate::convert;
use crate::guard::SignedInCaller;
use crate::list_pages;
use crate::status::status;

/// The clients' services of the logic role.
#[derive(Clone, Debug)]
pub(super) struct LogicExtService {
    service: LogicService,
}

impl LogicExtService {
    pub(super) const fn new(service: LogicService) -> Self {
        Self { service }
    }
}

fn empty() -> Response<Empty> {
    Response::new(Empty {})
}

impl SignedInCaller {
    const fn operator(self) -> GroupOperator {
        GroupOperator {
            user: self.user,
            request_id: self.request_id,
        }
    }
}

const fn sender(caller: SignedInCaller) -> MessageSender {
    MessageSender::User {
        user: caller.user,
        device: Some(caller.device),
    }
}

#[async_trait]
impl LogicExt for LogicExtService {
    async fn register_device(
        &self,
        request: Request<pb::RegisterDeviceReq>,
    ) -> Result<Response<pb::RegisterDeviceResp>, Status> {
        let from = request.remote_addr();
        let req = request.into_inner();
        let info = DeviceInfo {
            kind: req.r#type,
            brand: req.brand,
            model: req.model,
            system_version: req.system_version,
            sdk_version: req.sdk_version,
        };
        let device = self.service.register(from, &info).await;
        let device = device.map_err(status)?;
        Ok(Response::new(pb::RegisterDeviceResp {
            device_id: device.to_wire(),
        }))
    }

    async fn send_message(
        &self,
        request: Request<pb::SendMessageReq>,
    ) -> Result<Response<pb::SendMessageResp>, Status> {
        let caller = SignedInCaller::of(&request)?;
        let draft = convert::draft(request.into_inner(), caller.request_id).map_err(status)?;
        let sent = self
            .service
            .send(sender(caller), draft)
            .await
            .map_err(status)?;
        Ok(Response::new(convert::sent(&sent)))
    }

    async fn push_room(
        &self,
        request: Request<pb::PushRoomReq>,
    ) -> Result<Response<Empty>, Status> {
        let caller = SignedInCaller::of(&request)?;
        let draft = convert::room_draft(&request.into_inner()).map_err(status)?;
        self.service
            .push_room(sender(caller), draft)
            .await
            .map_err(status)?;
        Ok(empty())
    }

    async fn add_friend(
        &self,
        request: Request<pb::AddFriendReq>,
    ) -> Result<Response<Empty>, Status> {
        let caller = SignedInCaller::of(&request)?;
        let req = request.into_inner();
        let friend = convert::user("friend_id", req.friend_id).map_err(status)?;
        self.service
            .add_friend(caller.user, friend, req.remarks, req.description)
            .await
            .map_err(status)?;
        Ok(empty())
    }

    async fn agree_add_friend(
        &self,
        request: Request<pb::AgreeAddFriendReq>,
    ) -> Result<Response<Empty>, Status> {
        let caller = SignedInCaller::of(&request)?;
        let req = request.into_inner();
        let requester = convert::user("user_id", req.user_id).map_err(status)?;
        self.service
            .agree_friend(caller.user, requester, req.remarks)
            .await
            .map_err(status)?;
        Ok(empty())
    }

    async fn set_friend(
        &self,
        request: Request<pb::SetFriendReq>,
    ) -> Result<Response<pb::SetFriendResp>, Status> {
        let caller = SignedInCaller::of(&request)?;
        let req = request.into_inner();
        let friend = convert::user("friend_id", req.friend_id).map_err(status)?;
        let (remarks, extra) = (req.remarks.as_deref(), req.extra.as_deref());
        let kept = self
            .service
            .set_friend(caller.user, friend, remarks, extra)
            .await
            .map_err(status)?;
        Ok(Response::new(pb::SetFriendResp {
            friend_id: req.friend_id,
            remarks: kept.remarks,
            extra: kept.extra,
        }))
    }

    async fn get_friends(
        &self,
        request: Request<pb::GetFriendsReq>,
    ) -> Result<Response<pb::GetFriendsResp>, Status> {
        let caller = SignedInCaller::of(&request)?;
        let req = request.into_inner();
        let after = convert::after(req.after, convert::user).map_err(status)?;
        let read = |after, limit| self.service.friends(caller.user, after, limit);
        let convert = |friend: (Friend, _)| (friend.0.user, convert::friend(friend));
        let (friends, has_more) = list_pages::fill(after, req.limit, read, convert)
            .await
            .map_err(status)?;
        Ok(Response::new(pb::GetFriendsResp { friends, has_more }))
    }

    async fn create_group(
        &self,
        request: Request<pb::CreateGroupReq>,
    ) -> Result<Response<pb::CreateGroupResp>, Status> {
        let caller = SignedInCaller::of(&request)?;
        let req = request.into_inner();
        let draft = GroupDraft {
            name: req.name,
            avatar_url: req.avatar_url,
            introduction: req.introduction,
            extra: req.extra,
            members: convert::users("member_ids", &req.member_ids).map_err(status)?,
        };
        let group = self
            .service
            .create_group(caller.user, draft)
            .await
            .map_err(status)?;
        Ok(Response::new(pb::CreateGroupResp {
            group_id: group.to_wire(),
        }))
    }

    async fn update_group(
        &self,
        request: Request<pb::UpdateGroupReq>,
    ) -> Result<Response<Empty>, Status> {
        let caller = SignedInCaller::of(&request)?;
        let req = request.into_inner();
        let group = convert::group("group_id", req.group_id).map_err(status)?;
        let edit = GroupEdit {
            name: req.name,
            avatar_url: req.avatar_url,
            introduction: req.introduction,
            extra: req.extra,
        };
        self.service
            .update_group(caller.operator(), group, edit)
            .await
            .map_err(status)?;
        Ok(empty())
    }

    async fn get_group(
        &self,
        request: Request<pb::GetGroupReq>,
    ) -> Result<Response<pb::GetGroupResp>, Status> {
        let caller = SignedInCaller::of(&request)?;
        let req = request.into_inner();
        let group = convert::group("group_id", req.group_id).map_err(status)?;
        let found = self
            .service
            .group(caller.user, group)
            .await
            .map_err(status)?;
        Ok(Response::new(pb::GetGroupResp {
            group: Some(convert::group_info(found)),
        }))
    }

    async fn get_groups(
        &self,
        request: Request<pb::GetGroupsReq>,
    ) -> Result<Response<pb::GetGroupsResp>, Status> {
        let caller = SignedInCaller::of(&request)?;
        let req = request.into_inner();
        let after = convert::after(req.after, convert::group).map_err(status)?;
        let read = |after, limit| self.service.groups_of(caller.user, after, limit);
        let convert = |group: Group| (group.id, convert::group_info(group));
        let (groups, has_more) = list_pages::fill(after, req.limit, read, convert)
            .await
            .map_err(status)?;
        Ok(Response::new(pb::GetGroupsResp { groups, has_more }))
    }

    async fn add_group_members(
        &self,
        request: Request<pb::AddGroupMembersReq>,
    ) -> Result<Response<pb::AddGroupMembersResp>, Status> {
        let caller = SignedInCaller::of(&request)?;
        let req = request.into_inner();
        let group = convert::group("group_id", req.group_id).map_err(status)?;
        let users = convert::users("user_ids", &req.user_ids).map_err(status)?;
        let already = self
            .service
            .add_members(caller.operator(), group, &users)
            .await
            .map_err(status)?;
        let user_ids = already
            .into_iter()
            .map(gimlet_core::id::UserId::to_wire)
            .collect();
        Ok(Response::new(pb::AddGroupMembersResp { user_ids }))
    }

    async fn update_group_member(
        &self,
        request: Request<pb::UpdateGroupMemberReq>,
    ) -> Result<Response<Empty>, Status> {
        let caller = SignedInCaller::of(&request)?;
        let req = request.into_inner();
        let group = convert::group("group_id", req.group_id).map_err(status)?;
        let user = convert::user("user_id", req.user_id).map_err(status)?;
        let role = convert::role(req.member_type.unwrap_or_default()).map_err(status)?;
        let edit = MemberEdit {
            role,
            remarks: req.remarks,
            extra: req.extra,
        };
        self.service
            .update_member(caller.user, group, user, edit)
            .await
            .map_err(status)?;
        Ok(empty())
    }

    async fn delete_group_member(
        &self,
        request: Request<pb::DeleteGroupMemberReq>,
    ) -> Result<Response<Empty>, Status> {
        let caller = SignedInCaller::of(&request)?;
        let req = request.into_inner();
        let group = convert::group("group_id", req.group_id).map_err(status)?;
        let user = convert::user("user_id", req.user_id).map_err(status)?;
        self.service
            .remove_member(caller.operator(), group, user)
            .await
            .map_err(status)?;
        Ok(empty())
    }

    async fn get_group_members(
        &self,
        request: Request<pb::GetGroupMembersReq>,
    ) -> Result<Response<pb::GetGroupMembersResp>, Status> {
        let caller = SignedInCaller::of(&request)?;
        let req = request.into_inner();
        let group = convert::group("group_id", req.group_id).map_err(status)?;
        let after = convert::after(req.after, convert::user).map_err(status)?;
        let read = |after, limit| self.service.members(caller.user, group, after, limit);
        let convert = |member: (Member, _)| (member.0.user, convert::member(member));
        let (members, has_more) = list_pages::fill(after, req.limit, read, convert)
            .await
            .map_err(status)?;
        Ok(Response::new(pb::GetGroupMembersResp { members, has_more }))
    }
}
