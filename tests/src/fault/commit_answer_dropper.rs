//! A proxy to MySQL that drops answers to COMMIT: the statement reaches the server, its answer does
//! not reach the client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Size of the copy buffer in bytes.
const COPY_BUFFER_BYTES: usize = 64 << 10;

/// A running proxy; dropping it ends it.
#[derive(Debug)]
pub struct CommitAnswerDropper {
    /// Address for MySQL's clients.
    pub address: SocketAddr,
    counts: Arc<DropCounts>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct DropCounts {
    /// Number of answers still to be dropped.
    wanted: AtomicU64,
    done: AtomicU64,
}

impl DropCounts {
    fn take(&self) -> bool {
        let one = |wanted: u64| wanted.checked_sub(1);
        let order = Ordering::SeqCst;
        self.wanted.fetch_update(order, order, one).is_ok()
    }
}

impl CommitAnswerDropper {
    /// Starts a proxy to this server.
    pub async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let counts = Arc::new(DropCounts::default());
        let kept = Arc::clone(&counts);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (server, counts) = (server.clone(), Arc::clone(&kept));
                links.spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        carry(client, server, &counts).await;
                    }
                });
                while links.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            counts,
            _tasks: tasks,
        }
    }

    /// Drops the answer to the next COMMIT.
    pub fn next(&self) {
        self.counts.wanted.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns the number of dropped answers.
    #[must_use]
    pub fn swallowed(&self) -> u64 {
        self.counts.done.load(Ordering::SeqCst)
    }
}

/// Returns whether this is a COMMIT: a plain text query, whose packet is a length, a sequence
/// number, the command 3 and the text.
fn is_commit(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\x03COMMIT")
}

async fn carry(mut client: TcpStream, mut server: TcpStream, counts: &DropCounts) {
    if client
        .set_nodelay(true)
        .and(server.set_nodelay(true))
        .is_err()
    {
        return;
    }
    let (mut up, mut down) = (vec![0; COPY_BUFFER_BYTES], vec![0; COPY_BUFFER_BYTES]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
                let bytes = up.get(..n).unwrap_or_default();
                if server.write_all(bytes).await.is_err() {
                    return;
                }
                if is_commit(bytes) && counts.take() {
                    // The answer is read and dropped with both connections: the server has
                    // committed for certain, and the client cannot know it.
                    let answered = server.read(&mut down).await;
                    assert!(matches!(answered, Ok(1..)), "the server answers a COMMIT");
                    counts.done.fetch_add(1, Ordering::SeqCst);
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                let bytes = down.get(..n).unwrap_or_default();
                if client.write_all(bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}
