//! Refusals between nodes, with every detail, so that a client reads the same message from one
//! process and from many.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use gimlet_core::error::RequestRefusal;
use gimlet_core::id::{DeviceId, GroupId, UserId};
use gimlet_proto::node::refusal::Why;
use gimlet_proto::node::{self, Plain};

/// Largest number of different fixed texts that are remembered; the program has a few dozen.
const MAX_TEXTS: usize = 512;
/// Largest size of such a text, in bytes.
const MAX_TEXT_BYTES: usize = 1_024;

/// Encodes a refusal for the wire.
pub(super) fn encode(refusal: RequestRefusal) -> node::Refusal {
    let (mut busy_us, mut backlog, mut rejected) = (0, false, false);
    let why = match refusal {
        RequestRefusal::Unauthorized(text) => Why::Unauthorized(text.into()),
        RequestRefusal::BadRequest(text) => Why::BadRequest(text),
        RequestRefusal::BadCode => Why::BadCode(Plain {}),
        RequestRefusal::NotInGroup(group) => Why::NotInGroup(group.get()),
        RequestRefusal::NoSuchGroup(group) => Why::NoSuchGroup(group.get()),
        RequestRefusal::NoSuchDevice(device) => Why::NoSuchDevice(device.get()),
        RequestRefusal::AlreadyFriends(user) => Why::AlreadyFriends(user.get()),
        RequestRefusal::NoSuchUser(user) => Why::NoSuchUser(user.get()),
        RequestRefusal::Banned => Why::Banned(Plain {}),
        RequestRefusal::Forbidden(text) => Why::Forbidden(text.into()),
        RequestRefusal::Rejected(text) => {
            rejected = true;
            Why::Forbidden(text)
        }
        RequestRefusal::Conflict => Why::Conflict(Plain {}),
        RequestRefusal::RateLimited { retry_after } => Why::RateLimitedUs(micros(retry_after)),
        RequestRefusal::Busy { retry_after } => {
            busy_us = micros(retry_after).max(1);
            Why::Unavailable(Plain {})
        }
        RequestRefusal::Backlog { retry_after } => {
            backlog = true;
            Why::RateLimitedUs(micros(retry_after))
        }
        RequestRefusal::Exhausted(text) => Why::Exhausted(text),
        RequestRefusal::Unavailable => Why::Unavailable(Plain {}),
        RequestRefusal::Unknown => Why::Unknown(Plain {}),
        RequestRefusal::Unsupported(text) => Why::Unsupported(text.into()),
        RequestRefusal::Internal => Why::Internal(Plain {}),
    };
    let why = Some(why);
    node::Refusal {
        why,
        busy_us,
        backlog,
        rejected,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Decodes a refusal from the wire; an invalid one is a fault of the server.
pub(super) fn decode(refusal: node::Refusal) -> RequestRefusal {
    let group = |raw| GroupId::new(raw);
    let user = |raw| UserId::new(raw);
    let decoded = match refusal.why {
        None => None,
        Some(why) => match why {
            Why::Unauthorized(text) => Some(RequestRefusal::Unauthorized(fixed(text))),
            Why::BadRequest(text) => Some(RequestRefusal::BadRequest(text)),
            Why::BadCode(_) => Some(RequestRefusal::BadCode),
            Why::NotInGroup(raw) => group(raw).map(RequestRefusal::NotInGroup),
            Why::NoSuchGroup(raw) => group(raw).map(RequestRefusal::NoSuchGroup),
            Why::NoSuchDevice(raw) => DeviceId::new(raw).map(RequestRefusal::NoSuchDevice),
            Why::AlreadyFriends(raw) => user(raw).map(RequestRefusal::AlreadyFriends),
            Why::NoSuchUser(raw) => user(raw).map(RequestRefusal::NoSuchUser),
            Why::Banned(_) => Some(RequestRefusal::Banned),
            // Its text is not one of the program, and is different each time.
            Why::Forbidden(text) if refusal.rejected => Some(RequestRefusal::Rejected(text)),
            Why::Forbidden(text) => Some(RequestRefusal::Forbidden(fixed(text))),
            Why::Conflict(_) => Some(RequestRefusal::Conflict),
            Why::RateLimitedUs(us) if refusal.backlog => Some(RequestRefusal::Backlog {
                retry_after: Duration::from_micros(us),
            }),
            Why::RateLimitedUs(us) => Some(RequestRefusal::RateLimited {
                retry_after: Duration::from_micros(us),
            }),
            Why::Exhausted(text) => Some(RequestRefusal::Exhausted(text)),
            Why::Unavailable(_) if refusal.busy_us > 0 => Some(RequestRefusal::Busy {
                retry_after: Duration::from_micros(refusal.busy_us),
            }),
            Why::Unavailable(_) => Some(RequestRefusal::Unavailable),
            Why::Unknown(_) => Some(RequestRefusal::Unknown),
            Why::Unsupported(text) => Some(RequestRefusal::Unsupported(fixed(text))),
            Why::Internal(_) => Some(RequestRefusal::Internal),
        },
    };
    decoded.unwrap_or_else(|| {
        gimlet_core::error_rated!("a node refused with a reason unknown to this version");
        RequestRefusal::Internal
    })
}

/// Returns the text with the lifetime of the program, which core's fixed texts have. Each different
/// text is leaked once. Their number and length are bounded, since the other node's program has no
/// more than a few dozen of them.
fn fixed(text: String) -> &'static str {
    static LEAKED_TEXTS: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut known = LEAKED_TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = known.get(text.as_str()) {
        return text;
    }
    if known.len() >= MAX_TEXTS || text.len() > MAX_TEXT_BYTES {
        return "refused by another node";
    }
    let text: &'static str = Box::leak(text.into_boxed_str());
    known.insert(text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_survives_the_round_trip() {
        let group = GroupId::new(7).unwrap();
        let device = DeviceId::new(8).unwrap();
        let user = UserId::new(u64::try_from(i64::MAX).unwrap()).unwrap();
        let all = [
            RequestRefusal::Unauthorized("the token is wrong"),
            RequestRefusal::bad("mentions: at most 200"),
            RequestRefusal::BadCode,
            RequestRefusal::NotInGroup(group),
            RequestRefusal::NoSuchGroup(group),
            RequestRefusal::NoSuchDevice(device),
            RequestRefusal::AlreadyFriends(user),
            RequestRefusal::NoSuchUser(user),
            RequestRefusal::Banned,
            RequestRefusal::Forbidden("the last admin cannot leave"),
            RequestRefusal::Rejected("no links, please".into()),
            RequestRefusal::Conflict,
            RequestRefusal::RateLimited {
                retry_after: Duration::from_micros(1_234_567),
            },
            RequestRefusal::Exhausted("the server's storage is full".into()),
            RequestRefusal::Busy {
                retry_after: Duration::from_micros(250_001),
            },
            RequestRefusal::Backlog {
                retry_after: Duration::from_millis(3),
            },
            RequestRefusal::Unavailable,
            RequestRefusal::Unknown,
            RequestRefusal::Unsupported("not here"),
            RequestRefusal::Internal,
        ];
        for refusal in all {
            assert_eq!(decode(encode(refusal.clone())), refusal);
        }
        assert_eq!(decode(node::Refusal::default()), RequestRefusal::Internal);
        let nobody = node::Refusal {
            why: Some(Why::NoSuchUser(0)),
            ..node::Refusal::default()
        };
        assert_eq!(decode(nobody), RequestRefusal::Internal);
    }
}
