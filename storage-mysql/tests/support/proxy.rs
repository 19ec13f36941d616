//! A way to a server that can be cut, frozen, or made to swallow the answer to a COMMIT.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the proxy does with the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Passes everything.
    Pass,
    /// Passes the next COMMIT, waits for its answer, and closes instead of passing it on.
    SwallowCommit,
    /// Closes instead of passing the next COMMIT.
    DropCommit,
    /// Closes at the next entry that is stored.
    DropEntry,
    /// Passes nothing in either direction, and closes nothing.
    Freeze,
    /// Closes all connections, and new ones at once.
    Down,
}

/// A running proxy; it ends with this.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    mode: watch::Sender<Mode>,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Shared {
    armed: AtomicU8,
    struck: AtomicUsize,
    links: AtomicUsize,
}

impl Proxy {
    /// A proxy before this server.
    pub(crate) async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = watch::Sender::new(Mode::Pass);
        let shared = Arc::new(Shared::default());
        let (watching, state) = (mode.subscribe(), Arc::clone(&shared));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                if *watching.borrow() == Mode::Down {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&server).await else {
                    continue;
                };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                state.links.fetch_add(1, Ordering::SeqCst);
                let (watching, state) = (watching.clone(), Arc::clone(&state));
                links.spawn(async move {
                    link(client, server, watching, &state).await;
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

    pub(crate) fn set(&self, mode: Mode) {
        self.shared.armed.store(1, Ordering::SeqCst);
        self.mode.send_replace(mode);
    }

    /// Is down, with all connections closed when this returns.
    pub(crate) async fn down(&self) {
        self.set(Mode::Down);
        while self.shared.links.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// How often it has closed a connection as told.
    pub(crate) fn struck(&self) -> usize {
        self.shared.struck.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// Takes the one strike there is per `set`.
    fn strike(&self) -> bool {
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

async fn link(
    mut client: TcpStream,
    mut server: TcpStream,
    mut mode: watch::Receiver<Mode>,
    shared: &Shared,
) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let now = *mode.borrow_and_update();
        match now {
            Mode::Down => return,
            Mode::Freeze => {
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
                // A COMMIT is a text query; an entry is stored by a prepared statement, whose
                // text passes once, and whose rows hold the word that the test sends.
                let commit = holds(bytes, b"\x03COMMIT");
                if now == Mode::DropCommit && commit && shared.strike() {
                    return;
                }
                if now == Mode::DropEntry && holds(bytes, b"strike here") && shared.strike() {
                    return;
                }
                if server.write_all(bytes).await.is_err() {
                    return;
                }
                if now == Mode::SwallowCommit && commit && shared.strike() {
                    let _ = server.read(&mut down).await;
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                if client.write_all(&down[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}
