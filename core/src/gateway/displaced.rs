//! Refusals of connections whose token is valid: another connection, or a revocation, came before.

use crate::error::RequestRefusal;

/// Reasons to refuse a sign-in whose token was valid but which was overtaken.
pub(super) const SIGNED_IN_AGAIN: &str = "this device has signed in again meanwhile";
pub(super) const SIGNED_IN_ELSEWHERE: &str = "this device has signed in elsewhere meanwhile";
pub(super) const TOKEN_REVOKED: &str = "this token was revoked meanwhile";

/// Reason to refuse a request of a connection whose device has a newer one.
pub(super) const NOT_OWNER: &str = "this connection does not own its device any more";

/// Returns whether a sign-in was refused although its token was valid, because a newer sign-in or a
/// revocation overtook it. Such a refusal is not a guessed token.
pub(super) fn was_overtaken(refusal: &RequestRefusal) -> bool {
    was_displaced(refusal) || *refusal == RequestRefusal::Unauthorized(TOKEN_REVOKED)
}

/// Returns whether a request was refused because the device has a newer connection. The token is still
/// valid, so an entry point closes the connection as superseded instead of asking for another sign-in.
#[must_use]
pub fn was_displaced(refusal: &RequestRefusal) -> bool {
    let RequestRefusal::Unauthorized(why) = refusal else {
        return false;
    };
    [SIGNED_IN_AGAIN, SIGNED_IN_ELSEWHERE, NOT_OWNER].contains(why)
}
