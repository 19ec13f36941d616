//! The entry point for gimlet's own tools: a socket in a directory that only the server's user may
//! enter.
//!
//! Only one process has an embedded storage open, so `gimlet backup` and `gimlet new-epoch` send
//! their request to that process, and the commands for operators get a key of its HTTP API. A request is a line, `gimlet-control 1 COMMAND`; the answer is a
//! line, `ok …` or `error …`, and for a backup the bytes of the backup after it.

mod location;

use std::io::{self, Read as _, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gimlet_core::id::Epoch;
use gimlet_core::store::SeqStore;
use gimlet_storage_sled as sled;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::operator_access::OperatorAccess;
use crate::uploaded_files::add_files;
use gimlet_listen::StopTokens;
use location::{SOCKET_NAME, runtime_dirs};

/// Prefix of every request.
const REQUEST_PREFIX: &str = "gimlet-control 1 ";
/// Largest size in bytes of a request, which is one short line.
const REQUEST_MAX_BYTES: u64 = 256;
/// Time limit for the request line.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval at which a write that waits checks for a stop of the server.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// A tool that takes no data for this long is given up.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);

/// The parts of the server that the tools use.
#[derive(Clone, Debug)]
pub(crate) struct ControlSocket {
    /// The data directory.
    pub(crate) dir: PathBuf,
    /// Makes backups.
    pub(crate) exporter: sled::BackupExporter,
    /// Draws epochs.
    pub(crate) seq: Arc<dyn SeqStore>,
    /// Access to the HTTP API, if the server opens it.
    pub(crate) operator: Option<OperatorAccess>,
}

/// Returns a path to the socket that is short enough for the system, however long the directory's
/// is. It is valid while the file is open.
fn short(dir: &Path) -> io::Result<(std::fs::File, PathBuf)> {
    let open = std::fs::File::open(dir)?;
    let path = if cfg!(target_os = "linux") {
        PathBuf::from(format!("/proc/self/fd/{}/{SOCKET_NAME}", open.as_raw_fd()))
    } else {
        dir.join(SOCKET_NAME)
    };
    Ok((open, path))
}

/// Connects to the process that has this data directory open; `None` if none listens.
pub(crate) fn connect(dir: &Path) -> io::Result<Option<StdStream>> {
    for folder in location::candidates(dir, &runtime_dirs())? {
        match short(&folder).and_then(|(_open, path)| StdStream::connect(path)) {
            Ok(stream) => return Ok(Some(stream)),
            // Left by a killed process, or removed meanwhile by one that stopped.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Sends a request and returns the text after `ok`, or the error's text.
pub(crate) fn ask(stream: &mut StdStream, command: &str) -> io::Result<Result<String, String>> {
    stream.write_all(format!("{REQUEST_PREFIX}{command}\n").as_bytes())?;
    let mut line = Vec::new();
    // Byte by byte: the bytes after the line belong to the caller.
    let mut byte = [0];
    while stream.read(&mut byte)? > 0 && byte != *b"\n" {
        line.extend_from_slice(&byte);
    }
    let line = String::from_utf8_lossy(&line).into_owned();
    Ok(match line.split_once(' ').unwrap_or((&line, "")) {
        ("ok", rest) => Ok(rest.to_owned()),
        ("error", text) => Err(text.to_owned()),
        _ => Err("the running gimlet did not answer; it may be of another version".to_owned()),
    })
}

/// The bound socket.
#[derive(Debug)]
pub(crate) struct BoundControl {
    control: ControlSocket,
    listener: UnixListener,
    folder: PathBuf,
}

impl ControlSocket {
    /// Adds the access to the HTTP API.
    pub(crate) fn with_operator(self, operator: Option<OperatorAccess>) -> Self {
        Self { operator, ..self }
    }

    /// Binds the socket. Called before the server reports that it has started, so that a tool that
    /// follows the start reaches it. A server whose socket cannot be bound serves without its tools.
    pub(crate) fn bind(self) -> Option<BoundControl> {
        match listen(&self.dir) {
            Ok((listener, folder)) => Some(BoundControl {
                control: self,
                listener,
                folder,
            }),
            Err(error) => {
                tracing::warn!(%error, "backups and new epochs need the server to be stopped");
                None
            }
        }
    }
}

impl BoundControl {
    /// Serves the tools until the stop.
    pub(crate) async fn serve(self, tasks: TaskTracker, ends: StopTokens) {
        let each = |stream| {
            let (control, stop) = (self.control.clone(), ends.stop.clone());
            tasks.spawn(async move {
                if let Err(error) = answer(stream, control, stop).await {
                    tracing::debug!(%error, "the connection of a tool failed");
                }
            });
        };
        gimlet_listen::accept_each(&self.listener, &ends.stop, each).await;
    }
}

impl Drop for BoundControl {
    fn drop(&mut self) {
        location::remove(&self.folder);
    }
}

/// Listens for the tools of this data directory, whose lock this process holds; returns also the
/// socket's folder.
fn listen(dir: &Path) -> io::Result<(UnixListener, PathBuf)> {
    let folder = location::create(dir, &runtime_dirs())?;
    let (_open, path) = short(&folder)?;
    Ok((UnixListener::bind(path)?, folder))
}

async fn answer(
    stream: UnixStream,
    control: ControlSocket,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let mut bounded = (&mut stream).take(REQUEST_MAX_BYTES);
    timeout(REQUEST_TIMEOUT, bounded.read_line(&mut line)).await??;
    let mut stream = stream.into_inner();
    let command = line.trim_end().strip_prefix(REQUEST_PREFIX);
    match command {
        Some("new-epoch") => {
            let text = match new_epoch(&*control.seq).await {
                Ok((old, new)) => format!("ok {} {}\n", old.0, new.0),
                Err(error) => format!("error {error}\n"),
            };
            stream.write_all(text.as_bytes()).await
        }
        Some("operator") => {
            let text = match &control.operator {
                Some(OperatorAccess { url, key }) => {
                    tracing::info!("a command of the operator got the key of this process");
                    format!("ok {url} {}\n", key.reveal())
                }
                None => "error listen.http is off, and commands call it: open it\n".to_owned(),
            };
            stream.write_all(text.as_bytes()).await
        }
        Some("verify") => {
            let text = "error the storage is in use\n";
            stream.write_all(text.as_bytes()).await
        }
        Some("backup") => {
            let stream = stream.into_std()?;
            stream.set_nonblocking(false)?;
            stream.set_write_timeout(Some(STOP_CHECK_INTERVAL))?;
            let written = tokio::task::spawn_blocking(move || backup(stream, &control, &stop));
            written.await.map_err(io::Error::other)?
        }
        _ => {
            stream
                .write_all(b"error the running gimlet does not know this command\n")
                .await
        }
    }
}

/// Ends the current history and begins a new one.
pub(crate) async fn new_epoch(
    seq: &dyn SeqStore,
) -> Result<(Epoch, Epoch), gimlet_core::store::StoreError> {
    let old = seq.epoch().await?;
    let new = seq.new_epoch(old).await?;
    tracing::warn!(
        old = old.0,
        new = new.0,
        "an operator has drawn a new epoch"
    );
    Ok((old, new))
}

/// Writes a backup to a tool. A failure is written into the backup, so that the reader notices it.
fn backup(stream: StdStream, control: &ControlSocket, stop: &CancellationToken) -> io::Result<()> {
    let stream = StallLimitedWriter {
        stream,
        stop: stop.clone(),
    };
    let mut out = io::BufWriter::with_capacity(256 << 10, stream);
    out.write_all(b"ok\n")?;
    tracing::info!("backup started");
    let mut writer = sled::BackupWriter::new(out)?;
    let look = |_| {
        if stop.is_cancelled() {
            return Err(io::Error::other("the server is shutting down"));
        }
        Ok(())
    };
    let exported = control.exporter.export(&mut writer, look);
    let done = exported.and_then(|exported| {
        add_files(&mut writer, &control.dir)?;
        Ok(exported)
    });
    match done {
        Ok(sled::ExportProgress { rows, commits, .. }) => {
            writer.finish()?;
            tracing::info!(rows, commits, "backup written");
            Ok(())
        }
        Err(error) => {
            tracing::error!(%error, "backup failed");
            writer.fail(&error.to_string())
        }
    }
}

/// A writer that waits while the tool still takes data now and then, and until the server stops.
struct StallLimitedWriter {
    stream: StdStream,
    stop: CancellationToken,
}

impl Write for StallLimitedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let begun = tokio::time::Instant::now();
        loop {
            match self.stream.write(bytes) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) && begun.elapsed() < STALL_TIMEOUT
                        && !self.stop.is_cancelled() => {}
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
