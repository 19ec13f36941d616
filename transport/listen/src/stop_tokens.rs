//! The two stages in which the connections of a server end.

use tokio_util::sync::CancellationToken;

/// The tokens of the two stages.
#[derive(Clone, Debug, Default)]
pub struct StopTokens {
    /// Graceful stop: nothing more is accepted.
    pub stop: CancellationToken,
    /// Forced close: open connections are broken off.
    pub force_close: CancellationToken,
}
