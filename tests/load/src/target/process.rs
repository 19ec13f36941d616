//! One gimlet process of the run's own: started, polled until it is ready, stopped or killed.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::LoadError;

/// Timeout of a start or a stop.
const PATIENCE: Duration = Duration::from_mins(1);

/// Process and its settings.
#[derive(Debug)]
pub(super) struct ServerProcess {
    pub(super) program: PathBuf,
    pub(super) settings: Vec<(String, String)>,
    /// Address of its readiness page.
    pub(super) ops: SocketAddr,
    child: Option<Child>,
}

impl ServerProcess {
    /// Creates a process that is not started yet.
    pub(super) const fn new(
        program: PathBuf,
        settings: Vec<(String, String)>,
        ops: SocketAddr,
    ) -> Self {
        Self {
            program,
            settings,
            ops,
            child: None,
        }
    }

    /// Starts the process.
    pub(super) fn launch(&mut self) -> Result<(), LoadError> {
        let settings = self.settings.iter().map(|(name, value)| (name, value));
        let child = Command::new(&self.program)
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until the process is ready.
    pub(super) async fn ready(&mut self) -> Result<(), LoadError> {
        let until = Instant::now() + PATIENCE;
        while !self.says_ready().await {
            let child = self.child.as_mut().map(Child::try_wait).transpose()?;
            if let Some(Some(status)) = child {
                return Err(LoadError::new("the server's start", status));
            }
            if Instant::now() > until {
                return Err(LoadError::new("the server's start", "not ready in time"));
            }
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    async fn says_ready(&self) -> bool {
        let asked = async {
            let mut ops = TcpStream::connect(self.ops).await?;
            ops.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
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

    /// Asks the process to stop, with SIGTERM.
    pub(super) fn ask(&self) {
        let pid = self.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // If the process is gone already, the wait that follows finds it.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits for the end of a process that was asked to stop.
    pub(super) async fn stopped(&mut self) -> Result<(), LoadError> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        match timeout(PATIENCE, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(LoadError::new("the server's end", status)),
            Ok(Err(error)) => Err(LoadError::new("the server's end", error)),
            Err(_) => Err(LoadError::new("the server's end", "it took too long")),
        }
    }

    /// Kills the process with SIGKILL.
    pub(super) fn kill(&mut self) -> Result<(), LoadError> {
        match &mut self.child {
            Some(child) => Ok(child.start_kill()?),
            None => Ok(()),
        }
    }

    /// Waits for the end of a process that was killed.
    pub(super) async fn gone(&mut self) -> Result<(), LoadError> {
        if let Some(mut child) = self.child.take() {
            child.wait().await?;
        }
        Ok(())
    }
}
