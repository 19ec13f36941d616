//! A proxy that can cut, freeze or redirect connections, swallow the answer to a COMMIT, or answer
//! with a server error.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Treatment of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyMode {
    /// Passes everything.
    Pass,
    /// Passes the next COMMIT, waits for its answer, and closes the connection instead of passing
    /// the answer on.
    SwallowCommit,
    /// Closes the connection instead of passing the next COMMIT.
    DropCommit,
    /// Delays every COMMIT by so many milliseconds, as if a replica had to acknowledge it first.
    SlowCommit(u64),
    /// Closes the connection at the next entry that is stored.
    DropEntry,
    /// Passes nothing in either direction, and closes no connection.
    Freeze,
    /// Freezes each connection at its next entry that is stored: in the middle of a transaction,
    /// which holds its locks by then. The connection closes when the mode changes.
    FreezeEntry,
    /// Freezes the connection that sends the next statement with this text, until everything passes
    /// again. All other connections pass.
    FreezeAt(&'static str),
    /// Closes all connections, and new ones at once.
    Down,
    /// Answers the next execution of a prepared statement with the error of this number.
    Fail(u16),
    /// Answers new connections with the error of this number instead of a greeting.
    Refuse(u16),
}

/// A running proxy; it stops when this is dropped.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    pub(crate) address: SocketAddr,
    mode: watch::Sender<ProxyMode>,
    shared: Arc<ProxyState>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct ProxyState {
    armed: AtomicU8,
    struck: AtomicUsize,
    links: AtomicUsize,
    accepted: AtomicUsize,
    /// Closing messages of clients.
    quits: AtomicUsize,
    /// Bytes received from the server.
    received: AtomicUsize,
    /// Connections below this number are silent: nothing passes, and they stay open.
    silent_below: AtomicUsize,
    /// Connections below this number are closed.
    cut_below: AtomicUsize,
    server: Mutex<String>,
}

impl FaultProxy {
    /// Starts a proxy in front of this server.
    pub(crate) async fn before(server: String) -> Self {
        Self::at("127.0.0.1:0", server).await
    }

    /// Starts a proxy at this address in front of this server.
    pub(crate) async fn at(address: &str, server: String) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = watch::Sender::new(ProxyMode::Pass);
        let shared = Arc::new(ProxyState::default());
        *shared.server.lock().unwrap() = server;
        let (watching, state) = (mode.subscribe(), Arc::clone(&shared));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let now = *watching.borrow();
                if now == ProxyMode::Down {
                    continue;
                }
                if let ProxyMode::Refuse(number) = now {
                    let mut client = client;
                    let _ = client.write_all(&error_packet(0, number)).await;
                    continue;
                }
                let server = state.server.lock().unwrap().clone();
                let Ok(server) = TcpStream::connect(&server).await else {
                    continue;
                };
                let number = state.accepted.fetch_add(1, Ordering::SeqCst);
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                state.links.fetch_add(1, Ordering::SeqCst);
                let (watching, state) = (watching.clone(), Arc::clone(&state));
                links.spawn(async move {
                    link(number, client, server, watching, &state).await;
                    state.links.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            mode,
            shared,
            _tasks: tasks,
        }
    }

    pub(crate) fn set(&self, mode: ProxyMode) {
        self.shared.armed.store(1, Ordering::SeqCst);
        self.mode.send_replace(mode);
    }

    /// Sets `ProxyMode::Down`; returns when all connections are closed.
    pub(crate) async fn down(&self) {
        self.set(ProxyMode::Down);
        while self.shared.links.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Closes all current connections; new ones pass.
    pub(crate) async fn cut(&self) {
        let below = self.shared.accepted.load(Ordering::SeqCst);
        self.shared.cut_below.store(below, Ordering::SeqCst);
        self.set(ProxyMode::Pass);
        while self.shared.links.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Silences all current connections without closing them; new ones pass.
    pub(crate) fn silence(&self) {
        let below = self.shared.accepted.load(Ordering::SeqCst);
        self.shared.silent_below.store(below, Ordering::SeqCst);
        self.set(ProxyMode::Pass);
    }

    /// Directs new connections to this server.
    pub(crate) fn lead_to(&self, server: &str) {
        server.clone_into(&mut self.shared.server.lock().unwrap());
    }

    /// Returns the number of connections accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Returns the number of bytes received from the server.
    pub(crate) fn received(&self) -> usize {
        self.shared.received.load(Ordering::SeqCst)
    }

    /// Returns the number of connections that clients have ended with a closing message.
    pub(crate) fn quits(&self) -> usize {
        self.shared.quits.load(Ordering::SeqCst)
    }

    /// Returns the number of open connections.
    pub(crate) fn links(&self) -> usize {
        self.shared.links.load(Ordering::SeqCst)
    }

    /// Returns how often the fault of a mode was injected.
    pub(crate) fn struck(&self) -> usize {
        self.shared.struck.load(Ordering::SeqCst)
    }
}

impl ProxyState {
    /// Returns true once per `set`: the fault of a mode is injected once.
    fn inject(&self) -> bool {
        let mine = self.armed.swap(0, Ordering::SeqCst) == 1;
        if mine {
            self.struck.fetch_add(1, Ordering::SeqCst);
        }
        mine
    }
}

fn holds(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|it| it == word)
}

/// The packet by which a client of MySQL ends its connection.
const QUIT: [u8; 5] = [1, 0, 0, 0, 1];

/// Builds an error packet, as the server sends it, with this sequence number.
fn error_packet(sequence: u8, number: u16) -> Vec<u8> {
    let text = format!("#HY000injected {number}");
    let length = u8::try_from(text.len() + 3).unwrap();
    let mut packet = vec![length, 0, 0, sequence, 0xff];
    packet.extend(number.to_le_bytes());
    packet.extend(text.as_bytes());
    packet
}

async fn link(
    number: usize,
    mut client: TcpStream,
    mut server: TcpStream,
    mut mode: watch::Receiver<ProxyMode>,
    shared: &ProxyState,
) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let now = *mode.borrow_and_update();
        let silent = number < shared.silent_below.load(Ordering::SeqCst);
        if number < shared.cut_below.load(Ordering::SeqCst) {
            return;
        }
        match now {
            ProxyMode::Down => return,
            _ if silent => {
                if mode.changed().await.is_err() {
                    return;
                }
                continue;
            }
            ProxyMode::Freeze => {
                if mode.changed().await.is_err() {
                    return;
                }
                continue;
            }
            _ => {}
        }
        tokio::select! {
            changed = mode.changed() => if changed.is_err() { return },
            read = client.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
                let bytes = &up[..n];
                if bytes == QUIT.as_slice() {
                    shared.quits.fetch_add(1, Ordering::SeqCst);
                }
                // A COMMIT is a text query. An entry is stored by a prepared statement: its text
                // passes once, and its rows contain the words that the test sends.
                let commit = holds(bytes, b"\x03COMMIT");
                if now == ProxyMode::DropCommit && commit && shared.inject() {
                    return;
                }
                // 0x17 executes a prepared statement.
                if let ProxyMode::Fail(number) = now
                    && bytes.get(4) == Some(&0x17)
                    && shared.inject()
                {
                    if client.write_all(&error_packet(1, number)).await.is_err() {
                        return;
                    }
                    continue;
                }
                if now == ProxyMode::DropEntry && holds(bytes, b"strike here") && shared.inject() {
                    return;
                }
                if let ProxyMode::SlowCommit(ms) = now
                    && commit
                {
                    tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
                }
                if now == ProxyMode::FreezeEntry && holds(bytes, b"strike here") {
                    shared.struck.fetch_add(1, Ordering::SeqCst);
                    let _ = mode.changed().await;
                    return;
                }
                if let ProxyMode::FreezeAt(text) = now
                    && holds(bytes, text.as_bytes())
                    && shared.inject()
                {
                    let ended = |mode: &ProxyMode| matches!(mode, ProxyMode::Pass | ProxyMode::Down);
                    let _ = mode.wait_for(ended).await;
                }
                if server.write_all(bytes).await.is_err() {
                    return;
                }
                if now == ProxyMode::SwallowCommit && commit && shared.inject() {
                    let _ = server.read(&mut down).await;
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                shared.received.fetch_add(n, Ordering::SeqCst);
                if client.write_all(&down[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}
