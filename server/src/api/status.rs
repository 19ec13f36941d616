//! Refusals as gRPC statuses, with gim's codes from 10000 up.
//!
//! tonic's `Code` is a closed set, so a code beyond it rides in a header that [`wire`](super::wire)
//! copies into `grpc-status` on the way out.

use gimlet_core::error::Refusal;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// The header that carries the code. It stays: clients whose library knows gRPC's codes only read it.
pub(super) const CODE: &str = "gimlet-code";

/// The codes of the gRPC standard.
const STANDARD: std::ops::RangeInclusive<i32> = 0..=16;

/// The status of a refusal.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the end of the refusal: map_err(status)"
)]
pub(super) fn status(refusal: Refusal) -> Status {
    let code = refusal.code();
    if STANDARD.contains(&code) {
        return Status::new(Code::from_i32(code), refusal.to_string());
    }
    let mut status = Status::new(Code::Unknown, refusal.to_string());
    status
        .metadata_mut()
        .insert(CODE, MetadataValue::from(code));
    status
}
