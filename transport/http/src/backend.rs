//! Operations of backends: users and their tokens, connections, broadcasts.

use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::message::MessageSender;
use gimlet_core::scope::ApiScope;
use http::Method;

use crate::call::ApiCall;
use crate::content::JsonContent;
use crate::credentials::bearer_of;
use crate::json::object;
use crate::nodes::ApiRole;
use crate::operation::{ApiOperation, NoContent, OperationAccess};
use crate::problem::ApiProblem;
use crate::sign_in::{AccountInfo, device_of};

object! {
    /// A user to create.
    CreateUser {
        /// The phone number: 3 to 20 digits, optionally after a leading +. It identifies the user.
        phone_number: String,
    }
}

object! {
    /// A created user.
    CreatedUser {
        /// The user's id.
        user_id: UserId,
        /// False if there was a user with this phone number.
        is_new: bool,
    }
}

object! {
    /// The user that is meant.
    NamedUser {
        /// The user.
        user_id: UserId,
    }
}

object! {
    /// A token to issue.
    IssueToken {
        /// The user.
        user_id: UserId,
        /// The device that the token is for; by default a new one is registered.
        device_id: Option<DeviceId>,
    }
}

object! {
    /// An issued token.
    IssuedToken {
        /// The device that the token is for.
        device_id: DeviceId,
        /// The token, for the header `Authorization: Bearer`.
        token: String,
    }
}

object! {
    /// The token that is meant.
    NamedToken {
        /// The user.
        user_id: UserId,
        /// The device.
        device_id: DeviceId,
    }
}

object! {
    /// Connections to close.
    DisconnectUser {
        /// The user.
        user_id: UserId,
        /// The device; by default all devices of the user.
        device_id: Option<DeviceId>,
        /// The reason, which the client is told.
        reason: String,
    }
}

object! {
    /// A message to every connection.
    BroadcastMessage {
        /// The content.
        content: JsonContent,
    }
}

async fn create(call: ApiCall, input: CreateUser) -> Result<CreatedUser, ApiProblem> {
    let (user_id, is_new) = call.accounts()?.create(input.phone_number).await?;
    Ok(CreatedUser { user_id, is_new })
}

async fn get(call: ApiCall, input: NamedUser) -> Result<AccountInfo, ApiProblem> {
    Ok(AccountInfo::of(call.accounts()?.user(input.user_id).await?))
}

async fn issue(call: ApiCall, input: IssueToken) -> Result<IssuedToken, ApiProblem> {
    issue_to(&call, input.user_id, input.device_id).await
}

/// Makes a token of a user on this device, or on a new one.
pub(crate) async fn issue_to(
    call: &ApiCall,
    user: UserId,
    device: Option<DeviceId>,
) -> Result<IssuedToken, ApiProblem> {
    let accounts = call.accounts()?;
    let device = device_of(call, device).await?;
    let token = accounts.issue_token(user, device).await?;
    Ok(IssuedToken {
        device_id: device,
        token: bearer_of(user, device, &token),
    })
}

async fn revoke(call: ApiCall, input: NamedToken) -> Result<NoContent, ApiProblem> {
    let accounts = call.accounts()?;
    accounts.sign_out(input.user_id, input.device_id).await?;
    Ok(NoContent)
}

async fn disconnect(call: ApiCall, input: DisconnectUser) -> Result<NoContent, ApiProblem> {
    let service = call.service()?;
    service
        .disconnect(input.user_id, input.device_id, &input.reason)
        .await?;
    Ok(NoContent)
}

async fn broadcast(call: ApiCall, input: BroadcastMessage) -> Result<NoContent, ApiProblem> {
    let (kind, content) = input
        .content
        .encode()
        .map_err(|wrong| wrong.inside("content"))?;
    let service = call.service()?;
    service
        .push_all(MessageSender::Business, kind, content)
        .await?;
    Ok(NoContent)
}

/// Returns the operations of this module.
pub(crate) fn operations() -> Vec<ApiOperation> {
    vec![
        ApiOperation::new(
            Method::POST,
            "/users",
            OperationAccess::Backend(ApiScope::UsersWrite),
            "createUser",
            "Creates a user, unless there is one with this phone number.",
            create,
        )
        .by(ApiRole::Business),
        ApiOperation::new(
            Method::GET,
            "/users/{user_id}",
            OperationAccess::Backend(ApiScope::UsersRead),
            "getUser",
            "Returns a user.",
            get,
        )
        .by(ApiRole::Business)
        .cacheable(),
        ApiOperation::new(
            Method::POST,
            "/users/{user_id}/tokens",
            OperationAccess::Backend(ApiScope::TokensWrite),
            "issueToken",
            "Makes a token of a user on a device; an earlier one on this device ends.",
            issue,
        )
        .by(ApiRole::Business)
        .may_register(),
        ApiOperation::new(
            Method::DELETE,
            "/users/{user_id}/tokens/{device_id}",
            OperationAccess::Backend(ApiScope::TokensWrite),
            "revokeToken",
            "Revokes the token of a user on a device, and closes its connection.",
            revoke,
        )
        .by(ApiRole::Business),
        ApiOperation::new(
            Method::POST,
            "/users/{user_id}/disconnect",
            OperationAccess::Backend(ApiScope::DevicesWrite),
            "disconnectUser",
            "Closes the connections of a user. The tokens stay valid.",
            disconnect,
        ),
        ApiOperation::new(
            Method::POST,
            "/broadcasts",
            OperationAccess::Backend(ApiScope::BroadcastsSend),
            "broadcast",
            "Sends a message to every signed-in connection of every node; nothing is stored.",
            broadcast,
        ),
    ]
}
