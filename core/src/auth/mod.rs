//! Authentication: the checks of a caller's token, API key or secret, and the limits of wrong ones.
//!
//! Serves every entry point: sockets, gRPC, uploads and HTTP use the same counts, so a guesser who is
//! refused at one of them is refused at all. Nothing here knows how an entry point carries credentials.

mod address;
mod api_key_refusal;
mod api_keys;
mod backend_identity;
mod failures;
mod jwt;
mod secret;
mod tokens;

pub use crate::digest::random_hex;
pub use address::client_address;
pub use api_key_refusal::ApiKeyRefusal;
pub use api_keys::{ApiKeyService, CreatedApiKey, NewApiKey};
pub use backend_identity::{AUDIT_TARGET, BackendIdentity};
pub use failures::{SignInAttempt, SignInFailures};
pub use jwt::{
    CheckedJwt, ClaimedUser, JwtAuthority, JwtBusiness, JwtClaims, JwtPolicy, JwtSelection,
    JwtVerifier, is_jwt,
};
pub use secret::SharedSecret;
pub use tokens::{PresentedToken, TokenChecker};
