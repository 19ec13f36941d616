//! Groups and their members.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::events::NewEvent;
use crate::id::{GroupId, UserId};
use crate::page::ListPage;
use crate::store::{AppendOutcome, AppendRequest, RosterVersion, StoreError};
use crate::time::UnixTimestamp;

/// Rights of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberRole {
    /// May do everything.
    Admin,
    /// May send, read, invite, and remove itself.
    Member,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Its name.
    pub name: String,
    /// URL of the picture.
    pub avatar_url: String,
    /// Description of the group.
    pub introduction: String,
    /// Application data of the business server.
    pub extra: String,
    /// Number of members.
    pub members: u64,
    /// Version of the roster.
    pub version: RosterVersion,
    /// Time of creation.
    pub created_at: UnixTimestamp,
    /// Time of the last change.
    pub updated_at: UnixTimestamp,
}

/// A new group with its first members.
#[derive(Clone, Debug)]
pub struct NewGroup {
    /// Its id, reserved from [`SeqStore`](crate::store::SeqStore).
    pub id: GroupId,
    /// Its name.
    pub name: String,
    /// URL of the picture.
    pub avatar_url: String,
    /// Description of the group.
    pub introduction: String,
    /// Application data of the business server.
    pub extra: String,
    /// Its members, without repeats.
    pub members: Vec<(UserId, MemberRole)>,
    /// Time of creation.
    pub at: UnixTimestamp,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The user.
    pub user: UserId,
    /// Its role.
    pub role: MemberRole,
    /// The member's name in the group.
    pub remarks: String,
    /// Application data of the business server.
    pub extra: String,
}

/// All members of a group at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// The version. Two rosters of one version have the same members.
    pub version: RosterVersion,
    /// The members, ascending by user id.
    pub members: Arc<[(UserId, MemberRole)]>,
}

impl Roster {
    /// Returns the user's role; `None` if it is not a member.
    #[must_use]
    pub fn role(&self, user: UserId) -> Option<MemberRole> {
        let at = self
            .members
            .binary_search_by_key(&user, |(id, _)| *id)
            .ok()?;
        self.members.get(at).map(|(_, role)| *role)
    }

    /// Returns whether the user is the only admin.
    #[must_use]
    pub fn is_last_admin(&self, user: UserId) -> bool {
        self.role(user) == Some(MemberRole::Admin)
            && !self
                .members
                .iter()
                .any(|(id, role)| *id != user && *role == MemberRole::Admin)
    }
}

/// New values of a group's fields; `None` leaves one as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupEdit {
    /// A new name.
    pub name: Option<String>,
    /// A new picture.
    pub avatar_url: Option<String>,
    /// A new description.
    pub introduction: Option<String>,
    /// New application data.
    pub extra: Option<String>,
}

/// New values of a member's fields; `None` leaves one as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberEdit {
    /// A new role.
    pub role: Option<MemberRole>,
    /// New remarks.
    pub remarks: Option<String>,
    /// New application data.
    pub extra: Option<String>,
}

/// A change of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupChange {
    /// Sets fields of the group.
    Edit(GroupEdit),
    /// Adds members in the role `Member`; none of them may be a member yet.
    Add(Vec<UserId>),
    /// Removes a member.
    Remove(UserId),
    /// Sets fields of a member.
    EditMember(UserId, MemberEdit),
}

/// Outcome of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupChangeOutcome {
    /// The change took place, and its pushes were appended.
    Done {
        /// Version of the roster after the change.
        version: RosterVersion,
        /// The outcome of each push, in order.
        pushes: Vec<AppendOutcome>,
    },
    /// The roster has another version now, or the group is gone: plan again.
    Stale,
}

/// Store of groups and their rosters; the same engine as the inboxes.
#[async_trait]
pub trait GroupStore: Debug + Send + Sync + 'static {
    /// Creates a group with roster version 1, and stores the events in the same step.
    ///
    /// # Errors
    /// `Misuse` if the id is taken: ids come from
    /// [`SeqStore::reserve`](crate::store::SeqStore::reserve).
    async fn create(&self, group: &NewGroup, events: &[NewEvent]) -> Result<(), StoreError>;

    /// Returns the group; `None` if there is none.
    async fn get(&self, group: GroupId) -> Result<Option<Group>, StoreError>;

    /// Returns the whole roster at one version; `None` if there is no such group. The caller may
    /// cache it, because every use of it is checked against the version.
    async fn roster(&self, group: GroupId) -> Result<Option<Roster>, StoreError>;

    /// Returns up to `limit` members with an id above `after`, ascending.
    async fn members(
        &self,
        group: GroupId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<ListPage<Member>, StoreError>;

    /// Returns up to `limit` groups of the user with an id above `after`, ascending.
    async fn groups_of(
        &self,
        user: UserId,
        after: Option<GroupId>,
        limit: usize,
    ) -> Result<ListPage<Group>, StoreError>;

    /// Makes a change, appends its pushes and stores its events in one atomic, durable step if the
    /// roster still has version `expected`; otherwise does none of it. Every change raises the
    /// version by one.
    ///
    /// A removed member gets no entry of any group send accepted after this returns; a new one gets
    /// all of them (law 11). The pushes follow the rules of
    /// [`InboxStore::append`](crate::store::InboxStore::append) and carry no roster.
    async fn update(
        &self,
        group: GroupId,
        expected: RosterVersion,
        change: &GroupChange,
        pushes: &[AppendRequest],
        events: &[NewEvent],
        at: UnixTimestamp,
    ) -> Result<GroupChangeOutcome, StoreError>;
}
