//! Refusals as gRPC statuses, with gim's codes from 10000 up.
//!
//! tonic's `Code` is a closed set, so a larger code travels in a header that
//! [`call_layer`](crate::call_layer) copies into `grpc-status` on the way out.

use gimlet_core::error::RequestRefusal;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// The header that carries the code. It stays in the answer, because some clients' libraries know
/// gRPC's codes only and read the number here.
pub(super) const CODE_HEADER: &str = "gimlet-code";

/// With codes 8 and 14: milliseconds after which the same call may succeed.
const RETRY_AFTER_HEADER: &str = "retry-after-ms";

/// The codes of the gRPC standard.
const STANDARD_CODES: std::ops::RangeInclusive<i32> = 0..=16;

/// Converts a refusal into a status.
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write map_err(status)"
)]
pub(super) fn status(refusal: RequestRefusal) -> Status {
    let code = refusal.code();
    if STANDARD_CODES.contains(&code) {
        let mut status = Status::new(Code::from_i32(code), refusal.to_string());
        let after = refusal.retry_after_ms();
        if after > 0 {
            let after = MetadataValue::from(after);
            status.metadata_mut().insert(RETRY_AFTER_HEADER, after);
        }
        return status;
    }
    let mut status = Status::new(Code::Unknown, refusal.to_string());
    status
        .metadata_mut()
        .insert(CODE_HEADER, MetadataValue::from(code));
    status
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn refusals_that_pass_with_time_have_a_delay() {
        let after = |refusal| {
            let status = status(refusal);
            let value = status.metadata().get(RETRY_AFTER_HEADER)?;
            value.to_str().ok().map(str::to_owned)
        };
        let retry_after = Duration::from_micros(1_234_567);
        assert_eq!(
            after(RequestRefusal::RateLimited { retry_after }).as_deref(),
            Some("1234")
        );
        assert_eq!(
            after(RequestRefusal::Backlog { retry_after }).as_deref(),
            Some("1234")
        );
        assert_eq!(
            after(RequestRefusal::Busy { retry_after }).as_deref(),
            Some("1234")
        );
        assert!(after(RequestRefusal::Unavailable).is_some());
        assert_eq!(after(RequestRefusal::Conflict), None);
        assert_eq!(
            after(RequestRefusal::Exhausted("the group is full".into())),
            None
        );
    }
}
