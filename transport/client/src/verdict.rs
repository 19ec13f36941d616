//! Decides what to do after a connection ended: pure, from values, without a runtime.

use std::time::Duration;

use gimlet_proto::pb;

use crate::backoff::{Backoff, random_part};
use crate::event::Event;
use crate::link::Broken;
use crate::options::OnSuperseded;

/// The end of a connection.
#[derive(Debug)]
pub(crate) enum End {
    /// The application closed the client.
    Closed,
    /// It broke, or was never established.
    Lost(String),
    /// The server sent its reason and what to do.
    Told(pb::CloseOutput),
    /// The server did not accept the sign-in.
    NotSignedIn {
        /// The refusal's code.
        code: i32,
        /// The refusal's text.
        message: String,
    },
}

impl From<Broken> for End {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Closed { code, reason } if (4000..5000).contains(&code) => {
                Self::Told(pb::CloseOutput {
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
pub(crate) enum Verdict {
    /// Connect again after a wait.
    Again {
        /// The reason, in words.
        reason: String,
        /// Time to wait.
        wait: Duration,
    },
    /// End with this event.
    Stop(Event),
    /// End without an event.
    Close,
}

impl Verdict {
    pub(crate) fn of(end: End, backoff: &mut Backoff, superseded: OnSuperseded) -> Self {
        match end {
            End::Closed => Self::Close,
            End::Lost(reason) => Self::Again {
                reason,
                wait: backoff.next(),
            },
            // gim's own codes mean that the same credentials will be refused again later.
            End::NotSignedIn { code, message } if code >= 10_000 => {
                Self::Stop(Event::SignedOut { code, message })
            }
            End::NotSignedIn { code, message } => Self::Again {
                reason: format!("sign-in failed: {message} ({code})"),
                wait: backoff.next(),
            },
            End::Told(close) => Self::told(close, backoff, superseded),
        }
    }

    fn told(close: pb::CloseOutput, backoff: &mut Backoff, superseded: OnSuperseded) -> Self {
        let come_back = match close.come_back() {
            pb::ComeBack::Unknown => by_range(close.code),
            said => said,
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
            pb::ComeBack::SignInAgain => Self::Stop(Event::SignedOut { code, message }),
            pb::ComeBack::Never if is_superseded && superseded == OnSuperseded::End => {
                Self::Stop(Event::Superseded)
            }
            pb::ComeBack::Never if !is_superseded => {
                Self::Stop(Event::TurnedAway { code, message })
            }
            pb::ComeBack::Backoff | pb::ComeBack::Unknown | pb::ComeBack::Never => Self::Again {
                reason,
                wait: after.saturating_add(backoff.next()),
            },
        }
    }
}

/// Returns the action for the hundreds of a close code, for codes that this client does not know.
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

    fn told(code: i32, come_back: pb::ComeBack, after_ms: i64) -> Verdict {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));
        let close = pb::CloseOutput {
            code,
            come_back: come_back.into(),
            after_ms,
            message: String::new(),
        };
        Verdict::of(End::Told(close), &mut backoff, OnSuperseded::End)
    }

    #[test]
    fn a_close_is_obeyed_also_by_its_range_alone() {
        use pb::ComeBack as C;
        let Verdict::Again { wait, .. } = told(4101, C::Backoff, 3_000) else {
            panic!("come back later")
        };
        assert!(wait >= Duration::from_secs(3));
        assert!(
            matches!(told(4000, C::NowWithJitter, -5), Verdict::Again { wait, .. }
            if wait <= Duration::from_secs(1))
        );
        for said in [C::Unknown, C::SignInAgain] {
            assert!(matches!(
                told(4299, said, 0),
                Verdict::Stop(Event::SignedOut { code: 4299, .. })
            ));
        }
        for said in [C::Unknown, C::Never] {
            assert!(matches!(
                told(4300, said, 0),
                Verdict::Stop(Event::Superseded)
            ));
            assert!(matches!(
                told(4302, said, 0),
                Verdict::Stop(Event::TurnedAway { .. })
            ));
        }
        assert!(matches!(told(0, C::Unknown, 0), Verdict::Again { .. }));
        assert!(matches!(told(99_999, C::Unknown, 0), Verdict::Again { .. }));
    }

    #[test]
    fn only_gims_refusals_of_a_sign_in_are_final() {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(15));
        let mut of = |code| {
            let message = String::new();
            let end = End::NotSignedIn { code, message };
            Verdict::of(end, &mut backoff, OnSuperseded::End)
        };
        assert!(matches!(of(10_000), Verdict::Stop(Event::SignedOut { .. })));
        assert!(matches!(of(14), Verdict::Again { .. }));
        assert!(matches!(of(8), Verdict::Again { .. }));
    }
}
