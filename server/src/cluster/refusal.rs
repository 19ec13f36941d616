//! Refusals between nodes, with every detail, so that a client reads the same message from one
//! process and from many.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use gimlet_core::error::Refusal;
use gimlet_core::id::{DeviceId, GroupId, UserId};
use gimlet_proto::node::refusal::Why;
use gimlet_proto::node::{self, Plain};

/// Different fixed texts that are remembered; the program has a few dozen.
const TEXTS: usize = 512;
/// Most bytes of such a text.
const TEXT: usize = 1_024;

/// Encodes a refusal for the wire.
pub(super) fn encode(refusal: Refusal) -> node::Refusal {
    let (mut busy_us, mut backlog) = (0, false);
    let why = match refusal {
        Refusal::Unauthorized(text) => Why::Unauthorized(text.into()),
        Refusal::BadRequest(text) => Why::BadRequest(text),
        Refusal::BadCode => Why::BadCode(Plain {}),
        Refusal::NotInGroup(group) => Why::NotInGroup(group.get()),
        Refusal::NoSuchGroup(group) => Why::NoSuchGroup(group.get()),
        Refusal::NoSuchDevice(device) => Why::NoSuchDevice(device.get()),
        Refusal::AlreadyFriends(user) => Why::AlreadyFriends(user.get()),
        Refusal::NoSuchUser(user) => Why::NoSuchUser(user.get()),
        Refusal::Forbidden(text) => Why::Forbidden(text.into()),
        Refusal::Conflict => Why::Conflict(Plain {}),
        Refusal::RateLimited { retry_after } => Why::RateLimitedUs(micros(retry_after)),
        Refusal::Busy { retry_after } => {
            busy_us = micros(retry_after).max(1);
            Why::Unavailable(Plain {})
        }
        Refusal::Backlog { retry_after } => {
            backlog = true;
            Why::RateLimitedUs(micros(retry_after))
        }
        Refusal::Exhausted(text) => Why::Exhausted(text),
        Refusal::Unavailable => Why::Unavailable(Plain {}),
        Refusal::Unknown => Why::Unknown(Plain {}),
        Refusal::Unsupported(text) => Why::Unsupported(text.into()),
        Refusal::Internal => Why::Internal(Plain {}),
    };
    let why = Some(why);
    node::Refusal {
        why,
        busy_us,
        backlog,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Decodes a refusal from the wire; an invalid one is a fault of the server.
pub(super) fn decode(refusal: node::Refusal) -> Refusal {
    let group = |raw| GroupId::new(raw);
    let user = |raw| UserId::new(raw);
    let decoded = match refusal.why {
        None => None,
        Some(why) => match why {
            Why::Unauthorized(text) => Some(Refusal::Unauthorized(fixed(text))),
            Why::BadRequest(text) => Some(Refusal::BadRequest(text)),
            Why::BadCode(_) => Some(Refusal::BadCode),
            Why::NotInGroup(raw) => group(raw).map(Refusal::NotInGroup),
            Why::NoSuchGroup(raw) => group(raw).map(Refusal::NoSuchGroup),
            Why::NoSuchDevice(raw) => DeviceId::new(raw).map(Refusal::NoSuchDevice),
            Why::AlreadyFriends(raw) => user(raw).map(Refusal::AlreadyFriends),
            Why::NoSuchUser(raw) => user(raw).map(Refusal::NoSuchUser),
            Why::Forbidden(text) => Some(Refusal::Forbidden(fixed(text))),
            Why::Conflict(_) => Some(Refusal::Conflict),
            Why::RateLimitedUs(us) if refusal.backlog => Some(Refusal::Backlog {
                retry_after: Duration::from_micros(us),
            }),
            Why::RateLimitedUs(us) => Some(Refusal::RateLimited {
                retry_after: Duration::from_micros(us),
            }),
            Why::Exhausted(text) => Some(Refusal::Exhausted(text)),
            Why::Unavailable(_) if refusal.busy_us > 0 => Some(Refusal::Busy {
                retry_after: Duration::from_micros(refusal.busy_us),
            }),
            Why::Unavailable(_) => Some(Refusal::Unavailable),
            Why::Unknown(_) => Some(Refusal::Unknown),
            Why::Unsupported(text) => Some(Refusal::Unsupported(fixed(text))),
            Why::Internal(_) => Some(Refusal::Internal),
        },
    };
    decoded.unwrap_or_else(|| {
        gimlet_core::error_rated!("a node refused with a reason unknown to this version");
        Refusal::Internal
    })
}

/// Returns the text with the lifetime of the program, which core's fixed texts have. Each different
/// text is leaked once. Their number and length are bounded, since the other node's program has no
/// more than a few dozen of them.
fn fixed(text: String) -> &'static str {
    static KNOWN: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = known.get(text.as_str()) {
        return text;
    }
    if known.len() >= TEXTS || text.len() > TEXT {
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
    fn nothing_changes_on_the_way() {
        let group = GroupId::new(7).unwrap();
        let device = DeviceId::new(8).unwrap();
        let user = UserId::new(u64::try_from(i64::MAX).unwrap()).unwrap();
        let all = [
            Refusal::Unauthorized("the token is wrong"),
            Refusal::bad("mentions: at most 200"),
            Refusal::BadCode,
            Refusal::NotInGroup(group),
            Refusal::NoSuchGroup(group),
            Refusal::NoSuchDevice(device),
            Refusal::AlreadyFriends(user),
            Refusal::NoSuchUser(user),
            Refusal::Forbidden("the last admin cannot leave"),
            Refusal::Conflict,
            Refusal::RateLimited {
                retry_after: Duration::from_micros(1_234_567),
            },
            Refusal::Exhausted("the server's storage is full".into()),
            Refusal::Busy {
                retry_after: Duration::from_micros(250_001),
            },
            Refusal::Backlog {
                retry_after: Duration::from_millis(3),
            },
            Refusal::Unavailable,
            Refusal::Unknown,
            Refusal::Unsupported("not here"),
            Refusal::Internal,
        ];
        for refusal in all {
            assert_eq!(decode(encode(refusal.clone())), refusal);
        }
        assert_eq!(decode(node::Refusal::default()), Refusal::Internal);
        let nobody = node::Refusal {
            why: Some(Why::NoSuchUser(0)),
            ..node::Refusal::default()
        };
        assert_eq!(decode(nobody), Refusal::Internal);
    }
}
