//! Groups and their members.

use gimlet_core::business::UserInfo;
use gimlet_core::id::{GroupId, UserId};
use gimlet_core::scope::ApiScope;
use gimlet_core::service::GroupDraft;
use gimlet_core::store::{Group, GroupEdit, Member, MemberEdit, MemberRole};
use http::Method;

use crate::call::ApiCall;
use crate::json::{WholeNumber, choice, object};
use crate::lists::page_items;
use crate::message::rfc3339;
use crate::operation::{ApiOperation, NoContent, OperationAccess};
use crate::problem::ApiProblem;

/// Largest number of members that one request removes.
const MAX_REMOVED: usize = 500;

choice! {
    /// The rights of a member.
    GroupRole {
        /// May do everything.
        Admin = "admin",
        /// May send, read, add members, and leave.
        Member = "member",
    }
    expected "\"admin\" or \"member\""
}

impl From<MemberRole> for GroupRole {
    fn from(role: MemberRole) -> Self {
        match role {
            MemberRole::Admin => Self::Admin,
            MemberRole::Member => Self::Member,
        }
    }
}

impl From<GroupRole> for MemberRole {
    fn from(role: GroupRole) -> Self {
        match role {
            GroupRole::Admin => Self::Admin,
            GroupRole::Member => Self::Member,
        }
    }
}

object! {
    /// A group to create; the user becomes its admin.
    CreateGroup {
        /// The name.
        name: String,
        /// The picture.
        avatar_url: Option<String>,
        /// The introduction.
        introduction: Option<String>,
        /// The application's data.
        extra: Option<String>,
        /// The first members beside the user.
        member_ids: Option<Vec<UserId>>,
    }
}

object! {
    /// A created group.
    CreatedGroup {
        /// The group's id.
        group_id: GroupId,
    }
}

object! {
    /// The group that is meant.
    NamedGroup {
        /// The group.
        group_id: GroupId,
    }
}

object! {
    /// A group.
    GroupInfo {
        /// The group's id.
        group_id: GroupId,
        /// The name.
        name: String,
        /// The picture.
        avatar_url: String,
        /// The introduction.
        introduction: String,
        /// The application's data.
        extra: String,
        /// The number of members.
        members: WholeNumber,
        /// The time of creation (RFC 3339, UTC).
        created_at: String,
        /// The time of the last change (RFC 3339, UTC).
        updated_at: String,
    }
}

object! {
    /// A page of the user's groups.
    ListGroups {
        /// The group after which the page starts; by default it is the first page.
        after: Option<GroupId>,
        /// The number of groups, up to 500; by default 50.
        limit: Option<u32>,
    }
}

object! {
    /// Groups, ascending by id.
    GroupList {
        /// The groups.
        groups: Vec<GroupInfo>,
        /// True if the list goes on after the last of them.
        more: bool,
    }
}

object! {
    /// New values of a group; a field that is left out stays as it is.
    ChangeGroup {
        /// The group.
        group_id: GroupId,
        /// The name.
        name: Option<String>,
        /// The picture.
        avatar_url: Option<String>,
        /// The introduction.
        introduction: Option<String>,
        /// The application's data.
        extra: Option<String>,
    }
}

object! {
    /// A page of a group's members.
    ListMembers {
        /// The group.
        group_id: GroupId,
        /// The user after which the page starts; by default it is the first page.
        after: Option<UserId>,
        /// The number of members, up to 500; by default 50.
        limit: Option<u32>,
    }
}

object! {
    /// A member of a group.
    MemberInfo {
        /// The user.
        user_id: UserId,
        /// Its name.
        nickname: String,
        /// Its picture.
        avatar_url: String,
        /// The application's data of the user.
        user_extra: String,
        /// Its rights.
        role: GroupRole,
        /// The member's name in the group.
        remarks: String,
        /// The application's data of the member.
        extra: String,
    }
}

object! {
    /// Members, ascending by id.
    MemberList {
        /// The members.
        members: Vec<MemberInfo>,
        /// True if the list goes on after the last of them.
        more: bool,
    }
}

object! {
    /// Users to add to a group.
    AddMembers {
        /// The group.
        group_id: GroupId,
        /// The users.
        user_ids: Vec<UserId>,
    }
}

object! {
    /// Result of an addition.
    AddedMembers {
        /// The users that were members before.
        already: Vec<UserId>,
    }
}

object! {
    /// New values of a member; a field that is left out stays as it is.
    ChangeMember {
        /// The group.
        group_id: GroupId,
        /// The member.
        user_id: UserId,
        /// Its rights.
        role: Option<GroupRole>,
        /// The member's name in the group.
        remarks: Option<String>,
        /// The application's data of the member.
        extra: Option<String>,
    }
}

object! {
    /// The member that is meant.
    NamedMember {
        /// The group.
        group_id: GroupId,
        /// The member.
        user_id: UserId,
    }
}

object! {
    /// Members to remove from a group.
    RemoveMembers {
        /// The group.
        group_id: GroupId,
        /// The users, up to 500. One that is not a member is passed over.
        user_ids: Vec<UserId>,
    }
}

impl GroupInfo {
    fn of(group: Group) -> Self {
        Self {
            group_id: group.id,
            name: group.name,
            avatar_url: group.avatar_url,
            introduction: group.introduction,
            extra: group.extra,
            members: WholeNumber(group.members),
            created_at: rfc3339(group.created_at),
            updated_at: rfc3339(group.updated_at),
        }
    }
}

impl MemberInfo {
    fn of((member, info): (Member, Option<UserInfo>)) -> Self {
        let profile = info.map(|info| info.profile).unwrap_or_default();
        Self {
            user_id: member.user,
            nickname: profile.nickname,
            avatar_url: profile.avatar_url,
            user_extra: profile.extra,
            role: member.role.into(),
            remarks: member.remarks,
            extra: member.extra,
        }
    }
}

async fn create(call: ApiCall, input: CreateGroup) -> Result<CreatedGroup, ApiProblem> {
    let user = call.user()?;
    let group_id = create_for(&call, user, input).await?;
    Ok(CreatedGroup { group_id })
}

/// Creates a group with this user as its admin.
pub(crate) async fn create_for(
    call: &ApiCall,
    user: UserId,
    input: CreateGroup,
) -> Result<GroupId, ApiProblem> {
    let draft = GroupDraft {
        name: input.name,
        avatar_url: input.avatar_url.unwrap_or_default(),
        introduction: input.introduction.unwrap_or_default(),
        extra: input.extra.unwrap_or_default(),
        members: input.member_ids.unwrap_or_default(),
    };
    Ok(call.service()?.create_group(user, draft).await?)
}

async fn list(call: ApiCall, input: ListGroups) -> Result<GroupList, ApiProblem> {
    let (user, limit) = (call.user()?, page_items(input.limit)?);
    let service = call.reading(user)?;
    let page = service.groups_of(user, input.after, limit).await?;
    Ok(GroupList {
        groups: page.items.into_iter().map(GroupInfo::of).collect(),
        more: page.more,
    })
}

async fn get(call: ApiCall, input: NamedGroup) -> Result<GroupInfo, ApiProblem> {
    let user = call.user()?;
    let group = call.reading(user)?.group(user, input.group_id).await?;
    Ok(GroupInfo::of(group))
}

async fn change(call: ApiCall, input: ChangeGroup) -> Result<GroupInfo, ApiProblem> {
    let (user, service) = (call.user()?, call.service()?);
    let edit = GroupEdit {
        name: input.name,
        avatar_url: input.avatar_url,
        introduction: input.introduction,
        extra: input.extra,
    };
    service.update_group(user, input.group_id, edit).await?;
    let group = service.group(user, input.group_id).await?;
    Ok(GroupInfo::of(group))
}

async fn members(call: ApiCall, input: ListMembers) -> Result<MemberList, ApiProblem> {
    let (user, limit) = (call.user()?, page_items(input.limit)?);
    let service = call.reading(user)?;
    let page = service
        .members(user, input.group_id, input.after, limit)
        .await?;
    Ok(MemberList {
        members: page.items.into_iter().map(MemberInfo::of).collect(),
        more: page.more,
    })
}

async fn add(call: ApiCall, input: AddMembers) -> Result<AddedMembers, ApiProblem> {
    let user = call.user()?;
    let service = call.service()?;
    let already = service
        .add_members(user, input.group_id, &input.user_ids)
        .await?;
    Ok(AddedMembers { already })
}

async fn change_member(call: ApiCall, input: ChangeMember) -> Result<NoContent, ApiProblem> {
    let user = call.user()?;
    let edit = MemberEdit {
        role: input.role.map(MemberRole::from),
        remarks: input.remarks,
        extra: input.extra,
    };
    let service = call.service()?;
    service
        .update_member(user, input.group_id, input.user_id, edit)
        .await?;
    Ok(NoContent)
}

async fn remove(call: ApiCall, input: NamedMember) -> Result<NoContent, ApiProblem> {
    let user = call.user()?;
    let service = call.service()?;
    service
        .remove_member(user, input.group_id, input.user_id)
        .await?;
    Ok(NoContent)
}

async fn remove_members(call: ApiCall, input: RemoveMembers) -> Result<NoContent, ApiProblem> {
    let (user, service) = (call.user()?, call.service()?);
    if input.user_ids.len() > MAX_REMOVED {
        let count = input.user_ids.len();
        let detail = format!("user_ids has {count} users; it must have at most {MAX_REMOVED}");
        return Err(ApiProblem::field("user_ids", detail));
    }
    for (at, member) in input.user_ids.into_iter().enumerate() {
        let removed = service.remove_member(user, input.group_id, member).await;
        removed.map_err(|refusal| ApiProblem::from(refusal).inside(format!("user_ids[{at}]")))?;
    }
    Ok(NoContent)
}

/// Returns the operations of this module.
pub(crate) fn operations() -> Vec<ApiOperation> {
    vec![
        ApiOperation::new(
            Method::POST,
            "/groups",
            OperationAccess::User(ApiScope::GroupsWrite),
            "createGroup",
            "Creates a group.",
            create,
        ),
        ApiOperation::new(
            Method::GET,
            "/groups",
            OperationAccess::User(ApiScope::GroupsRead),
            "listGroups",
            "Returns the groups that the user is a member of.",
            list,
        ),
        ApiOperation::new(
            Method::GET,
            "/groups/{group_id}",
            OperationAccess::User(ApiScope::GroupsRead),
            "getGroup",
            "Returns a group, to its members.",
            get,
        )
        .cacheable(),
        ApiOperation::new(
            Method::PATCH,
            "/groups/{group_id}",
            OperationAccess::User(ApiScope::GroupsWrite),
            "changeGroup",
            "Changes a group; its members get a message.",
            change,
        ),
        ApiOperation::new(
            Method::GET,
            "/groups/{group_id}/members",
            OperationAccess::User(ApiScope::GroupsRead),
            "listMembers",
            "Returns the members of a group, to its members.",
            members,
        ),
        ApiOperation::new(
            Method::POST,
            "/groups/{group_id}/members",
            OperationAccess::User(ApiScope::GroupsWrite),
            "addMembers",
            "Adds users to a group; its members get a message.",
            add,
        ),
        ApiOperation::new(
            Method::PATCH,
            "/groups/{group_id}/members/{user_id}",
            OperationAccess::User(ApiScope::GroupsWrite),
            "changeMember",
            "Changes a member of a group.",
            change_member,
        ),
        ApiOperation::new(
            Method::DELETE,
            "/groups/{group_id}/members/{user_id}",
            OperationAccess::User(ApiScope::GroupsWrite),
            "removeMember",
            "Removes a member from a group; the members and the removed one get a message.",
            remove,
        ),
        ApiOperation::new(
            Method::POST,
            "/groups/{group_id}/members/remove",
            OperationAccess::User(ApiScope::GroupsWrite),
            "removeMembers",
            "Removes members from a group, one after the other. A request that was refused halfway may \
             be repeated.",
            remove_members,
        ),
    ]
}
