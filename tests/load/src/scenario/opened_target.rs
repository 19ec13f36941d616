//! Opens the server of a run, and closes it however the run ends.

use tokio::signal::unix::{SignalKind, signal};

use crate::LoadError;
use crate::args::CommonArgs;
use crate::target::ServerTarget;

/// Runs `run` against the server of these arguments. Stops what was started in any case, on Ctrl-C
/// and SIGTERM, too.
pub(crate) async fn with_target<T>(
    common: &CommonArgs,
    run: impl AsyncFnOnce(&mut ServerTarget) -> Result<T, LoadError>,
) -> Result<T, LoadError> {
    let mut target = ServerTarget::open(common).await?;
    let done = tokio::select! {
        done = run(&mut target) => done,
        stopped = interrupted() => Err(stopped.err().unwrap_or_else(|| {
            LoadError::new("the run", "interrupted")
        })),
    };
    // Close first, whatever happened: an error of the run must not leave the server behind.
    let closed = target.close().await;
    let done = done?;
    closed?;
    Ok(done)
}

/// Waits for Ctrl-C or SIGTERM.
async fn interrupted() -> Result<(), LoadError> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        done = tokio::signal::ctrl_c() => Ok(done?),
    }
}
