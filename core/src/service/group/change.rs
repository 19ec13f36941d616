//! Changes of groups. A change and its pushes are one step of the store; if the group has changed
//! meanwhile, they are planned again. After the step the pushes are delivered live.

use std::sync::Arc;

use crate::business::UserInfo;
use crate::error::RequestRefusal;
use crate::events::{EventBody, EventKind};
use crate::id::{GroupId, UserId};
use crate::message::{MessageReceiver, MessageSender};
use crate::service::events::{group_event, notify_written};
use crate::service::push::{SystemPush, append};
use crate::service::{LogicService, check};
use crate::store::{AppendRequest, GroupChange, GroupChangeOutcome, GroupEdit, MemberEdit, Roster};

use super::{GroupOperator, plan};

/// Attempts to apply a change while the group changes concurrently.
const MAX_PLAN_ATTEMPTS: usize = 16;

/// A planned change with its pushes and their recipients.
#[derive(Debug)]
struct PlannedChange {
    change: GroupChange,
    pushes: Vec<SystemPush>,
    to: Arc<[UserId]>,
    /// The user that makes the change.
    operator: UserId,
}

impl LogicService {
    /// Sets fields of the group and notifies its members; `None` leaves a field unchanged.
    pub async fn update_group(
        &self,
        caller: impl Into<GroupOperator>,
        group: GroupId,
        edit: GroupEdit,
    ) -> Result<(), RequestRefusal> {
        let GroupOperator {
            user: caller,
            request_id,
        } = caller.into();
        check::name_if("name", edit.name.as_deref())?;
        check::text_if(
            "avatar_url",
            edit.avatar_url.as_deref(),
            check::URL_MAX_BYTES,
        )?;
        check::text_if(
            "introduction",
            edit.introduction.as_deref(),
            check::TEXT_MAX_BYTES,
        )?;
        check::text_if("extra", edit.extra.as_deref(), check::TEXT_MAX_BYTES)?;
        self.take_rate(sender(caller))?;
        let operator_name = self.name_of(caller).await;
        for _ in 0..MAX_PLAN_ATTEMPTS {
            let roster = self.inner.rosters.now(group).await?;
            let Some(change) = plan::edit(&roster, group, caller, &edit)? else {
                return Ok(());
            };
            let now = self.inner.stores.group.get(group).await?;
            let now = now.ok_or(RequestRefusal::NoSuchGroup(group))?;
            let push = SystemPush::UpdateGroup {
                operator: caller,
                operator_name: operator_name.clone(),
                name: edit.name.clone().unwrap_or(now.name),
                avatar_url: edit.avatar_url.clone().unwrap_or(now.avatar_url),
                introduction: edit.introduction.clone().unwrap_or(now.introduction),
                extra: edit.extra.clone().unwrap_or(now.extra),
            };
            let step = PlannedChange {
                change,
                pushes: vec![push],
                to: everyone(&roster, &[]),
                operator: caller,
            };
            if self.change(group, &roster, step, request_id).await? {
                return Ok(());
            }
        }
        Err(RequestRefusal::Unavailable)
    }

    /// Adds members and notifies all members, including the new ones; returns the users that were
    /// members before.
    pub async fn add_members(
        &self,
        caller: impl Into<GroupOperator>,
        group: GroupId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, RequestRefusal> {
        let GroupOperator {
            user: caller,
            request_id,
        } = caller.into();
        let max = self.inner.limits.group_members;
        plan::within(users.len(), max)?;
        self.take_rate(sender(caller))?;
        let operator_name = self.name_of(caller).await;
        let mut counted = false;
        for _ in 0..MAX_PLAN_ATTEMPTS {
            let roster = self.inner.rosters.now(group).await?;
            let (new, already) = plan::add(&roster, group, caller, users, max)?;
            if new.is_empty() {
                return Ok(already);
            }
            // Counted once: another attempt after a concurrent change is still the same request.
            if !counted {
                self.may_add(caller, &new).await?;
                counted = true;
            }
            let people = self.inner.directory.people(&new).await?;
            let mut members: Vec<UserInfo> = Vec::with_capacity(new.len());
            for user in &new {
                let person = people.get(user).ok_or(RequestRefusal::NoSuchUser(*user))?;
                // The truncated profile: a push with one member always fits the content limit.
                members.push(UserInfo {
                    profile: (*person.profile).clone(),
                    ..person.info.clone()
                });
            }
            let push = |members: &[UserInfo]| SystemPush::AddGroupMembers {
                operator: caller,
                operator_name: operator_name.clone(),
                members: members.to_vec(),
            };
            let mut pushes = Vec::new();
            self.split_pushes(&members, &push, &mut pushes);
            let step = PlannedChange {
                to: everyone(&roster, &new),
                change: GroupChange::Add(new),
                pushes,
                operator: caller,
            };
            if self.change(group, &roster, step, request_id).await? {
                return Ok(already);
            }
        }
        Err(RequestRefusal::Unavailable)
    }

    /// Removes a member and notifies all members and the removed one. Does nothing for a user that
    /// is not a member.
    pub async fn remove_member(
        &self,
        caller: impl Into<GroupOperator>,
        group: GroupId,
        user: UserId,
    ) -> Result<(), RequestRefusal> {
        let GroupOperator {
            user: caller,
            request_id,
        } = caller.into();
        self.take_rate(sender(caller))?;
        let push = SystemPush::RemoveGroupMember {
            operator: caller,
            operator_name: self.name_of(caller).await,
            removed: user,
        };
        for _ in 0..MAX_PLAN_ATTEMPTS {
            let roster = self.inner.rosters.now(group).await?;
            let Some(change) = plan::remove(&roster, group, caller, user)? else {
                return Ok(());
            };
            let step = PlannedChange {
                change,
                pushes: vec![push.clone()],
                to: everyone(&roster, &[]),
                operator: caller,
            };
            if self.change(group, &roster, step, request_id).await? {
                return Ok(());
            }
        }
        Err(RequestRefusal::Unavailable)
    }

    /// Sets fields of a member, without a push.
    pub async fn update_member(
        &self,
        caller: UserId,
        group: GroupId,
        user: UserId,
        edit: MemberEdit,
    ) -> Result<(), RequestRefusal> {
        check::name_if("remarks", edit.remarks.as_deref())?;
        check::text_if("extra", edit.extra.as_deref(), check::TEXT_MAX_BYTES)?;
        self.take_rate(sender(caller))?;
        for _ in 0..MAX_PLAN_ATTEMPTS {
            let roster = self.inner.rosters.now(group).await?;
            let Some(change) = plan::edit_member(&roster, group, caller, user, &edit)? else {
                return Ok(());
            };
            let step = PlannedChange {
                change,
                pushes: Vec::new(),
                to: Arc::from([]),
                operator: caller,
            };
            if self.change(group, &roster, step, None).await? {
                return Ok(());
            }
        }
        Err(RequestRefusal::Unavailable)
    }

    /// Makes one attempt, which is completed even if the caller goes away; returns `false` if the
    /// group has changed meanwhile.
    async fn change(
        &self,
        group: GroupId,
        roster: &Roster,
        step: PlannedChange,
        request_id: Option<i64>,
    ) -> Result<bool, RequestRefusal> {
        let (this, expected) = (self.clone(), roster.version);
        self.complete(async move {
            let PlannedChange {
                change,
                pushes,
                to,
                operator,
            } = step;
            let at = this.inner.clock.now();
            let receiver = MessageReceiver::Group(group);
            let pushes: Vec<AppendRequest> = (pushes.iter())
                .map(|push| append(&*this.inner.codec, push, receiver, Arc::clone(&to), at))
                .collect();
            let events = this.events_of(EventKind::GroupChanged, at, || EventBody::Group {
                group,
                version: expected.0 + 1,
                operator: Some(operator),
                change: group_event(&change),
            });
            let groups = &this.inner.stores.group;
            let changed = groups
                .update(group, expected, &change, &pushes, &events, at)
                .await;
            // The cached roster is dropped before the answer and before the pushes, and also after
            // a fault, because the change may have taken place: the next send of this node must not
            // use the old roster.
            this.inner.rosters.forget(group).await;
            // A change with an unknown outcome may have left a job for its pushes: the runner looks
            // for it now and not at its next sweep.
            if changed.is_err() {
                this.inner.jobs.wake(group);
            }
            match changed? {
                GroupChangeOutcome::Done { pushes: done, .. } => {
                    notify_written(&events);
                    this.deliver_pushes(&pushes, done, request_id).await;
                    Ok(true)
                }
                GroupChangeOutcome::Stale => Ok(false),
            }
        })
        .await
    }

    /// Makes pushes for these members, in order, each within the limit of a message's content.
    /// Splits the list in halves until each part fits.
    fn split_pushes(
        &self,
        members: &[UserInfo],
        push: &impl Fn(&[UserInfo]) -> SystemPush,
        to: &mut Vec<SystemPush>,
    ) {
        let whole = push(members);
        let fits = self.inner.codec.encode(&whole).1.len() <= self.inner.limits.content;
        if fits || members.len() <= 1 {
            to.push(whole);
            return;
        }
        let (first, rest) = members.split_at(members.len() / 2);
        self.split_pushes(first, push, to);
        self.split_pushes(rest, push, to);
    }

    async fn name_of(&self, user: UserId) -> String {
        let profile = self.inner.directory.sender(sender(user)).await;
        profile.nickname.clone()
    }
}

const fn sender(user: UserId) -> MessageSender {
    MessageSender::User { user, device: None }
}

/// Returns all members, followed by the new ones.
fn everyone(roster: &Roster, new: &[UserId]) -> Arc<[UserId]> {
    let members = roster.members.iter().map(|(user, _)| *user);
    members.chain(new.iter().copied()).collect()
}
