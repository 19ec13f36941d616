//! Server under test, started for the run or given by its address, and its resource usage.

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

/// Returns the number of connections that one process of this machine holds: its limit of
/// descriptors, and no more than one thread can serve.
///
/// # Errors
/// The system does not tell the limit.
pub fn capacity() -> Result<usize, Fault> {
    let all = server::capacity()?.clamp(1, 50_000);
    Ok(usize::try_from(all).unwrap_or(usize::MAX))
}

/// Returns the URL of the `MySQL` server that the environment names.
///
/// # Errors
/// The environment names no server.
pub fn mysql_server() -> Result<String, Fault> {
    database::server()
}

/// Server under test.
#[derive(Debug)]
pub struct Target {
    /// Addresses for clients over TCP, by node.
    pub tcp: Vec<SocketAddr>,
    /// Addresses for clients over WebSocket, by node.
    pub ws: Vec<SocketAddr>,
    /// URLs of `LogicExt` and `BusinessExt`, by process.
    pub services: Vec<Services>,
    /// Address for uploads, if the server was started here.
    pub http: Option<SocketAddr>,
    /// Storage, if the server was started here.
    pub store: Option<Store>,
    /// Version of the server, as it says.
    pub version: String,
    /// Number of source addresses, if the arguments give it.
    sources: Option<u32>,
    watched: Watched,
    server: Option<Server>,
}

/// URLs of the gRPC services of one process.
#[derive(Clone, Debug)]
pub struct Services {
    /// URL of `LogicExt`.
    pub grpc: String,
    /// URL of `BusinessExt`.
    pub business: String,
}

impl Target {
    /// Opens the server that the arguments name, and starts it if they say so.
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

    /// Returns the URL of the `LogicExt` of the first process.
    ///
    /// # Errors
    /// There is no address.
    pub fn grpc(&self) -> Result<&str, Fault> {
        let first = self.services.first().map(|it| &*it.grpc);
        first.ok_or_else(|| Fault::new("gRPC", "there is no address"))
    }

    /// Returns the addresses for `connections` connections over this wire, made within a minute.
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

    /// Notes the ids of the processes that run now.
    fn watch(&mut self) {
        if let Some(server) = &self.server {
            self.watched.server = server.ids();
            self.watched.holders = server.holders();
        }
    }

    /// Sets the ids of the client processes, whose usage counts as that of this program.
    pub fn clients(&mut self, pids: Vec<u32>) {
        self.watched.clients = pids;
    }

    /// Returns the folder of its data, if the server was started here.
    #[must_use]
    pub fn data(&self) -> Option<PathBuf> {
        let server = self.server.as_ref()?;
        Some(server.data.path().to_owned())
    }

    /// Samples the usage of the server and the machine; unknown values are 0.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.watched.usage()
    }

    /// Returns a function that samples the usage on another thread.
    pub fn usage_of(&self) -> impl Fn() -> Usage + Send + 'static {
        let watched = self.watched.clone();
        move || watched.usage()
    }

    /// Stops the nodes that hold connections in order: the first half of a restart. Only for a
    /// server that was started here.
    ///
    /// # Errors
    /// It was not started here, or did not stop.
    pub async fn halt(&mut self) -> Result<(), Fault> {
        self.ours()?.halt().await?;
        self.watch();
        Ok(())
    }

    /// Starts them again on the same addresses and data: the second half of a restart.
    ///
    /// # Errors
    /// It was not started here, or did not start.
    pub async fn resume(&mut self) -> Result<(), Fault> {
        self.ours()?.resume().await?;
        self.watch();
        Ok(())
    }

    /// Kills the nodes that hold connections with `kill -9`.
    ///
    /// # Errors
    /// It was not started here.
    pub async fn kill(&mut self) -> Result<(), Fault> {
        self.ours()?.kill().await?;
        self.watch();
        Ok(())
    }

    fn ours(&mut self) -> Result<&mut Server, Fault> {
        let why = "the server was not started by this program, and only such a one can be";
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
