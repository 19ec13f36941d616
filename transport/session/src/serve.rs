//! The accept loop: takes connections in, gives each a task of its own, and turns away what there
//! is no place for.
//!
//! It knows places, the handshake's time limit and when to stop; packets it does not know. What a
//! connection then does is its [`Serve`]'s.

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

/// How long the loop rests after a failed accept (no descriptors left, say), at first and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Clients that are being turned away with words at a time; to more nothing is said.
const REFUSALS: usize = 64;

/// What happens on a connection once its handshake is done.
pub trait Serve<L>: Send + Sync + 'static {
    /// Serves the connection until it ends.
    fn serve(&self, opened: Opened<L>, addr: SocketAddr) -> impl Future<Output = ()> + Send;
}

/// The limits of an accept loop.
#[derive(Clone, Debug)]
pub struct AcceptLimits {
    /// A handshake that takes longer ends the connection. Default 5 s.
    pub handshake: Duration,
    /// What a client that is turned away is told to wait. Default 5 s.
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

/// Accepts until `stop`; each connection runs on `tasks`, which the caller waits for.
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
                gimlet_core::warn_rated!(%error, "cannot accept connections for the moment");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(rest) => {}
                }
                rest = (rest * 2).min(BACK_OFF.1);
                continue;
            }
        };
        match admission.enter(addr) {
            Ok(place) => {
                let sessions = Arc::clone(&sessions);
                let ends = (limits.handshake, stop.clone());
                tasks.spawn(attend(pending, addr, sessions, place, ends));
            }
            Err(full) => {
                note(full, addr);
                // Waiting for a turn would shut everybody out.
                let Ok(turn) = Arc::clone(&refusals).try_acquire_owned() else {
                    continue;
                };
                tasks.spawn(async move {
                    let refuse = pending.refuse(limits.come_back);
                    if tokio::time::timeout(limits.handshake, refuse)
                        .await
                        .is_err()
                    {
                        tracing::debug!(%addr, "left before it could be turned away");
                    }
                    drop(turn);
                });
            }
        }
    }
}

/// What the task of a connection does: the handshake, then the session. It lives as long as the
/// connection, so it holds next to nothing itself.
pub(crate) fn attend<P: Pending, S: Serve<P::Link>>(
    pending: P,
    addr: SocketAddr,
    sessions: Arc<S>,
    place: Place,
    (limit, stop): (Duration, CancellationToken),
) -> impl Future<Output = ()> + Send {
    // Boxed, so that its memory is gone when the session starts.
    let opening = Box::pin(async move {
        // A stop does not wait for handshakes: whoever is in one has nothing to lose.
        stop.run_until_cancelled(open(pending, addr, limit)).await?
    });
    async move {
        // What was opened must be gone from here while it is served.
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
            tracing::debug!(%addr, %error, "no handshake");
            None
        }
    }
}

/// Whether the error belongs to the connection that was being accepted, not to the listener.
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
            gimlet_core::warn_rated!(%addr, "turned away: this node has all connections it may");
        }
        Full::Address => {
            gimlet_core::info_rated!(%addr, "turned away: this address has all connections it may");
        }
    }
}
