//! Revocation of JWTs, which the backend issues itself.

use gimlet_core::auth::JwtSelection;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::scope::ApiScope;
use gimlet_core::time::UnixTimestamp;
use http::Method;

use crate::call::ApiCall;
use crate::json::object;
use crate::operation::{ApiOperation, NoContent, OperationAccess};
use crate::problem::ApiProblem;

object! {
    /// JWTs of a user to revoke: by `jti` or by `issued_before`.
    RevokeJwts {
        /// The user.
        user_id: UserId,
        /// The id of the token (`jti`).
        jti: Option<String>,
        /// The time, in seconds since 1970, up to which all tokens of the user were issued (`iat`);
        /// tokens that do not tell when they were issued are revoked as well.
        issued_before: Option<i64>,
        /// The only device whose connection is closed; by default those of all devices of the user,
        /// because a connection does not remember its token.
        device_id: Option<DeviceId>,
    }
}

async fn revoke(call: ApiCall, input: RevokeJwts) -> Result<NoContent, ApiProblem> {
    let which = match (input.jti, input.issued_before) {
        (Some(id), None) => JwtSelection::Id(id),
        (None, Some(secs)) => JwtSelection::IssuedBefore(UnixTimestamp(secs.saturating_mul(1_000))),
        (None, None) => {
            return Err(ApiProblem::field(
                "jti",
                "jti and issued_before are missing; set one of them",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(ApiProblem::field(
                "issued_before",
                "jti and issued_before are both set; a request revokes one token, or all up to a time",
            ));
        }
    };
    let jwts = call.tokens()?.jwts()?;
    let service = call.service()?;
    service
        .revoke_jwts(jwts, input.user_id, &which, input.device_id)
        .await?;
    Ok(NoContent)
}

/// Returns the operations of this module.
pub(crate) fn operations() -> Vec<ApiOperation> {
    vec![ApiOperation::new(
        Method::POST,
        "/users/{user_id}/jwts/revoke",
        OperationAccess::Backend(ApiScope::Admin),
        "revokeJwts",
        "Revokes JWTs of a user on every node, and closes connections of the user; clients with a valid \
         token sign in again.",
        revoke,
    )]
}
