//! Decides what to do after a connection ended: pure, from values, without a runtime.

use std::time::Duration;

use gimlet_proto::pb;

use crate::backoff::{ReconnectBackoff, random_part};
use crate::event::ClientEvent;
use crate::link::ConnectionError;
use crate::options::SupersededPolicy;

/// The end of a connection.
#[derive(Debug)]
pub(crate) enum ConnectionEnd {
    /// The application closed the client.
    Closed,
    /// It broke, or was never established.
    Lost(String),
    /// The server sent its reason and what to do.
    ClosedByServer(pb::CloseOutput),
    /// The server did not accept the sign-in.
    NotSignedIn {
        /// The refusal's code.
        code: i32,
        /// The refusal's text.
        message: String,
    },
}

impl From<ConnectionError> for ConnectionEnd {
    fn from(broken: ConnectionError) -> Self {
        match broken {
            ConnectionError::Closed { code, reason } if (4000..5000).contains(&code) => {
                Self::ClosedByServer(pb::CloseOutput {
                    code: code.into(),
                    message: reason,
                    come_back: pb::ComeBack::Unknown.into(),
                    after_ms: 0,
                })
            }
            other => Self::Lost(other.to_string()),
        }
    }
}

/// The next action.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time")]
pub(crate) enum ReconnectDecision {
    /// Connect again after a wait.
    Again {
        /// The reason, in words.
        reason: String,
        /// Time to wait.
        wait: Duration,
    },
    /// End with this event.
    Stop(ClientEvent),
    /// End without an event.
    Close,
}

impl ReconnectDecision {
    pub(crate) fn of(
        end: ConnectionEnd,
        backoff: &mut ReconnectBackoff,
        superseded: SupersededPolicy,
    ) -> Self {
        match end {
            ConnectionEnd::Closed => Self::Close,
            ConnectionEnd::Lost(reason) => Self::Again {
                reason,
                wait: backoff.next(),
            },
            // gim's own codes mean that the same credentials will be refused again later.
            ConnectionEnd::NotSignedIn { code, message } if code >= 10_000 => {
                Self::Stop(ClientEvent::SignedOut { code, message })
            }
            ConnectionEnd::NotSignedIn { code, message } => Self::Again {
                reason: format!("sign-in failed: {message} ({code})"),
                wait: backoff.next(),
            },
            ConnectionEnd::ClosedByServer(close) => Self::after_close(close, backoff, superseded),
        }
    }

    fn after_close(
        close: pb::CloseOutput,
        backoff: &mut ReconnectBackoff,
        superseded: SupersededPolicy,
    ) -> Self {
        let come_back = match close.come_back() {
            pb::ComeBack::Unknown => by_range(close.code),
            given => given,
        };
        let is_superseded = close.code == pb::CloseCode::Superseded as i32;
        let (code, message) = (close.code, close.message);
        let after = Duration::from_millis(close.after_ms.try_into().unwrap_or(0));
        let reason = format!("closed by the server: {message} ({code})");
        match come_back {
            pb::ComeBack::NowWithJitter => Self::Again {
                reason,
                wait: random_part(after.max(Duration::from_secs(1))),
            },
            pb::ComeBack::SignInAgain => Self::Stop(ClientEvent::SignedOut { code, message }),
            pb::ComeBack::Never if is_superseded && superseded == SupersededPolicy::End => {
                Self::Stop(ClientEvent::Superseded)
            }
            pb::ComeBack::Never if !is_superseded => {
                Self::Stop(ClientEvent::TurnedAway { code, message })
            }
            pb::ComeBack::Backoff | pb::ComeBack::Unknown | pb::ComeBack::Never => Self::Again {
                reason,
                wait: after.saturating_add(backoff.next()),
            },
        }
    }
}

/// Returns the action for a close code that this client does not know, by the code's range: codes with
/// the same first two digits have the same action.
const fn by_range(code: i32) -> pb::ComeBack {
    match code {
        4000..=4099 => pb::ComeBack::NowWithJitter,
        4200..=4299 => pb::ComeBack::SignInAgain,
        4300..=4399 => pb::ComeBack::Never,
        _ => pb::ComeBack::Backoff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(code: i32, come_back: pb::ComeBack, after_ms: i64) -> ReconnectDecision {
        let mut backoff =
            ReconnectBackoff::new(Duration::from_millis(200), Duration::from_secs(15));
        let close = pb::CloseOutput {
            code,
            come_back: come_back.into(),
            after_ms,
            message: String::new(),
        };
        ReconnectDecision::of(
            ConnectionEnd::ClosedByServer(close),
            &mut backoff,
            SupersededPolicy::End,
        )
    }

    #[test]
    fn a_close_is_obeyed_also_by_its_range_alone() {
        use pb::ComeBack as C;
        let ReconnectDecision::Again { wait, .. } = decide(4101, C::Backoff, 3_000) else {
            panic!("come back later")
        };
        assert!(wait >= Duration::from_secs(3));
        assert!(
            matches!(decide(4000, C::NowWithJitter, -5), ReconnectDecision::Again { wait, .. }
            if wait <= Duration::from_secs(1))
        );
        for given in [C::Unknown, C::SignInAgain] {
            assert!(matches!(
                decide(4299, given, 0),
                ReconnectDecision::Stop(ClientEvent::SignedOut { code: 4299, .. })
            ));
        }
        for given in [C::Unknown, C::Never] {
            assert!(matches!(
                decide(4300, given, 0),
                ReconnectDecision::Stop(ClientEvent::Superseded)
            ));
            assert!(matches!(
                decide(4302, given, 0),
                ReconnectDecision::Stop(ClientEvent::TurnedAway { .. })
            ));
        }
        assert!(matches!(
            decide(0, C::Unknown, 0),
            ReconnectDecision::Again { .. }
        ));
        assert!(matches!(
            decide(99_999, C::Unknown, 0),
            ReconnectDecision::Again { .. }
        ));
    }

    #[test]
    fn only_gims_refusals_of_a_sign_in_are_final() {
        let mut backoff =
            ReconnectBackoff::new(Duration::from_millis(200), Duration::from_secs(15));
        let mut of = |code| {
            let message = String::new();
            let end = ConnectionEnd::NotSignedIn { code, message };
            ReconnectDecision::of(end, &mut backoff, SupersededPolicy::End)
        };
        assert!(matches!(
            of(10_000),
            ReconnectDecision::Stop(ClientEvent::SignedOut { .. })
        ));
        assert!(matches!(of(14), ReconnectDecision::Again { .. }));
        assert!(matches!(of(8), ReconnectDecision::Again { .. }));
    }
}
