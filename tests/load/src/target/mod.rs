//! The server under test: one that is started for the run, or an address; and what it uses of the
//! machine.

mod database;
mod ports;
mod server;
mod usage;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::Fault;
use crate::args::{Common, Store, Wire};
use crate::net::{Framing, Place};
use server::Server;

pub use usage::{Load, Usage};

/// The address of the `MySQL` server that the environment names.
///
/// # Errors
/// It names none.
pub fn mysql_server() -> Result<String, Fault> {
    database::server()
}

/// Where the server is.
#[derive(Debug)]
pub struct Target {
    /// Clients over TCP.
    pub tcp: SocketAddr,
    /// Clients over WebSocket.
    pub ws: SocketAddr,
    /// `LogicExt`.
    pub grpc: String,
    /// `BusinessExt`.
    pub business: String,
    /// The storage, if it was started here.
    pub store: Option<Store>,
    /// What it says of itself.
    pub version: String,
    pid: Option<u32>,
    server: Option<Server>,
}

impl Target {
    /// The server that the arguments name; started, if that is what they say.
    ///
    /// # Errors
    /// It cannot be started, or does not become ready.
    pub async fn open(args: &Common) -> Result<Self, Fault> {
        if let (Some(addr), Some(grpc)) = (args.server, &args.grpc) {
            return Ok(Self {
                tcp: addr,
                ws: addr,
                grpc: grpc.clone(),
                business: args.business.clone().unwrap_or_else(|| grpc.clone()),
                store: None,
                version: "a running server".to_owned(),
                pid: args.server_pid,
                server: None,
            });
        }
        let server = Server::start(args).await?;
        let grpc = format!("http://{}", server.ports.grpc);
        Ok(Self {
            tcp: server.ports.tcp,
            ws: server.ports.ws,
            business: grpc.clone(),
            grpc,
            store: Some(args.store),
            version: server.version.clone(),
            pid: server.id(),
            server: Some(server),
        })
    }

    /// Where connections of this wire go.
    #[must_use]
    pub fn place(&self, wire: Wire, sources: u8) -> Place {
        let (addr, framing) = match wire {
            Wire::Tcp | Wire::Gim => (self.tcp, Framing::Tcp),
            Wire::Ws => (self.ws, Framing::Ws),
        };
        Place {
            addr,
            framing,
            sources,
        }
    }

    /// The folder of its data, if it was started here.
    #[must_use]
    pub fn data(&self) -> Option<PathBuf> {
        let server = self.server.as_ref()?;
        Some(server.data.path().to_owned())
    }

    /// What the server and the machine used so far; what is not known is 0.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage::now(self.pid)
    }

    /// The same, for a thread of its own.
    pub fn usage_of(&self) -> impl Fn() -> Usage + Send + 'static {
        let pid = self.pid;
        move || Usage::now(pid)
    }

    /// Stops the server in order and starts it again on the same addresses and data; only for one
    /// that was started here.
    ///
    /// # Errors
    /// It was not started here, or did not stop or start.
    pub async fn restart(&mut self) -> Result<(), Fault> {
        self.halt().await?;
        self.resume().await
    }

    /// The first half of a restart.
    ///
    /// # Errors
    /// It was not started here, or did not stop.
    pub async fn halt(&mut self) -> Result<(), Fault> {
        self.pid = None;
        self.ours()?.stop().await
    }

    /// The second half of a restart.
    ///
    /// # Errors
    /// It was not started here, or did not start.
    pub async fn resume(&mut self) -> Result<(), Fault> {
        let server = self.ours()?;
        server.launch().await?;
        self.pid = server.id();
        Ok(())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// It was not started here.
    pub async fn kill(&mut self) -> Result<(), Fault> {
        self.pid = None;
        self.ours()?.kill().await
    }

    fn ours(&mut self) -> Result<&mut Server, Fault> {
        let why = "it was not started by this program, which restarts its own server only";
        self.server
            .as_mut()
            .ok_or_else(|| Fault::new("restarting the server", why))
    }

    /// Stops what was started and removes what it left.
    ///
    /// # Errors
    /// It did not stop in order.
    pub async fn close(mut self) -> Result<(), Fault> {
        match self.server.take() {
            Some(server) => server.end().await,
            None => Ok(()),
        }
    }
}
