//! The accept loop, the only one for clients' sockets, and what comes between it and a protocol:
//! connection permit, PROXY header, TLS handshake, one deadline for all of it.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{ConnectionLimiter, ConnectionPermit, LimitReached};
use crate::proxy_protocol::{self, HeaderError};
use crate::refuse::refuse;
use crate::stream::ClientStream;
use crate::tls::ListenerTls;
use crate::trusted::TrustedProxies;
use crate::wrong_port::{self, ForeignProtocol};

/// First and longest pause of the loop after a failed accept (no file descriptors left, for
/// example). A failed accept leaves the connection in the system's queue: without a pause the loop
/// would spin.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Rejected clients that are answered at a time; beyond it they are just closed.
const REJECTIONS: usize = 64;
/// The same for answers inside TLS: each costs a handshake, and the node is busy already.
const TLS_REJECTIONS: usize = 8;

/// Answer in plain text on a port that speaks TLS.
const TLS_PORT: &str = "This port of gimlet speaks TLS: use https://, wss:// or tls:// in the \
    address, and for gRPC a channel with TLS.";

/// The limits of an accept loop.
#[derive(Clone, Debug)]
pub struct AcceptLimits {
    /// A connection that is not open after this is closed: PROXY header, TLS handshake and the
    /// protocol's first bytes together. Default 5 s.
    pub handshake: Duration,
    /// Time that a rejected client is told to wait. Default 5 s.
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

/// One listener: its socket, and what a connection passes before its protocol begins.
#[derive(Debug)]
pub struct ListenerEntrance {
    /// The bound socket.
    pub listener: TcpListener,
    /// The connection limits.
    pub admission: Arc<ConnectionLimiter>,
    /// TLS, if this listener speaks it.
    pub tls: Option<ListenerTls>,
    /// Proxies that connect for others: their own address is not counted.
    pub trusted: TrustedProxies,
    /// `true` if connections of the trusted proxies begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Deadlines.
    pub limits: AcceptLimits,
}

impl ListenerEntrance {
    /// A plain listener that trusts no proxy.
    #[must_use]
    pub fn plain(listener: TcpListener, admission: Arc<ConnectionLimiter>) -> Self {
        Self {
            listener,
            admission,
            tls: None,
            trusted: TrustedProxies::default(),
            proxy_protocol: false,
            limits: AcceptLimits::default(),
        }
    }
}

/// A connection that may begin its protocol.
#[derive(Debug)]
pub struct AdmittedConnection {
    /// The socket.
    pub stream: ClientStream,
    /// The client's address: the socket's peer, or what a trusted proxy said in a PROXY header.
    pub addr: SocketAddr,
    /// Its place in the connection limits, until it is dropped.
    pub permit: ConnectionPermit,
}

impl AdmittedConnection {
    /// A plain connection of a client that connected itself.
    #[must_use]
    pub const fn plain(socket: TcpStream, addr: SocketAddr, permit: ConnectionPermit) -> Self {
        Self {
            stream: ClientStream::Plain(socket),
            addr,
            permit,
        }
    }

    /// Takes the address that a trusted proxy forwarded for the client's, and counts the connection
    /// for it.
    ///
    /// # Errors
    /// That address has all connections it may.
    pub fn forwarded(&mut self, client: IpAddr) -> Result<(), LimitReached> {
        self.addr = SocketAddr::new(client, 0);
        self.permit
            .count_for(client)
            .inspect_err(|_| note_address(self.addr))
    }

    /// Counts the connection for its peer, unless it is counted already: a trusted proxy that does
    /// not name the client is taken for the client, so that no connection escapes the limit.
    ///
    /// # Errors
    /// The proxy's address has all connections it may.
    pub fn unnamed(&mut self) -> Result<(), LimitReached> {
        if self.permit.is_counted() {
            return Ok(());
        }
        self.permit.count_for(self.addr.ip()).inspect_err(|_| {
            gimlet_core::warn_rated!(
                addr = %self.addr,
                "connection rejected: a trusted proxy names no clients and is at limits.per_address"
            );
        })
    }
}

/// The protocol of a listener: reads the first bytes of its connections and serves them.
pub trait ConnectionProtocol: Send + Sync + 'static {
    /// A connection whose first bytes were those of its protocol. It holds the permit.
    type Opened: Send;

    /// `true` if [`reject`](Self::reject) writes an answer, which on a TLS port needs a handshake.
    const ANSWERS_REJECTED: bool = false;

    /// Reads the first bytes; `None` if the connection is not served. Runs within the deadline.
    fn open(
        &self,
        accepted: AdmittedConnection,
    ) -> impl Future<Output = Option<Self::Opened>> + Send;

    /// Serves the connection until it ends.
    fn serve(&self, opened: Self::Opened) -> impl Future<Output = ()> + Send;

    /// Tells a client that it is not served now and when to reconnect, as far as the protocol can.
    fn reject(&self, stream: ClientStream, after: Duration) -> impl Future<Output = ()> + Send {
        drop((stream, after));
        std::future::ready(())
    }

    /// Logs that a limit is reached.
    fn note_full(&self, full: LimitReached, addr: SocketAddr) {
        tracing::debug!(%addr, ?full, "connection limit reached");
    }
}

/// Settings and protocol that the connections of one listener share.
#[derive(Debug)]
pub struct EntranceState<P> {
    protocol: P,
    tls: Option<ListenerTls>,
    trusted: TrustedProxies,
    proxy_protocol: bool,
    limits: AcceptLimits,
}

/// Accepts until `stop`; each connection runs on `tasks`, which the caller waits for.
pub async fn accept<P: ConnectionProtocol>(
    entrance: ListenerEntrance,
    protocol: P,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let ListenerEntrance {
        listener,
        admission,
        tls,
        trusted,
        proxy_protocol,
        limits,
    } = entrance;
    let shared = Arc::new(EntranceState {
        protocol,
        tls,
        trusted,
        proxy_protocol,
        limits,
    });
    let rejections = Arc::new(Semaphore::new(shared.rejections()));
    let each = |(socket, peer): (TcpStream, SocketAddr)| {
        // The permit is taken before the handshakes, so that unfinished ones count as well. A
        // trusted proxy stands for many clients: its connections are counted for their addresses,
        // as soon as it has named them.
        let permit = if shared.trusted.contains(peer.ip()) {
            admission.enter_uncounted()
        } else {
            admission.enter(peer)
        };
        match permit {
            Ok(permit) => {
                let (shared, stop) = (Arc::clone(&shared), stop.clone());
                tasks.spawn(attend(shared, socket, peer, permit, stop));
            }
            Err(full) => {
                shared.protocol.note_full(full, peer);
                // Waiting for a free slot here would stop the loop and block every other client.
                let Ok(slot) = Arc::clone(&rejections).try_acquire_owned() else {
                    return;
                };
                let shared = Arc::clone(&shared);
                tasks.spawn(async move {
                    shared.reject(socket, peer).await;
                    drop(slot);
                });
            }
        }
    };
    accept_each(&listener, &stop, each).await;
}

/// A bound socket.
pub trait BoundListener: Sync {
    /// A connection of it.
    type Socket: Send;

    /// Takes the next connection.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Socket>> + Send;
}

impl BoundListener for TcpListener {
    type Socket = (TcpStream, SocketAddr);

    async fn accept(&self) -> io::Result<Self::Socket> {
        Self::accept(self).await
    }
}

#[cfg(unix)]
impl BoundListener for tokio::net::UnixListener {
    type Socket = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<Self::Socket> {
        Self::accept(self).await.map(|(socket, _)| socket)
    }
}

/// The accept loop itself: hands every connection to `each` until `stop`.
pub async fn accept_each<L: BoundListener>(
    listener: &L,
    stop: &CancellationToken,
    mut each: impl FnMut(L::Socket),
) {
    let mut rest = BACK_OFF.0;
    loop {
        let accepted = tokio::select! {
            // The stop is polled first, so that a busy listener cannot delay it.
            biased;
            () = stop.cancelled() => return,
            accepted = BoundListener::accept(listener) => accepted,
        };
        match accepted {
            Ok(socket) => {
                rest = BACK_OFF.0;
                each(socket);
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                gimlet_core::warn_rated!(%error, "accept failed, retrying");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(rest) => {}
                }
                rest = (rest * 2).min(BACK_OFF.1);
            }
        }
    }
}

/// The task of a connection: the handshakes, then the protocol. It lives as long as the connection,
/// so its own state is kept small.
pub fn attend<P: ConnectionProtocol>(
    shared: Arc<EntranceState<P>>,
    socket: TcpStream,
    peer: SocketAddr,
    permit: ConnectionPermit,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send {
    // Boxed, so that the memory of the handshakes is freed before the connection is served.
    let opening = {
        let shared = Arc::clone(&shared);
        Box::pin(async move {
            // A stop aborts handshakes: their clients have nothing to lose yet.
            stop.run_until_cancelled(shared.open(socket, peer, permit))
                .await?
        })
    };
    async move {
        // The opened connection moves into `session` here. No part of it may stay in this frame
        // while the session runs, because it would enlarge the task of every connection.
        let session = match opening.await {
            Some(opened) => shared.protocol.serve(opened),
            None => return,
        };
        session.await;
    }
}

impl<P: ConnectionProtocol> EntranceState<P> {
    /// Returns the settings of a plain listener, for tests of a protocol without its loop.
    #[must_use]
    pub fn plain(protocol: P) -> Self {
        Self {
            protocol,
            tls: None,
            trusted: TrustedProxies::default(),
            proxy_protocol: false,
            limits: AcceptLimits::default(),
        }
    }

    async fn open(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        permit: ConnectionPermit,
    ) -> Option<P::Opened> {
        let limit = self.limits.handshake;
        let opening = async {
            let accepted = self.enter(socket, peer, permit).await?;
            self.protocol.open(accepted).await
        };
        let opened = tokio::time::timeout(limit, opening).await;
        opened.unwrap_or_else(|_| {
            tracing::debug!(%peer, "connection not open in time, closed");
            None
        })
    }

    /// PROXY header, then TLS: a proxy of TCP writes its header in front of what the client sends.
    async fn enter(
        &self,
        mut socket: TcpStream,
        peer: SocketAddr,
        mut permit: ConnectionPermit,
    ) -> Option<AdmittedConnection> {
        let mut addr = peer;
        if self.proxy_protocol && self.trusted.contains(peer.ip()) {
            match proxy_protocol::read(&mut socket).await {
                Ok(client) => {
                    // The proxy's own connection (a health check) stays its own.
                    if let Some(client) = client {
                        addr = SocketAddr::new(client.ip().to_canonical(), client.port());
                        if let Err(full) = permit.count_for(addr.ip()) {
                            self.protocol.note_full(full, addr);
                            self.reject(socket, addr).await;
                            return None;
                        }
                    }
                }
                // Some proxies try a port by connecting and closing.
                Err(HeaderError::Ended | HeaderError::Io(_)) => return None,
                Err(error) => {
                    gimlet_core::warn_rated!(
                        %peer,
                        %error,
                        "connection of a trusted proxy refused"
                    );
                    let text = format!("{error}: listen.proxy_protocol has this listener");
                    refuse(socket, &ForeignProtocol::Http1.answer(&text)).await;
                    return None;
                }
            }
        }
        let stream = match &self.tls {
            None => ClientStream::Plain(socket),
            Some(tls) => secure(tls, socket, addr).await?,
        };
        Some(AdmittedConnection {
            stream,
            addr,
            permit,
        })
    }

    /// Returns the number of rejected clients that are answered at a time.
    fn rejections(&self) -> usize {
        if P::ANSWERS_REJECTED && self.tls.is_some() {
            TLS_REJECTIONS
        } else {
            REJECTIONS
        }
    }

    async fn reject(&self, socket: TcpStream, addr: SocketAddr) {
        let AcceptLimits {
            handshake,
            come_back,
        } = self.limits;
        let rejected = async {
            let stream = match &self.tls {
                None => ClientStream::Plain(socket),
                // Nothing would be said inside TLS, so the handshake is spared.
                Some(_) if !P::ANSWERS_REJECTED => {
                    return refuse(socket, &wrong_port::alert(wrong_port::INTERNAL_ERROR)).await;
                }
                Some(tls) => match secure(tls, socket, addr).await {
                    Some(stream) => stream,
                    None => return,
                },
            };
            self.protocol.reject(stream, come_back).await;
        };
        if tokio::time::timeout(handshake, rejected).await.is_err() {
            tracing::debug!(%addr, "client did not take its rejection in time");
        }
    }
}

/// Does the TLS handshake. Plain text gets a plain answer, where its protocol has one.
async fn secure(
    tls: &ListenerTls,
    mut socket: TcpStream,
    addr: SocketAddr,
) -> Option<ClientStream> {
    let mut first = [0];
    match socket.peek(&mut first).await {
        Ok(1..) => {}
        Ok(0) | Err(_) => return None,
    }
    if first != [wrong_port::TLS_HANDSHAKE] {
        let mut bytes = Vec::with_capacity(16);
        while bytes.len() < wrong_port::LEAST {
            use tokio::io::AsyncReadExt as _;
            if !matches!(socket.read_buf(&mut bytes).await, Ok(1..)) {
                return None;
            }
        }
        let foreign = ForeignProtocol::of(&bytes);
        let name = foreign.map_or("plain text", ForeignProtocol::name);
        tracing::debug!(%addr, "{name} on a TLS port, refused");
        match foreign {
            Some(ForeignProtocol::Proxy) => crate::refuse::refuse_proxy(socket).await,
            Some(foreign) => refuse(socket, &foreign.answer(TLS_PORT)).await,
            // gim's protocol has no answer for a client that has not signed in.
            None => {}
        }
        return None;
    }
    match tls.accept(socket).await {
        Ok(stream) => Some(stream),
        Err(error) => {
            tracing::debug!(%addr, %error, "TLS handshake failed");
            None
        }
    }
}

/// Logs that a client's address has all connections it may.
pub fn note_address(addr: SocketAddr) {
    gimlet_core::info_rated!(%addr, "connection rejected: address is at limits.per_address");
}

/// Returns whether the error belongs to the connection being accepted, not to the listener.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
