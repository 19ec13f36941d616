//! Answers who a user is with the backend's help: by JWTs that the backend signs ([`jwt`]), or by
//! questions to its server over HTTP ([`HttpBusiness`]).
//!
//! Both serve seams of core: `JwtVerifier` and `BusinessBackend`. Core decides what an accepted token
//! allows; this crate knows signatures, JSON and addresses. Calls go through `gimlet-outbound`.

mod http_business;
mod json_fields;
pub mod jwt;

pub use gimlet_outbound as outbound;
pub use http_business::{HttpBusiness, HttpBusinessConfig};
