//! Server under test, started for the run or given by its address, and its resource usage.

mod database;
pub(crate) mod ports;
mod process;
mod server;
mod usage;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::LoadError;
use crate::args::{CommonArgs, StoreKind, WireKind};
use crate::net::{ConnectTarget, SourceAddresses, WireFraming};
use server::Server;

pub use usage::{UsageDelta, UsageSample, WatchedProcesses};

/// Returns the number of connections that one process of this machine holds: its limit of
/// descriptors, and no more than one thread can serve.
///
/// # Errors
/// The system does not tell the limit.
pub fn capacity() -> Result<usize, LoadError> {
    let all = server::capacity()?.clamp(1, 50_000);
    Ok(usize::try_from(all).unwrap_or(usize::MAX))
}

/// Returns the URL of the `MySQL` server that the environment names.
///
/// # Errors
/// The environment names no server.
pub fn mysql_server() -> Result<String, LoadError> {
    database::server()
}

/// Server under test.
#[derive(Debug)]
pub struct ServerTarget {
    /// Addresses for clients over TCP, by node.
    pub tcp: Vec<SocketAddr>,
    /// Addresses for clients over WebSocket, by node.
    pub ws: Vec<SocketAddr>,
    /// URLs of `LogicExt` and `BusinessExt`, by process.
    pub services: Vec<ServiceUrls>,
    /// Address for uploads, if the server was started here.
    pub http: Option<SocketAddr>,
    /// Storage, if the server was started here.
    pub store: Option<StoreKind>,
    /// Version of the server, as it says.
    pub version: String,
    /// Number of source addresses, if the arguments give it.
    sources: Option<u32>,
    watched: WatchedProcesses,
    server: Option<Server>,
}

/// URLs of the gRPC services of one process.
#[derive(Clone, Debug)]
pub struct ServiceUrls {
    /// URL of `LogicExt`.
    pub grpc: String,
    /// URL of `BusinessExt`.
    pub business: String,
}

impl ServerTarget {
    /// Opens the server that the arguments name, and starts it if they say so.
    ///
    /// # Errors
    /// It cannot be started, or does not become ready.
    pub async fn open(args: &CommonArgs) -> Result<Self, LoadError> {
        if let (Some(addr), Some(grpc)) = (args.server, &args.grpc) {
            let services = ServiceUrls {
                grpc: grpc.clone(),
                business: args.business.clone().unwrap_or_else(|| grpc.clone()),
            };
            let pids: Vec<u32> = args.server_pid.into_iter().collect();
            return Ok(Self {
                tcp: vec![addr],
                ws: vec![addr],
                services: vec![services],
                http: Some(addr),
                store: None,
                version: "a running server".to_owned(),
                sources: args.sources,
                watched: WatchedProcesses {
                    server: pids.clone(),
                    holders: pids,
                    clients: Vec::new(),
                },
                server: None,
            });
        }
        let server = Server::start(args).await?;
        let services = server.grpc.iter().map(|addr| ServiceUrls {
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
            watched: WatchedProcesses::default(),
            server: Some(server),
        };
        target.watch();
        Ok(target)
    }

    /// Returns the URL of the `LogicExt` of the first process.
    ///
    /// # Errors
    /// The target has no gRPC address.
    pub fn grpc(&self) -> Result<&str, LoadError> {
        let first = self.services.first().map(|it| &*it.grpc);
        first.ok_or_else(|| LoadError::new("gRPC", "there is no address"))
    }

    /// Returns the addresses for `connections` connections over this wire, made within a minute.
    #[must_use]
    pub fn connect_target(&self, wire: WireKind, connections: usize) -> ConnectTarget {
        let http: Vec<SocketAddr> = self.http.into_iter().collect();
        let (to, framing) = match wire {
            WireKind::Tcp | WireKind::Gim => (&self.tcp, WireFraming::Tcp),
            WireKind::Ws => (&self.ws, WireFraming::Ws),
            WireKind::Json => (&self.ws, WireFraming::Json),
            WireKind::Events => (&http, WireFraming::Events),
        };
        let chosen = || {
            to.first()
                .map(|addr| SourceAddresses::enough(connections, addr.ip()))
        };
        let from = self.sources.map(SourceAddresses::of).or_else(chosen);
        ConnectTarget {
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
    pub fn usage(&self) -> UsageSample {
        self.watched.usage()
    }

    /// Returns a function that samples the usage on another thread.
    pub fn usage_of(&self) -> impl Fn() -> UsageSample + Send + 'static {
        let watched = self.watched.clone();
        move || watched.usage()
    }

    /// Stops the nodes that hold connections in order: the first half of a restart. Only for a
    /// server that was started here.
    ///
    /// # Errors
    /// It was not started here, or did not stop.
    pub async fn halt(&mut self) -> Result<(), LoadError> {
        self.own_server()?.halt().await?;
        self.watch();
        Ok(())
    }

    /// Starts them again on the same addresses and data: the second half of a restart.
    ///
    /// # Errors
    /// It was not started here, or did not start.
    pub async fn resume(&mut self) -> Result<(), LoadError> {
        self.own_server()?.resume().await?;
        self.watch();
        Ok(())
    }

    /// Kills the nodes that hold connections with `kill -9`.
    ///
    /// # Errors
    /// It was not started here.
    pub async fn kill(&mut self) -> Result<(), LoadError> {
        self.own_server()?.kill().await?;
        self.watch();
        Ok(())
    }

    fn own_server(&mut self) -> Result<&mut Server, LoadError> {
        let why = "the server was not started by this program, and only such a one can be";
        self.server
            .as_mut()
            .ok_or_else(|| LoadError::new("restarting the server", why))
    }

    /// Stops what was started and removes what it left.
    ///
    /// # Errors
    /// It did not stop in order.
    pub async fn close(mut self) -> Result<(), LoadError> {
        match self.server.take() {
            Some(server) => server.end().await,
            None => Ok(()),
        }
    }
}
