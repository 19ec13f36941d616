//! The running server of a configuration, as the operator's commands find it.

use crate::config::Config;
use crate::operator_access::OperatorAccess;

/// Returns the access to the HTTP API of the server that has the embedded storage of this
/// configuration open; `None` if there is none, or if this user may not reach its control socket.
#[cfg(all(unix, feature = "sled"))]
#[must_use]
pub fn operator_access(config: &Config) -> Option<OperatorAccess> {
    use std::time::Duration;

    use crate::config::{SecretString, StorageKind};
    use crate::control;

    /// Time for the answer of the running server.
    const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

    if config.storage.kind != StorageKind::Sled {
        return None;
    }
    let mut stream = control::connect(&config.data_dir).ok()??;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
    // A server of another version, or one without the listener, answers with an error.
    let answer = control::ask(&mut stream, "operator").ok()?.ok()?;
    let (url, key) = answer.split_once(' ')?;
    Some(OperatorAccess {
        url: url.to_owned(),
        key: SecretString::new(key),
    })
}

/// Returns `None`: this build has no control socket.
#[cfg(not(all(unix, feature = "sled")))]
#[must_use]
pub fn operator_access(_: &Config) -> Option<OperatorAccess> {
    None
}
