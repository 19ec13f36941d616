//! The server under test: one that is started for the run, or an address; and what it uses of the
//! machine.

mod database;
pub(crate) mod ports;
mod process;
mod server;
mod usage;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::Fault;
use crate::args::{Common, Store, Wire};
use crate::net::{Framing, Place, Sources};
use server::Server;

pub use usage::{Load, Usage, Watched};

/// How many connections one process of this machine holds: what its descriptors allow, and no more
/// than one thread is good for.
///
/// # Errors
/// The system does not say.
pub fn capacity() -> Result<usize, Fault> {
    let all = server::capacity()?.clamp(1, 50_000);
    Ok(usize::try_from(all).unwrap_or(usize::MAX))
}

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
    /// Clients over TCP, by node.
    pub tcp: Vec<SocketAddr>,
    /// Clients over WebSocket, by node.
    pub ws: Vec<SocketAddr>,
    /// Where `LogicExt` and `BusinessExt` are, by process.
    pub services: Vec<Services>,
    /// Where files are uploaded, if it was started here.
    pub http: Option<SocketAddr>,
    /// The storage, if it was started here.
    pub store: Option<Store>,
    /// What it says of itself.
    pub version: String,
    /// Connections from here to there.
    sources: Option<u32>,
    watched: Watched,
    server: Option<Server>,
}

/// The gRPC addresses of one process.
#[derive(Clone, Debug)]
pub struct Services {
    /// `LogicExt`.
    pub grpc: String,
    /// `BusinessExt`.
    pub business: String,
}

impl Target {
    /// The server that the arguments name; started, if that is what they say.
    ///
    /// # Errors
    /// It cannot be started, or does not become ready.
    pub async fn open(args: &Common) -> Result<Self, Fault> {
        if let (Some(addr), Some(grpc)) = (args.server, &args.grpc) {
            let services = Services {
                grpc: grpc.clone(),
                business: args.business.clone().unwrap_or_else(|| grpc.clone()),
            };
            let pids: Vec<u32> = args.server_pid.into_iter().collect();
            return Ok(Self {
                tcp: vec![addr],
                ws: vec![addr],
                services: vec![services],
                http: None,
                store: None,
                version: "a running server".to_owned(),
                sources: args.sources,
                watched: Watched {
                    server: pids.clone(),
                    holders: pids,
                    clients: Vec::new(),
                },
                server: None,
            });
        }
        let server = Server::start(args).await?;
        let services = server.grpc.iter().map(|addr| Services {
            grpc: format!("http://{addr}"),
            business: format!("http://{addr}"),
        });
        let mut target = Self {
            tcp: server.tcp.clone(),
            ws: server.ws.clone(),
            services: services.collect(),
            http: server.http,
            store: Some(args.store),
            version: server.version.clone(),
            sources: args.sources,
            watched: Watched::default(),
            server: Some(server),
        };
        target.watch();
        Ok(target)
    }

    /// The `LogicExt` of its first process.
    ///
    /// # Errors
    /// There is none.
    pub fn grpc(&self) -> Result<&str, Fault> {
        let first = self.services.first().map(|it| &*it.grpc);
        first.ok_or_else(|| Fault::new("gRPC", "there is no address"))
    }

    /// Where connections of this wire go, if so many are made within a minute.
    #[must_use]
    pub fn place(&self, wire: Wire, connections: usize) -> Place {
        let (to, framing) = match wire {
            Wire::Tcp | Wire::Gim => (&self.tcp, Framing::Tcp),
            Wire::Ws => (&self.ws, Framing::Ws),
        };
        let chosen = || {
            to.first()
                .map(|addr| Sources::enough(connections, addr.ip()))
        };
        let from = self.sources.map(Sources::of).or_else(chosen);
        Place {
            to: to.clone(),
            framing,
            from: from.unwrap_or_default(),
        }
    }

    /// The process ids that run now.
    fn watch(&mut self) {
        if let Some(server) = &self.server {
            self.watched.server = server.ids();
            self.watched.holders = server.holders();
        }
    }

    /// From now on, these processes are parts of this program.
    pub fn clients(&mut self, pids: Vec<u32>) {
        self.watched.clients = pids;
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
        self.watched.usage()
    }

    /// The same, for a thread of its own.
    pub fn usage_of(&self) -> impl Fn() -> Usage + Send + 'static {
        let watched = self.watched.clone();
        move || watched.usage()
    }

    /// The first half of a restart: the nodes that hold connections stop in order. Only for a server
    /// that was started here.
    ///
    /// # Errors
    /// It was not started here, or did not stop.
    pub async fn halt(&mut self) -> Result<(), Fault> {
        self.ours()?.halt().await?;
        self.watch();
        Ok(())
    }

    /// The second half: they start again on the same addresses and data.
    ///
    /// # Errors
    /// It was not started here, or did not start.
    pub async fn resume(&mut self) -> Result<(), Fault> {
        self.ours()?.resume().await?;
        self.watch();
        Ok(())
    }

    /// `kill -9` of the nodes that hold connections.
    ///
    /// # Errors
    /// It was not started here.
    pub async fn kill(&mut self) -> Result<(), Fault> {
        self.ours()?.kill().await?;
        self.watch();
        Ok(())
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
