//! A private gimlet process on free loopback ports, killed or stopped by its process id.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::child::ChildProcess;

/// Range of the listening ports: below the range of ephemeral client ports, so that no client
/// connection can occupy one.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Longest duration of a start: an embedded database that was killed recovers first.
const START: Duration = Duration::from_secs(30);

/// Addresses that one process listens on; they stay the same across restarts.
#[derive(Clone, Copy, Debug)]
pub struct ServerPorts {
    /// Client connections over TCP.
    pub tcp: SocketAddr,
    /// Client connections over WebSocket.
    pub ws: SocketAddr,
    /// gRPC for clients.
    pub grpc: SocketAddr,
    /// gRPC for business servers.
    pub internal: SocketAddr,
    /// File uploads.
    pub http: SocketAddr,
    /// Health and metrics.
    pub ops: SocketAddr,
}

impl ServerPorts {
    /// Returns six free ports.
    ///
    /// # Panics
    /// No port is free.
    #[must_use]
    pub fn free() -> Self {
        Self {
            tcp: free(),
            ws: free(),
            grpc: free(),
            internal: free(),
            http: free(),
            ops: free(),
        }
    }
}

/// Returns the next free port. A program never gets a port twice, so processes that do not listen
/// yet cannot collide.
///
/// # Panics
/// No port is free.
#[must_use]
pub fn free() -> SocketAddr {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new(rand::random_range(PORTS)));
    (0..PORTS.len())
        .map(|_| next.fetch_add(1, Ordering::Relaxed))
        .map(|n| PORTS.start + n % (PORTS.end - PORTS.start))
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .find(|addr| TcpListener::bind(addr).is_ok())
        .expect("a free port among thousands")
}

/// A running server. Dropping it kills the process.
#[derive(Debug)]
pub struct ServerProcess {
    child: ChildProcess,
    /// Addresses that it listens on.
    pub ports: ServerPorts,
}

impl ServerProcess {
    /// Starts the binary over a data folder; `extra` is added to its environment.
    ///
    /// # Errors
    /// The binary cannot be started.
    pub fn spawn(
        binary: &Path,
        data: &Path,
        ports: ServerPorts,
        extra: &[(&str, &str)],
    ) -> io::Result<Self> {
        let mut command = Command::new(binary);
        command
            .env("GIMLET_DATA_DIR", data)
            .env("GIMLET_STORAGE__KIND", "sled")
            .env("GIMLET_BUSINESS__CODE_VERIFIER", "dev")
            .env("GIMLET_LISTEN__TCP", ports.tcp.to_string())
            .env("GIMLET_LISTEN__WS", ports.ws.to_string())
            .env("GIMLET_LISTEN__GRPC", ports.grpc.to_string())
            .env("GIMLET_LISTEN__INTERNAL", ports.internal.to_string())
            .env("GIMLET_LISTEN__HTTP", ports.http.to_string())
            .env("GIMLET_LISTEN__OPS", ports.ops.to_string())
            .env("GIMLET_LOG__LEVEL", "error")
            .envs(extra.iter().copied())
            .stdin(Stdio::null());
        let child = ChildProcess::start("gimlet", &mut command)?;
        Ok(Self { child, ports })
    }

    /// Waits until the server accepts clients.
    ///
    /// # Errors
    /// The server ended, or did not listen in time.
    pub async fn ready(&mut self) -> io::Result<()> {
        let ServerPorts { tcp, grpc, .. } = self.ports;
        self.until("listen", move || async move {
            let both = async {
                TcpStream::connect(tcp).await?;
                TcpStream::connect(grpc).await
            };
            matches!(timeout(Duration::from_secs(1), both).await, Ok(Ok(_)))
        })
        .await
    }

    /// Waits until the server's ops port reports that it is ready.
    ///
    /// # Errors
    /// The server ended, or was not ready in time.
    pub async fn ready_to_serve(&mut self) -> io::Result<()> {
        let ops = self.ports.ops;
        self.until("become ready", move || async move {
            let answer = get(ops, "/readyz").await;
            answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
        })
        .await
    }

    /// Waits until the server meets a condition.
    async fn until<F>(&mut self, what: &str, met: impl Fn() -> F + Send + Sync) -> io::Result<()>
    where
        F: Future<Output = bool> + Send,
    {
        let until = Instant::now() + START;
        while !met().await {
            if let Some(status) = self.child.try_wait()? {
                let text = format!("the server exited during its start: {status}");
                return Err(io::Error::other(text));
            }
            pause_before(until, what).await?;
        }
        Ok(())
    }

    /// Sends the process a signal by its short name, for example `TERM`, `STOP` or `CONT`.
    ///
    /// # Errors
    /// `kill` is not installed, or it fails.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        self.child.signal(name)
    }

    /// Stops the server gracefully and waits for its exit.
    ///
    /// # Errors
    /// The server did not exit in time, or exited with a failure.
    pub async fn stop(&mut self) -> io::Result<()> {
        self.signal("TERM")?;
        let until = Instant::now() + START;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(io::Error::other(format!("it exited with {status}"))),
                None => pause_before(until, "exit").await?,
            }
        }
    }

    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process with `kill -9` and waits until it is gone.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()
    }
}

/// Waits a moment before the next look; fails after the deadline.
async fn pause_before(until: Instant, what: &str) -> io::Result<()> {
    if Instant::now() > until {
        let text = format!("the server did not {what} in time");
        return Err(io::Error::new(io::ErrorKind::TimedOut, text));
    }
    sleep_until(Instant::now() + Duration::from_millis(10)).await;
    Ok(())
}

/// Returns the answer of an ops port, with its head.
///
/// # Errors
/// The server did not answer within a second.
pub async fn get(ops: SocketAddr, path: &str) -> io::Result<String> {
    let asked = async {
        let mut ops = TcpStream::connect(ops).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        ops.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        ops.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    timeout(Duration::from_secs(1), asked).await?
}

/// Returns the path of the `gimlet` binary: the one named by `GIMLET_TEST_BINARY`, or the one
/// beside this program.
///
/// # Errors
/// The binary does not exist: build it first.
pub fn binary() -> io::Result<PathBuf> {
    if let Some(named) = std::env::var_os("GIMLET_TEST_BINARY") {
        return Ok(named.into());
    }
    let mut folder = std::env::current_exe()?;
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let binary = folder.join("gimlet");
    if binary.exists() {
        Ok(binary)
    } else {
        let text = format!(
            "{} is not built: cargo build -p gimlet-server",
            binary.display()
        );
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }
}
