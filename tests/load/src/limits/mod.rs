//! Limits: what the machine does without gimlet, measured in the same run as the scenarios. The
//! scenarios' figures are shares of these.
//!
//! Each probe has the shape of one scenario: the same bytes, the same number of connections, the
//! same client program. A probe runs several passes and shows the median; the machine's disk and
//! its two cores are shared, so an absolute number from another hour says little.

pub mod bare;
pub mod beside;
pub mod connect;
pub mod cpu;
pub mod disk;
mod group;
pub mod mysql;
pub mod once;
pub mod page;
mod rate;
pub mod sled;
pub mod wire;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::runtime::Builder;

use page::Inboxes;

pub use rate::{Limit, Pass, short};

/// Result of a probe. Its errors are only shown to a person.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Duration and number of the passes of a probe.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Duration of one pass.
    pub span: Duration,
    /// Number of passes; the median counts.
    pub passes: u32,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            span: Duration::from_secs(2),
            passes: 3,
        }
    }
}

impl Shape {
    /// Runs the passes.
    fn passes(self, mut pass: impl FnMut(Duration) -> Outcome<Pass>) -> Outcome<Vec<Pass>> {
        (0..self.passes.max(1)).map(|_| pass(self.span)).collect()
    }
}

/// Rate per second of the probes that do one operation at a time.
const RATE: f64 = 200.0;

/// A family of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Family {
    /// Appends made durable, one by one and together.
    Disk,
    /// Durable sends of the embedded engine.
    Sled,
    /// Sends, group messages and pages of `MySQL` (needs --mysql).
    Mysql,
    /// Pages read from memory and from the embedded engine.
    Page,
    /// Frames there and back over loopback.
    Echo,
    /// A room's messages to its members over loopback.
    Room,
    /// Connections made.
    Connect,
    /// One echo and one durable commit at a time, at a low rate.
    Once,
}

/// Arguments of `limits`.
#[derive(Clone, Debug, Args)]
pub struct Limits {
    /// Run only these families of probes, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<Family>,
    /// Seconds of one pass
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Passes of each probe; the median counts
    #[arg(long, default_value_t = 3)]
    pub passes: u32,
    /// Folder of the disk probes; by default a temporary one
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Database of the mysql probes, `mysql://user:password@host:port/database`
    #[arg(long, value_name = "URL")]
    pub mysql: Option<String>,
    /// Connections of the connect probe
    #[arg(long, default_value_t = 19_000)]
    pub connections: usize,
    /// Servers of the connect probe
    #[arg(long, default_value_t = 1)]
    pub nodes: usize,
    /// Write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Limits {
    fn wants(&self, family: Family) -> bool {
        self.only.is_empty() || self.only.contains(&family)
    }
}

/// Runs the selected probes and passes on each limit as soon as it is known. Blocks the thread.
///
/// # Errors
/// A probe cannot be run.
pub fn run(args: &Limits, mut found: impl FnMut(Limit)) -> Outcome<()> {
    let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let shape = Shape {
        span: Duration::try_from_secs_f64(args.seconds)?,
        passes: args.passes,
    };
    if args.wants(Family::Disk) {
        disk::all(&dir, shape)?.into_iter().for_each(&mut found);
    }
    if args.wants(Family::Sled) {
        for senders in [1, 64, 512] {
            found(sled::sends(&dir, shape, senders)?);
        }
    }
    if args.wants(Family::Page) {
        found(page::memory(shape, Inboxes::default())?);
        found(sled::pages(&dir, shape, Inboxes::default())?);
    }
    wires(args, shape, &mut found)?;
    if args.wants(Family::Once) {
        found(once::echo(shape, RATE)?);
        found(once::sled_commit(&dir, shape, RATE)?);
    }
    match &args.mysql {
        Some(url) => {
            if args.wants(Family::Mysql) {
                for which in mysql::Which::ALL {
                    found(mysql::probe(url, shape, which)?);
                }
                found(mysql::pages(url, shape, Inboxes::default())?);
            }
            if args.wants(Family::Once) {
                found(once::mysql_commit(url, shape, RATE)?);
            }
        }
        None if args.only.contains(&Family::Mysql) => {
            return Err("the mysql probes need --mysql mysql://user:password@host:port/db".into());
        }
        _ => {}
    }
    Ok(())
}

fn wires(args: &Limits, shape: Shape, found: &mut impl FnMut(Limit)) -> Outcome<()> {
    if args.wants(Family::Echo) {
        for (connections, outstanding) in [(100, 1), (1_000, 1), (100, 16), (1_000, 16)] {
            found(wire::echo(shape, connections, outstanding)?);
        }
    }
    if args.wants(Family::Room) {
        for (members, burst) in [(1_000, 1), (1_000, 16), (10_000, 1), (10_000, 16)] {
            for kind in [bare::Kind::Queue, bare::Kind::Direct] {
                found(wire::room_by(kind, shape, members, burst)?);
            }
        }
    }
    if args.wants(Family::Connect) {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let connect = connect::connect(shape, args.connections, args.nodes, None);
        found(runtime.block_on(connect)?);
    }
    Ok(())
}
