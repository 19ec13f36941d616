//! A TCP proxy that injects faults: it can cut, freeze, silence or redirect connections, delay or
//! drop an answer to a COMMIT, or answer with an error of a MySQL server.
//!
//! It also stands for what leads to several servers: a virtual address, a load balancer, a
//! Kubernetes service. Open connections keep their server until they are cut.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Treatment of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyMode {
    /// Passes everything.
    Pass,
    /// Passes the next COMMIT, waits for its answer, and closes the connection instead of passing
    /// the answer on.
    SwallowCommit,
    /// Closes the connection instead of passing the next COMMIT.
    DropCommit,
    /// Delays every COMMIT by this many milliseconds, as if a replica had to acknowledge it first.
    SlowCommit(u64),
    /// Closes the connection at the next entry that is stored.
    DropEntry,
    /// Passes nothing in either direction, and closes no connection.
    Freeze,
    /// Freezes each connection at its next entry that is stored: in the middle of a transaction,
    /// which holds its locks by then. The connection closes when the mode changes.
    FreezeEntry,
    /// Freezes the connection that sends the next bytes with this text (with any bytes, if it is
    /// empty), until everything passes again. All other connections pass.
    FreezeAt(&'static str),
    /// Closes all connections, and new ones at once.
    Down,
    /// Answers the next execution of a prepared statement with the error of this number.
    Fail(u16),
    /// Answers new connections with the error of this number instead of a greeting.
    Refuse(u16),
}

/// Choice of the target of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetChoice {
    /// The first server of the list that accepts.
    FirstThatAccepts,
    /// Each server in turn.
    RoundRobin,
}

/// A running proxy; it stops and cuts every connection when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    /// Address for clients.
    pub address: SocketAddr,
    mode: watch::Sender<ProxyMode>,
    /// Connections below this number are cut.
    cut_below: watch::Sender<usize>,
    state: Arc<ProxyState>,
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
    servers: Mutex<Vec<String>>,
}

impl FaultProxy {
    /// Starts a proxy in front of this server.
    pub async fn before(server: impl ToString + Send) -> Self {
        Self::at("127.0.0.1:0", server).await
    }

    /// Starts a proxy at this address in front of this server.
    pub async fn at(address: &str, server: impl ToString + Send) -> Self {
        let servers = vec![server.to_string()];
        Self::start(address, servers, TargetChoice::FirstThatAccepts).await
    }

    /// Starts a proxy that leads to several servers, or to none yet.
    pub async fn balance(servers: &[SocketAddr], choice: TargetChoice) -> Self {
        let servers = servers.iter().map(ToString::to_string).collect();
        Self::start("127.0.0.1:0", servers, choice).await
    }

    async fn start(address: &str, servers: Vec<String>, choice: TargetChoice) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (mode, cut_below) = (watch::Sender::new(ProxyMode::Pass), watch::Sender::new(0));
        let state = Arc::new(ProxyState {
            servers: Mutex::new(servers),
            ..ProxyState::default()
        });
        let (modes, mut cuts) = (mode.subscribe(), cut_below.subscribe());
        let shared = Arc::clone(&state);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            let mut turn: usize = 0;
            while let Ok((mut client, _)) = listener.accept().await {
                while links.try_join_next().is_some() {}
                let now = *modes.borrow();
                match now {
                    ProxyMode::Down => continue,
                    ProxyMode::Refuse(number) => {
                        links.spawn(async move {
                            let _ = client.write_all(&error_packet(0, number)).await;
                        });
                        continue;
                    }
                    _ => {}
                }
                turn = turn.wrapping_add(1);
                cuts.mark_unchanged();
                let Some(server) = shared.connect(choice, turn).await else {
                    continue;
                };
                // A cut applies to the connection that was being made, too.
                let cut = cuts.has_changed().unwrap_or(true);
                if cut || client.set_nodelay(true).is_err() {
                    continue;
                }
                let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
                shared.links.fetch_add(1, Ordering::SeqCst);
                let (modes, mut cuts) = (modes.clone(), cuts.clone());
                let state = Arc::clone(&shared);
                links.spawn(async move {
                    // Biased: a cut wins over bytes that could pass.
                    tokio::select! {
                        biased;
                        _ = cuts.wait_for(|below| number < *below) => {}
                        () = carry(number, client, server, modes, &state) => {}
                    }
                    state.links.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            mode,
            cut_below,
            state,
            _tasks: tasks,
        }
    }

    /// Sets the treatment of the traffic; the fault of a mode is injected once.
    pub fn set(&self, mode: ProxyMode) {
        self.state.armed.store(1, Ordering::SeqCst);
        self.mode.send_replace(mode);
    }

    /// Sets `ProxyMode::Down`; returns when all connections are closed.
    pub async fn down(&self) {
        self.set(ProxyMode::Down);
        self.without_links().await;
    }

    /// Cuts all current connections; new ones pass. Returns when they are closed.
    pub async fn cut(&self) {
        self.set(ProxyMode::Pass);
        self.cut_connections();
        self.without_links().await;
    }

    async fn without_links(&self) {
        while self.links() > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Cuts all current connections.
    pub fn cut_connections(&self) {
        self.cut_below.send_replace(self.accepted());
    }

    /// Silences all current connections without closing them; new ones pass.
    pub fn silence(&self) {
        self.state
            .silent_below
            .store(self.accepted(), Ordering::SeqCst);
        self.set(ProxyMode::Pass);
    }

    /// Directs new connections to this server.
    pub fn lead_to(&self, server: &str) {
        *self.state.servers() = vec![server.to_owned()];
    }

    /// Directs new connections to these servers, or to none, and cuts the current ones.
    pub fn lead(&self, servers: &[SocketAddr]) {
        *self.state.servers() = servers.iter().map(ToString::to_string).collect();
        self.cut_connections();
    }

    /// Returns the number of connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Returns the number of bytes received from the servers.
    #[must_use]
    pub fn received(&self) -> usize {
        self.state.received.load(Ordering::SeqCst)
    }

    /// Returns the number of connections that clients have ended with a closing message of MySQL.
    #[must_use]
    pub fn quits(&self) -> usize {
        self.state.quits.load(Ordering::SeqCst)
    }

    /// Returns the number of open connections.
    #[must_use]
    pub fn links(&self) -> usize {
        self.state.links.load(Ordering::SeqCst)
    }

    /// Returns how often the fault of a mode was injected.
    #[must_use]
    pub fn struck(&self) -> usize {
        self.state.struck.load(Ordering::SeqCst)
    }
}

impl ProxyState {
    fn servers(&self) -> MutexGuard<'_, Vec<String>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects to the target of a new connection.
    async fn connect(&self, choice: TargetChoice, turn: usize) -> Option<TcpStream> {
        let mut servers = self.servers().clone();
        if choice == TargetChoice::RoundRobin && !servers.is_empty() {
            let at = turn % servers.len();
            servers = vec![servers.swap_remove(at)];
        }
        for server in servers {
            if let Ok(stream) = TcpStream::connect(server).await {
                return stream.set_nodelay(true).is_ok().then_some(stream);
            }
        }
        None
    }

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
    word.is_empty() || bytes.windows(word.len()).any(|it| it == word)
}

/// The packet by which a client of MySQL ends its connection.
const QUIT: [u8; 5] = [1, 0, 0, 0, 1];

/// Builds an error packet, as the server sends it, with this sequence number.
fn error_packet(sequence: u8, number: u16) -> Vec<u8> {
    let text = format!("#HY000injected {number}");
    let length = u8::try_from(text.len() + 3).expect("a short text");
    let mut packet = vec![length, 0, 0, sequence, 0xff];
    packet.extend(number.to_le_bytes());
    packet.extend(text.as_bytes());
    packet
}

/// Carries the bytes of one connection in both directions until either side closes it.
async fn carry(
    number: usize,
    mut client: TcpStream,
    mut server: TcpStream,
    mut mode: watch::Receiver<ProxyMode>,
    state: &ProxyState,
) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let now = *mode.borrow_and_update();
        let silent = number < state.silent_below.load(Ordering::SeqCst);
        if now == ProxyMode::Down {
            return;
        }
        if silent || now == ProxyMode::Freeze {
            if mode.changed().await.is_err() {
                return;
            }
            continue;
        }
        // Biased: a new mode applies before the next bytes.
        tokio::select! {
            biased;
            changed = mode.changed() => if changed.is_err() { return },
            read = client.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
                let bytes = up.get(..n).unwrap_or_default();
                if bytes == QUIT.as_slice() {
                    state.quits.fetch_add(1, Ordering::SeqCst);
                }
                // A COMMIT is a text query. An entry is stored by a prepared statement: its text
                // passes once, and its rows contain the words that the test sends.
                let commit = holds(bytes, b"\x03COMMIT");
                let entry = holds(bytes, b"strike here");
                match now {
                    ProxyMode::DropCommit if commit && state.inject() => return,
                    ProxyMode::DropEntry if entry && state.inject() => return,
                    // 0x17 executes a prepared statement.
                    ProxyMode::Fail(number) if bytes.get(4) == Some(&0x17) && state.inject() => {
                        if client.write_all(&error_packet(1, number)).await.is_err() {
                            return;
                        }
                        continue;
                    }
                    ProxyMode::SlowCommit(ms) if commit => {
                        tokio::time::sleep(Duration::from_millis(ms)).await;
                    }
                    ProxyMode::FreezeEntry if entry => {
                        state.struck.fetch_add(1, Ordering::SeqCst);
                        let _ = mode.changed().await;
                        return;
                    }
                    ProxyMode::FreezeAt(text) if holds(bytes, text.as_bytes()) && state.inject() => {
                        let ended = |mode: &ProxyMode| {
                            matches!(mode, ProxyMode::Pass | ProxyMode::Down)
                        };
                        let _ = mode.wait_for(ended).await;
                    }
                    _ => {}
                }
                if server.write_all(bytes).await.is_err() {
                    return;
                }
                if now == ProxyMode::SwallowCommit && commit && state.inject() {
                    // The answer is read and dropped with both connections: the server has
                    // committed for certain, and the client cannot know it.
                    if !matches!(server.read(&mut down).await, Ok(1..)) {
                        state.struck.fetch_sub(1, Ordering::SeqCst);
                    }
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                state.received.fetch_add(n, Ordering::SeqCst);
                let bytes = down.get(..n).unwrap_or_default();
                if client.write_all(bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}
