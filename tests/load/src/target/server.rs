//! The run's own server: configured so that no rate limit bounds the run, started on free loopback
//! ports with data in a temporary folder, and stopped at the end. It is one process, or a cluster
//! of nodes that hold connections and processes for the other roles.

use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;
use tokio::process::Command;

use super::database::RunDatabase;
use super::ports::FreePorts;
use super::process::ServerProcess;
use crate::LoadError;
use crate::args::{CommonArgs, StoreKind};

/// Raised limits. They protect a server from its users, and would bound the run instead of the
/// machine.
const RAISED: &[(&str, &str)] = &[
    ("GIMLET_LIMITS__SEND_RATE", "1000000"),
    ("GIMLET_LIMITS__SEND_BURST", "1000000"),
    ("GIMLET_LIMITS__SEND_QUEUE", "65536"),
    ("GIMLET_LIMITS__SEND_DEADLINE", "10s"),
    ("GIMLET_LIMITS__SILENT_BEFORE_SIGN_IN", "60s"),
    ("GIMLET_LIMITS__FAILED_SIGN_INS", "1000000"),
    ("GIMLET_LIMITS__PER_ADDRESS", "0"),
    ("GIMLET_LIMITS__DEVICE_REGISTRATIONS", "0"),
    ("GIMLET_LIMITS__NEW_DEVICES", "1000000"),
];

/// Descriptors that a server keeps for purposes other than clients.
const OTHERS: u64 = 500;

/// Roles of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProcessRole {
    All,
    /// Everything but connections.
    Logic,
    Connect,
}

/// Addresses on which a process listens.
#[derive(Clone, Copy, Debug)]
struct ListenAddresses {
    role: ProcessRole,
    tcp: SocketAddr,
    ws: SocketAddr,
    grpc: SocketAddr,
    internal: SocketAddr,
    http: SocketAddr,
    ops: SocketAddr,
}

/// Processes of the server, and the resources they need.
#[derive(Debug)]
pub(super) struct Server {
    /// Processes that hold no connections.
    logic: Vec<ServerProcess>,
    /// Processes that hold connections.
    connect: Vec<ServerProcess>,
    /// Addresses for clients.
    pub(super) tcp: Vec<SocketAddr>,
    pub(super) ws: Vec<SocketAddr>,
    /// Addresses of `LogicExt` and `BusinessExt`.
    pub(super) grpc: Vec<SocketAddr>,
    /// Address for uploads.
    pub(super) http: Option<SocketAddr>,
    pub(super) version: String,
    database: Option<RunDatabase>,
    pub(super) data: TempDir,
}

/// Returns the path of `gimlet` beside this program.
fn beside() -> Result<PathBuf, LoadError> {
    let mut folder = std::env::current_exe()?;
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let program = folder.join("gimlet");
    if program.exists() {
        return Ok(program);
    }
    let why = "no such program: build it with `cargo build --release -p gimlet-server`, or say \
               --gimlet PATH";
    Err(LoadError::new(program.display().to_string(), why))
}

async fn version(program: &PathBuf) -> Result<String, LoadError> {
    let output = Command::new(program).arg("--version").output().await;
    let output = output.map_err(|error| LoadError::new(program.display().to_string(), error))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the number of clients that one process of this machine takes.
pub(super) fn capacity() -> Result<u64, LoadError> {
    Ok(rlimit::Resource::NOFILE.get()?.1.saturating_sub(OTHERS))
}

impl ListenAddresses {
    fn free(ports: &mut FreePorts, role: ProcessRole) -> Result<Self, LoadError> {
        Ok(Self {
            role,
            tcp: ports.free()?,
            ws: ports.free()?,
            grpc: ports.free()?,
            internal: ports.free()?,
            http: ports.free()?,
            ops: ports.free()?,
        })
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("GIMLET_LISTEN__TCP", self.tcp.to_string()),
            ("GIMLET_LISTEN__WS", self.ws.to_string()),
            ("GIMLET_LISTEN__GRPC", self.grpc.to_string()),
            ("GIMLET_LISTEN__INTERNAL", self.internal.to_string()),
            ("GIMLET_LISTEN__HTTP", self.http.to_string()),
            ("GIMLET_LISTEN__OPS", self.ops.to_string()),
        ];
        let roles = match self.role {
            ProcessRole::All => return settings,
            ProcessRole::Logic => "logic,business",
            ProcessRole::Connect => "connect",
        };
        settings.push(("GIMLET_ROLES", roles.to_owned()));
        settings.push(("GIMLET_CLUSTER__ADVERTISE", self.internal.to_string()));
        settings
    }
}

/// Lays out the processes that the arguments ask for.
fn layout(args: &CommonArgs) -> Result<Vec<ListenAddresses>, LoadError> {
    let mut ports = FreePorts::new();
    let roles = match args.nodes {
        None => vec![ProcessRole::All],
        Some(nodes) if args.store == StoreKind::Mysql && nodes > 0 => {
            let mut roles = vec![ProcessRole::Logic; args.logic.max(1)];
            roles.resize(roles.len() + nodes, ProcessRole::Connect);
            roles
        }
        Some(_) => {
            let why = "several nodes share MySQL and Redis: use --store mysql, and at least 1";
            return Err(LoadError::new("--nodes", why));
        }
    };
    let listens = roles
        .into_iter()
        .map(|role| ListenAddresses::free(&mut ports, role));
    listens.collect()
}

/// Returns the settings that all processes share.
fn common(
    args: &CommonArgs,
    layout: &[ListenAddresses],
    database: Option<&RunDatabase>,
) -> Result<Vec<(String, String)>, LoadError> {
    let mut settings = vec![
        ("GIMLET_STORAGE__KIND", args.store.to_string()),
        ("GIMLET_LIMITS__MAX_CONNECTIONS", capacity()?.to_string()),
    ];
    if let Some(database) = database {
        settings.push(("GIMLET_STORAGE__MYSQL_URL", database.url.clone()));
        settings.push(("GIMLET_STORAGE__REDIS_URL", database.redis.clone()));
        settings.push(("GIMLET_STORAGE__REDIS_PREFIX", database.prefix()));
    }
    let logic = layout.iter().filter(|it| it.role == ProcessRole::Logic);
    let logic: Vec<_> = logic.map(|it| it.internal.to_string()).collect();
    if !logic.is_empty() {
        let secret = format!("{:032x}", rand::random::<u128>());
        settings.push(("GIMLET_CLUSTER__SECRET", secret));
        settings.push(("GIMLET_CLUSTER__LOGIC", logic.join(",")));
        settings.push(("GIMLET_CLUSTER__BUSINESS", logic.join(",")));
    }
    if !args.default_limits {
        settings.extend(RAISED.iter().map(|&(name, value)| (name, value.to_owned())));
    }
    settings.push(("GIMLET_LOG__LEVEL", "error".to_owned()));
    // The value is not `dev`, so that versions which do not know that value can be measured, too.
    let code = ("GIMLET_BUSINESS__CODE_VERIFIER", "fixed:000000".to_owned());
    settings.push(code);
    let owned = settings.into_iter();
    let mut settings: Vec<_> = owned
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    for setting in &args.settings {
        let (name, value) = setting.split_once('=').ok_or_else(|| {
            let why = format!("\"{setting}\" is not a setting: write NAME=VALUE");
            LoadError::new("--set", why)
        })?;
        settings.retain(|(known, _)| known != name);
        if !value.is_empty() {
            settings.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(settings)
}

impl Server {
    /// Starts the server and waits until it is ready.
    pub(super) async fn start(args: &CommonArgs) -> Result<Self, LoadError> {
        let program = match &args.gimlet {
            Some(path) => path.clone(),
            None => beside()?,
        };
        let layout = layout(args)?;
        let mut server = Self {
            logic: Vec::new(),
            connect: Vec::new(),
            tcp: Vec::new(),
            ws: Vec::new(),
            grpc: Vec::new(),
            http: None,
            version: version(&program).await?,
            data: match &args.data {
                Some(folder) => TempDir::new_in(folder)?,
                None => TempDir::new()?,
            },
            database: match args.store {
                StoreKind::Mysql => Some(RunDatabase::make().await?),
                StoreKind::Memory | StoreKind::Sled => None,
            },
        };
        match server.fill(&program, args, &layout).await {
            Ok(()) => Ok(server),
            Err(fault) => {
                let _ = server.end().await;
                Err(fault)
            }
        }
    }

    async fn fill(
        &mut self,
        program: &std::path::Path,
        args: &CommonArgs,
        layout: &[ListenAddresses],
    ) -> Result<(), LoadError> {
        let common = common(args, layout, self.database.as_ref())?;
        for (number, listens) in layout.iter().enumerate() {
            let folder = self.data.path().join(number.to_string());
            let mut settings = vec![("GIMLET_DATA_DIR", folder.display().to_string())];
            settings.extend(listens.settings());
            let owned = settings.into_iter();
            let mut settings: Vec<_> = owned
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            settings.extend(common.iter().cloned());
            let process = ServerProcess::new(program.to_owned(), settings, listens.ops);
            if listens.role != ProcessRole::Connect {
                self.grpc.push(listens.grpc);
                self.http.get_or_insert(listens.http);
            }
            if listens.role == ProcessRole::Logic {
                self.logic.push(process);
            } else {
                self.tcp.push(listens.tcp);
                self.ws.push(listens.ws);
                self.connect.push(process);
            }
        }
        // Connect nodes call the logic processes, so those start first.
        begin(&mut self.logic).await?;
        begin(&mut self.connect).await
    }

    /// Starts the processes that hold connections, and waits until they are ready.
    pub(super) async fn resume(&mut self) -> Result<(), LoadError> {
        begin(&mut self.connect).await
    }

    /// Asks the processes that hold connections to stop, and waits for their end.
    pub(super) async fn halt(&mut self) -> Result<(), LoadError> {
        end(&mut self.connect).await
    }

    /// Kills the processes that hold connections with `kill -9`, and waits for their end.
    pub(super) async fn kill(&mut self) -> Result<(), LoadError> {
        for process in &mut self.connect {
            process.kill()?;
        }
        for process in &mut self.connect {
            process.gone().await?;
        }
        Ok(())
    }

    /// Returns the ids of the running processes.
    pub(super) fn ids(&self) -> Vec<u32> {
        let all = self.logic.iter().chain(&self.connect);
        all.filter_map(ServerProcess::id).collect()
    }

    /// Returns the ids of the processes that hold connections.
    pub(super) fn holders(&self) -> Vec<u32> {
        self.connect.iter().filter_map(ServerProcess::id).collect()
    }

    /// Stops the server and removes what it left.
    pub(super) async fn end(mut self) -> Result<(), LoadError> {
        // Connect nodes call the logic processes until their end, so those stop last.
        let stopped = end(&mut self.connect).await;
        let stopped = stopped.and(end(&mut self.logic).await);
        if let Some(database) = &self.database {
            database.remove().await?;
        }
        stopped
    }
}

async fn begin(processes: &mut [ServerProcess]) -> Result<(), LoadError> {
    for process in &mut *processes {
        process.launch()?;
    }
    for process in processes {
        process.ready().await?;
    }
    Ok(())
}

async fn end(processes: &mut [ServerProcess]) -> Result<(), LoadError> {
    processes.iter().for_each(ServerProcess::ask);
    let mut stopped = Ok(());
    for process in processes {
        stopped = stopped.and(process.stopped().await);
    }
    stopped
}
