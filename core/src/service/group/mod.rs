//! Groups: creation and reads. Changes are in `change`.

mod change;
mod plan;

use std::collections::BTreeMap;

use crate::business::UserInfo;
use crate::error::RequestRefusal;
use crate::events::{EventBody, EventKind, GroupEvent};
use crate::id::{GroupId, UserId};
use crate::message::MessageSender;
use crate::page::ListPage;
use crate::service::events::notify_written;
use crate::service::{GroupAdd, LogicService, check};
use crate::store::{Group, IdScope, Member, MemberRole, NewGroup};

/// The user that changes a group, with the request id of its call.
#[derive(Clone, Copy, Debug)]
pub struct GroupOperator {
    /// The user.
    pub user: UserId,
    /// gim's `request_id` metadata of the call, if present; the pushes of the change carry it.
    pub request_id: Option<i64>,
}

impl From<UserId> for GroupOperator {
    fn from(user: UserId) -> Self {
        let request_id = None;
        Self { user, request_id }
    }
}

/// A group to be created.
#[derive(Clone, Debug, Default)]
pub struct GroupDraft {
    /// The name.
    pub name: String,
    /// URL of the picture.
    pub avatar_url: String,
    /// The introduction.
    pub introduction: String,
    /// The business backend's own data.
    pub extra: String,
    /// The first members beside the creator; repeats, and the creator itself, are ignored.
    pub members: Vec<UserId>,
}

impl LogicService {
    /// Creates a group with the creator as its admin, without a push.
    pub async fn create_group(
        &self,
        creator: UserId,
        draft: GroupDraft,
    ) -> Result<GroupId, RequestRefusal> {
        check::name("name", &draft.name)?;
        let fields = [
            ("avatar_url", &draft.avatar_url, check::URL_MAX_BYTES),
            ("introduction", &draft.introduction, check::TEXT_MAX_BYTES),
            ("extra", &draft.extra, check::TEXT_MAX_BYTES),
        ];
        for (field, value, max) in fields {
            check::text(field, value, max)?;
        }
        let sender = MessageSender::User {
            user: creator,
            device: None,
        };
        self.take_rate(sender)?;
        let mut members: BTreeMap<UserId, MemberRole> = draft
            .members
            .into_iter()
            .map(|user| (user, MemberRole::Member))
            .collect();
        members.remove(&creator);
        plan::within(members.len() + 1, self.inner.limits.group_members)?;
        let others: Vec<UserId> = members.keys().copied().collect();
        self.may_add(creator, &others).await?;
        self.require_users(&others).await?;
        members.insert(creator, MemberRole::Admin);
        let stores = &self.inner.stores;
        let number = stores.seq.reserve(IdScope::Group, 1).await?;
        let id = GroupId::new(number).ok_or(RequestRefusal::Internal)?;
        let group = NewGroup {
            id,
            name: draft.name,
            avatar_url: draft.avatar_url,
            introduction: draft.introduction,
            extra: draft.extra,
            members: members.into_iter().collect(),
            at: self.inner.clock.now(),
        };
        let events = self.events_of(EventKind::GroupChanged, group.at, || EventBody::Group {
            group: id,
            version: 1,
            operator: Some(creator),
            change: GroupEvent::Created(group.members.iter().map(|(user, _)| *user).collect()),
        });
        stores.group.create(&group, &events).await?;
        notify_written(&events);
        Ok(id)
    }

    /// Returns the group to one of its members.
    pub async fn group(&self, caller: UserId, group: GroupId) -> Result<Group, RequestRefusal> {
        let found = self.inner.stores.group.get(group).await?;
        let found = found.ok_or(RequestRefusal::NoSuchGroup(group))?;
        self.require_member(caller, group).await?;
        Ok(found)
    }

    /// Returns up to `limit` groups of the user with an id above `after`, ascending.
    pub async fn groups_of(
        &self,
        user: UserId,
        after: Option<GroupId>,
        limit: usize,
    ) -> Result<ListPage<Group>, RequestRefusal> {
        let groups = &self.inner.stores.group;
        Ok(groups.groups_of(user, after, limit).await?)
    }

    /// Returns up to `limit` members of a group with an id above `after` to one of its members:
    /// ascending, each with the backend's user info if available.
    pub async fn members(
        &self,
        caller: UserId,
        group: GroupId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<ListPage<(Member, Option<UserInfo>)>, RequestRefusal> {
        self.require_member(caller, group).await?;
        let groups = &self.inner.stores.group;
        let page = groups.members(group, after, limit).await?;
        let ids: Vec<UserId> = page.items.iter().map(|member| member.user).collect();
        let people = self.inner.directory.people(&ids).await.unwrap_or_default();
        let with_info = page.items.into_iter().map(|member| {
            let info = people.get(&member.user).map(|person| person.info.clone());
            (member, info)
        });
        Ok(ListPage {
            items: with_info.collect(),
            more: page.more,
        })
    }

    async fn require_member(&self, caller: UserId, group: GroupId) -> Result<(), RequestRefusal> {
        let roster = self.inner.rosters.now(group).await?;
        plan::role(&roster, group, caller).map(|_| ())
    }

    /// Refuses if the caller may not add these users to a group. The daily limit keeps a user from
    /// reading all profiles through a group of all users.
    pub(super) async fn may_add(
        &self,
        caller: UserId,
        users: &[UserId],
    ) -> Result<(), RequestRefusal> {
        let inner = &self.inner;
        if inner.policy.group_add == GroupAdd::Friends {
            for &user in users {
                if !inner.stores.friend.are_friends(caller, user).await? {
                    return Err(RequestRefusal::bad(format!(
                        "user {user} is not your friend, and this server lets a user be added to \
                         groups by friends only; call AddFriend first"
                    )));
                }
            }
        }
        let count = u32::try_from(users.len()).unwrap_or(u32::MAX);
        let taken = inner.group_adds.take_many(caller, count);
        taken.map_err(|retry_after| RequestRefusal::RateLimited { retry_after })
    }

    /// Refuses with the first of these users that does not exist.
    async fn require_users(&self, users: &[UserId]) -> Result<(), RequestRefusal> {
        let people = self.inner.directory.people(users).await?;
        match users.iter().find(|user| !people.contains_key(user)) {
            Some(missing) => Err(RequestRefusal::NoSuchUser(*missing)),
            None => Ok(()),
        }
    }
}
