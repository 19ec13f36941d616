//! A gimlet process of the run's own: configured so that no rate limit bounds the run, started on
//! free loopback ports with data in a temporary folder, stopped at the end.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::database::Database;
use super::ports::Ports;
use crate::Fault;
use crate::args::{Common, Store};

/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Limits that protect a server from its users would bound the run instead of the machine.
const RAISED: &[(&str, &str)] = &[
    ("GIMLET_LIMITS__SEND_RATE", "1000000"),
    ("GIMLET_LIMITS__SEND_BURST", "1000000"),
    ("GIMLET_LIMITS__SEND_QUEUE", "65536"),
    ("GIMLET_LIMITS__SEND_DEADLINE", "10s"),
    ("GIMLET_LIMITS__SILENT_BEFORE_SIGN_IN", "60s"),
    ("GIMLET_LIMITS__FAILED_SIGN_INS", "1000000"),
    ("GIMLET_LIMITS__PER_ADDRESS", "0"),
    ("GIMLET_LOG__LEVEL", "error"),
];

/// Descriptors a server keeps for what is no client.
const OTHERS: u64 = 500;

/// A process and what it needs.
#[derive(Debug)]
pub(super) struct Server {
    program: PathBuf,
    settings: Vec<(String, String)>,
    pub(super) ports: Ports,
    pub(super) version: String,
    child: Option<Child>,
    database: Option<Database>,
    pub(super) data: TempDir,
}

/// `gimlet` beside this program.
fn beside() -> Result<PathBuf, Fault> {
    let mut folder = std::env::current_exe()?;
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let program = folder.join("gimlet");
    if program.exists() {
        return Ok(program);
    }
    let why = "it is not there: build it with `cargo build --release -p gimlet-server`, or say \
               --gimlet PATH";
    Err(Fault::new(program.display().to_string(), why))
}

async fn version(program: &PathBuf) -> Result<String, Fault> {
    let output = Command::new(program).arg("--version").output().await;
    let output = output.map_err(|error| Fault::new(program.display().to_string(), error))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Server {
    /// Starts one and waits until it is ready.
    pub(super) async fn start(args: &Common) -> Result<Self, Fault> {
        let program = match &args.gimlet {
            Some(path) => path.clone(),
            None => beside()?,
        };
        let version = version(&program).await?;
        let ports = Ports::free()?;
        let data = match &args.data {
            Some(folder) => TempDir::new_in(folder)?,
            None => TempDir::new()?,
        };
        let database = match args.store {
            Store::Mysql => Some(Database::make().await?),
            Store::Memory | Store::Sled => None,
        };
        let clients = rlimit::Resource::NOFILE.get()?.1.saturating_sub(OTHERS);
        let mut settings = vec![
            ("GIMLET_DATA_DIR", data.path().display().to_string()),
            ("GIMLET_STORAGE__KIND", args.store.to_string()),
            ("GIMLET_LISTEN__TCP", ports.tcp.to_string()),
            ("GIMLET_LISTEN__WS", ports.ws.to_string()),
            ("GIMLET_LISTEN__GRPC", ports.grpc.to_string()),
            ("GIMLET_LISTEN__INTERNAL", ports.internal.to_string()),
            ("GIMLET_LISTEN__HTTP", ports.http.to_string()),
            ("GIMLET_LISTEN__OPS", ports.ops.to_string()),
            ("GIMLET_LIMITS__MAX_CONNECTIONS", clients.to_string()),
        ];
        if let Some(database) = &database {
            settings.push(("GIMLET_STORAGE__MYSQL_URL", database.url.clone()));
            settings.push(("GIMLET_STORAGE__REDIS_URL", database.redis.clone()));
            settings.push(("GIMLET_STORAGE__REDIS_PREFIX", database.prefix()));
        }
        settings.extend(RAISED.iter().map(|&(name, value)| (name, value.to_owned())));
        let mut settings: Vec<(String, String)> = settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        for setting in &args.settings {
            let (name, value) = setting.split_once('=').ok_or_else(|| {
                let why = format!("\"{setting}\" is none: say NAME=VALUE");
                Fault::new("--set", why)
            })?;
            settings.push((name.to_owned(), value.to_owned()));
        }
        let mut server = Self {
            program,
            settings,
            ports,
            version,
            child: None,
            database,
            data,
        };
        match server.launch().await {
            Ok(()) => Ok(server),
            Err(fault) => {
                let _ = server.end().await;
                Err(fault)
            }
        }
    }

    /// Starts the process and waits until it says that it is ready.
    pub(super) async fn launch(&mut self) -> Result<(), Fault> {
        let settings = self.settings.iter().map(|(name, value)| (name, value));
        let child = Command::new(&self.program)
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        self.child = Some(child);
        let until = Instant::now() + PATIENCE;
        while !self.says_ready().await {
            let child = self.child.as_mut().map(Child::try_wait).transpose()?;
            if let Some(Some(status)) = child {
                return Err(Fault::new("the server's start", status));
            }
            if Instant::now() > until {
                return Err(Fault::new("the server's start", "not ready in time"));
            }
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    async fn says_ready(&self) -> bool {
        let asked = async {
            let mut ops = TcpStream::connect(self.ports.ops).await?;
            ops.write_all(b"GET /readyz HTTP/1.1\r\nHost: ops\r\nConnection: close\r\n\r\n")
                .await?;
            let mut answer = Vec::new();
            ops.read_to_end(&mut answer).await?;
            Ok::<_, io::Error>(answer.starts_with(b"HTTP/1.1 200"))
        };
        matches!(timeout(Duration::from_secs(1), asked).await, Ok(Ok(true)))
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Asks it to stop, and waits for its end.
    pub(super) async fn stop(&mut self) -> Result<(), Fault> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).map_err(io::Error::from)?;
        }
        match timeout(PATIENCE, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(Fault::new("the server's end", status)),
            Ok(Err(error)) => Err(Fault::new("the server's end", error)),
            Err(_) => Err(Fault::new("the server's end", "it took too long")),
        }
    }

    /// `kill -9`, and waits for its end.
    pub(super) async fn kill(&mut self) -> Result<(), Fault> {
        match self.child.take() {
            Some(mut child) => Ok(child.kill().await?),
            None => Ok(()),
        }
    }

    /// Stops it and removes what it left.
    pub(super) async fn end(mut self) -> Result<(), Fault> {
        let stopped = self.stop().await;
        if let Some(database) = &self.database {
            database.remove().await?;
        }
        stopped
    }
}
