//! Friends of a user.

use gimlet_core::business::UserInfo;
use gimlet_core::id::UserId;
use gimlet_core::scope::ApiScope;
use gimlet_core::store::Friend;
use http::Method;

use crate::call::ApiCall;
use crate::json::object;
use crate::lists::page_items;
use crate::operation::{ApiOperation, NoContent, OperationAccess};
use crate::problem::ApiProblem;

object! {
    /// A page of the friends.
    ListFriends {
        /// The user after which the page starts; by default it is the first page.
        after: Option<UserId>,
        /// The number of friends, up to 500; by default 50.
        limit: Option<u32>,
    }
}

object! {
    /// A friend, as the user sees it.
    FriendInfo {
        /// The friend.
        user_id: UserId,
        /// Its name.
        nickname: String,
        /// Its picture.
        avatar_url: String,
        /// The application's data of the friend.
        user_extra: String,
        /// The user's name for the friend.
        remarks: String,
        /// The application's data of the user for the friend.
        extra: String,
    }
}

object! {
    /// Friends, ascending by id.
    FriendList {
        /// The friends.
        friends: Vec<FriendInfo>,
        /// True if the list goes on after the last of them.
        more: bool,
    }
}

object! {
    /// A friend request.
    RequestFriend {
        /// The user to ask.
        user_id: UserId,
        /// The user's name for the friend.
        remarks: Option<String>,
        /// A text for the asked user.
        description: Option<String>,
    }
}

object! {
    /// The acceptance of a friend request.
    AcceptFriend {
        /// The user that asked.
        user_id: UserId,
        /// The user's name for the friend.
        remarks: Option<String>,
    }
}

object! {
    /// New data for a friend; a field that is left out stays as it is.
    ChangeFriend {
        /// The friend.
        user_id: UserId,
        /// The user's name for the friend.
        remarks: Option<String>,
        /// The application's data.
        extra: Option<String>,
    }
}

object! {
    /// The data that the user keeps for a friend.
    FriendData {
        /// The friend.
        user_id: UserId,
        /// The user's name for the friend.
        remarks: String,
        /// The application's data.
        extra: String,
    }
}

impl FriendInfo {
    fn of((friend, info): (Friend, Option<UserInfo>)) -> Self {
        let profile = info.map(|info| info.profile).unwrap_or_default();
        Self {
            user_id: friend.user,
            nickname: profile.nickname,
            avatar_url: profile.avatar_url,
            user_extra: profile.extra,
            remarks: friend.remarks,
            extra: friend.extra,
        }
    }
}

async fn list(call: ApiCall, input: ListFriends) -> Result<FriendList, ApiProblem> {
    let (user, limit) = (call.user()?, page_items(input.limit)?);
    let page = call
        .reading(user)?
        .friends(user, input.after, limit)
        .await?;
    Ok(FriendList {
        friends: page.items.into_iter().map(FriendInfo::of).collect(),
        more: page.more,
    })
}

async fn request(call: ApiCall, input: RequestFriend) -> Result<NoContent, ApiProblem> {
    let user = call.user()?;
    let remarks = input.remarks.unwrap_or_default();
    let text = input.description.unwrap_or_default();
    let service = call.service()?;
    service
        .add_friend(user, input.user_id, remarks, text)
        .await?;
    Ok(NoContent)
}

async fn accept(call: ApiCall, input: AcceptFriend) -> Result<NoContent, ApiProblem> {
    let user = call.user()?;
    let remarks = input.remarks.unwrap_or_default();
    let service = call.service()?;
    service.agree_friend(user, input.user_id, remarks).await?;
    Ok(NoContent)
}

async fn change(call: ApiCall, input: ChangeFriend) -> Result<FriendData, ApiProblem> {
    let user = call.user()?;
    let (remarks, extra) = (input.remarks.as_deref(), input.extra.as_deref());
    let service = call.service()?;
    let kept = service
        .set_friend(user, input.user_id, remarks, extra)
        .await?;
    Ok(FriendData {
        user_id: kept.user,
        remarks: kept.remarks,
        extra: kept.extra,
    })
}

/// Returns the operations of this module.
pub(crate) fn operations() -> Vec<ApiOperation> {
    vec![
        ApiOperation::new(
            Method::GET,
            "/friends",
            OperationAccess::User(ApiScope::FriendsRead),
            "listFriends",
            "Returns the user's friends.",
            list,
        ),
        ApiOperation::new(
            Method::POST,
            "/friends",
            OperationAccess::User(ApiScope::FriendsWrite),
            "requestFriend",
            "Asks a user to be a friend; the user gets a message.",
            request,
        ),
        ApiOperation::new(
            Method::POST,
            "/friends/{user_id}/accept",
            OperationAccess::User(ApiScope::FriendsWrite),
            "acceptFriend",
            "Accepts the request of a user: both become friends of each other.",
            accept,
        ),
        ApiOperation::new(
            Method::PATCH,
            "/friends/{user_id}",
            OperationAccess::User(ApiScope::FriendsWrite),
            "changeFriend",
            "Changes the data that the user keeps for a friend.",
            change,
        ),
    ]
}
