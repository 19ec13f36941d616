//! The accept loop: accepts connections, runs each in a task of its own, and rejects those over the
//! connection limits.
//!
//! It handles permits, the handshake's time limit and the stop signal; it does not know packets.
//! The connection itself is served by [`Serve`].

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, Full, Place};
use crate::link::{LinkError, Listener, Opened, Pending};

/// Pause after a failed accept, for example when no descriptors are left: the first and the
/// longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Rejections with an answer that run at the same time; further clients are dropped without one.
const REFUSALS: usize = 64;

/// The service that runs on a connection after its handshake.
pub trait Serve<L>: Send + Sync + 'static {
    /// Serves the connection until it ends.
    fn serve(&self, opened: Opened<L>, addr: SocketAddr) -> impl Future<Output = ()> + Send;
}

/// The limits of an accept loop.
#[derive(Clone, Debug)]
pub struct AcceptLimits {
    /// Time limit of the handshake; then the connection ends. Default 5 s.
    pub handshake: Duration,
    /// Time after which a rejected client may reconnect. Default 5 s.
    pub come_back: Duration,
}

impl Default for AcceptLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            come_back: Duration::from_secs(5),
        }
    }
}

/// Accepts connections until `stop`; each runs on `tasks`, which the caller waits for.
pub async fn accept<Li, S>(
    mut listener: Li,
    sessions: Arc<S>,
    admission: Arc<Admission>,
    limits: AcceptLimits,
    tasks: TaskTracker,
    stop: CancellationToken,
) where
    Li: Listener,
    S: Serve<<Li::Pending as Pending>::Link>,
{
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let mut rest = BACK_OFF.0;
    loop {
        let accepted = tokio::select! {
            // Biased: a stop wins over a connection that is ready at the same moment.
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (pending, addr) = match accepted {
            Ok(accepted) => {
                rest = BACK_OFF.0;
                accepted
            }
            Err(error) if of_one_client(&error) => continue,
            Err(error) => {
                gimlet_core::warn_rated!(%error, "accept failed, retrying");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(rest) => {}
                }
                rest = (rest * 2).min(BACK_OFF.1);
                continue;
            }
        };
        // The permit is taken before the handshake, so that unfinished handshakes count as well.
        match admission.enter(addr) {
            Ok(place) => {
                let sessions = Arc::clone(&sessions);
                let ends = (limits.handshake, stop.clone());
                tasks.spawn(attend(pending, addr, sessions, place, ends));
            }
            Err(full) => {
                note(full, addr);
                // Waiting for a free slot here would stop the loop and block every other client.
                let Ok(turn) = Arc::clone(&refusals).try_acquire_owned() else {
                    continue;
                };
                tasks.spawn(async move {
                    let refuse = pending.refuse(limits.come_back);
                    if tokio::time::timeout(limits.handshake, refuse)
                        .await
                        .is_err()
                    {
                        tracing::debug!(%addr, "client did not take its rejection in time");
                    }
                    drop(turn);
                });
            }
        }
    }
}

/// The task of a connection: the handshake, then the session. It lives as long as the connection,
/// so its own state is kept small.
pub(crate) fn attend<P: Pending, S: Serve<P::Link>>(
    pending: P,
    addr: SocketAddr,
    sessions: Arc<S>,
    place: Place,
    (limit, stop): (Duration, CancellationToken),
) -> impl Future<Output = ()> + Send {
    // Boxed, so that the handshake's memory is freed before the session starts.
    let opening = Box::pin(async move {
        // A stop aborts handshakes: their clients have nothing to lose yet.
        stop.run_until_cancelled(open(pending, addr, limit)).await?
    });
    async move {
        // The opened link moves into `session` here; nothing of it may stay in this frame while the
        // session runs, as it would count in every connection's task.
        let session = match opening.await {
            Some((opened, addr)) => sessions.serve(opened, addr),
            None => return drop(place),
        };
        session.await;
        drop(place);
    }
}

async fn open<P: Pending>(
    pending: P,
    addr: SocketAddr,
    limit: Duration,
) -> Option<(Opened<P::Link>, SocketAddr)> {
    let opened = match tokio::time::timeout(limit, pending.open()).await {
        Ok(opened) => opened,
        Err(_) => Err(LinkError::HandshakeTimeout(limit)),
    };
    match opened {
        Ok(opened) => Some((opened, addr)),
        Err(error) => {
            tracing::debug!(%addr, %error, "handshake failed");
            None
        }
    }
}

/// Returns whether the error belongs to the connection being accepted, not to the listener.
fn of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

fn note(full: Full, addr: SocketAddr) {
    match full {
        Full::Node => {
            gimlet_core::warn_rated!(
                %addr,
                "connection rejected: node is at limits.max_connections"
            );
        }
        Full::Address => {
            gimlet_core::info_rated!(
                %addr,
                "connection rejected: address is at limits.per_address"
            );
        }
    }
}
