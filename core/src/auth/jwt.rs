//! JWTs: tokens that a backend issues itself, so that it answers no question about them.
//!
//! [`JwtAuthority`] decides which of them count. The signature is checked by a [`JwtVerifier`] behind
//! the seam, because core has no cryptography of signatures and no JSON; everything else is decided
//! here: audience, times, revocation, the user and its profile. [`JwtBusiness`] puts the decision in
//! front of the business role, so every entry point accepts the same tokens.

mod authority;
mod business;
mod claims;

pub use authority::{CheckedJwt, JwtAuthority, JwtSelection};
pub use business::JwtBusiness;
pub use claims::{ClaimedUser, JwtClaims, JwtPolicy, JwtVerifier, is_jwt};
