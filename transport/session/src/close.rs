//! Reasons for closing a connection, as they appear on the wire.
//!
//! The codes and their meaning are defined in `connect.ext.proto`; this module maps the server's
//! reasons onto them. The range of a code (40xx, 41xx, …) tells the client what to do, so the
//! action is derived from the code and not stated twice.

use std::time::Duration;

use bytes::Bytes;
use gimlet_core::hub::{CloseReason, DEVICE_SWITCHED};
use gimlet_proto::pb::{self, CloseCode, ComeBack};
use prost::Message as _;

use crate::encode;

/// Reason of a close by a newer connection of the device.
pub(crate) const SUPERSEDED: &str = "this device has signed in on a newer connection";

/// The reason a connection is closed, and the earliest time its client may reconnect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionClose {
    pub(crate) code: CloseCode,
    pub(crate) text: String,
    pub(crate) after: Duration,
}

impl ConnectionClose {
    pub(crate) fn new(code: CloseCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            after: Duration::ZERO,
        }
    }

    /// Returns the code for a WebSocket close frame; without a reason that is a normal closure
    /// (1000). A client without our extension gets the standard's own code where there is one.
    pub(crate) fn number(&self, extended: bool) -> u16 {
        match self.code {
            CloseCode::Unknown => 1000,
            CloseCode::FrameTooLarge if !extended => 1009,
            code => u16::try_from(i32::from(code)).unwrap_or(1000),
        }
    }

    /// Returns what the client should do.
    pub(crate) fn come_back(&self) -> ComeBack {
        come_back(self.code)
    }

    /// Encodes the `PT_CLOSE` frame.
    pub(crate) fn frame(&self) -> Bytes {
        let output = pb::CloseOutput {
            code: self.code.into(),
            message: self.text.clone(),
            come_back: self.come_back().into(),
            after_ms: i64::try_from(self.after.as_millis()).unwrap_or(i64::MAX),
        };
        let data = output.encode_to_vec().into();
        encode::answer(pb::PackageType::PtClose.into(), 0, data)
    }
}

impl From<CloseReason> for ConnectionClose {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Superseded => Self::new(CloseCode::Superseded, SUPERSEDED),
            CloseReason::SignedOut => Self::new(CloseCode::TokenRevoked, "signed out"),
            CloseReason::DeviceSwitched => Self::new(CloseCode::TokenRevoked, DEVICE_SWITCHED),
            CloseReason::Disconnected(text) => Self::new(CloseCode::Disconnected, text),
            CloseReason::Expired => Self::new(
                CloseCode::TokenExpired,
                "the token of this connection has expired; sign in again",
            ),
            CloseReason::Shutdown { after } => Self {
                after,
                ..Self::new(CloseCode::ShuttingDown, "the server is shutting down")
            },
        }
    }
}

/// Returns the action of the client, which the range of the code determines.
fn come_back(code: CloseCode) -> ComeBack {
    match i32::from(code) / 100 {
        40 => ComeBack::NowWithJitter,
        42 => ComeBack::SignInAgain,
        43 => ComeBack::Never,
        _ => ComeBack::Backoff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_says_when_to_come_back() {
        for (code, says) in [
            (CloseCode::Unknown, ComeBack::Backoff),
            (CloseCode::ShuttingDown, ComeBack::NowWithJitter),
            (CloseCode::Idle, ComeBack::NowWithJitter),
            (CloseCode::TooSlow, ComeBack::Backoff),
            (CloseCode::Disconnected, ComeBack::SignInAgain),
            (CloseCode::TokenRevoked, ComeBack::SignInAgain),
            (CloseCode::TokenExpired, ComeBack::SignInAgain),
            (CloseCode::Superseded, ComeBack::Never),
            (CloseCode::Undecodable, ComeBack::Never),
        ] {
            assert_eq!(come_back(code), says, "{code:?}");
        }
    }

    #[test]
    fn a_close_is_the_golden_frame() {
        let close = ConnectionClose {
            after: Duration::from_millis(1500),
            ..ConnectionClose::new(CloseCode::ShuttingDown, "shutting down")
        };
        let output = pb::Output::decode(close.frame()).unwrap();
        assert_eq!(output.r#type, 17);
        let data = pb::CloseOutput::decode(output.data).unwrap();
        assert_eq!(data.code, 4000);
        assert_eq!(data.after_ms, 1500);
        assert_eq!(close.number(true), 4000);
    }
}
