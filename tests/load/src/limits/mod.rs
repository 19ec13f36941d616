//! What the machine gives with no gimlet in front of it, measured in the same run as the scenarios:
//! the figures that theirs are shares of.
//!
//! Each probe is the shape of one scenario: the same bytes, the same number of connections, the same
//! client program. A probe runs several passes and shows the middle one; the machine's disk and its
//! two cores are shared, so an absolute number of another hour says little.

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

/// What a probe returns: its failures are told to a person, nothing else is done with them.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long a probe runs, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Of one pass.
    pub span: Duration,
    /// Passes, of which the middle counts.
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

/// How often in a second the probes of one thing at a time do it.
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

/// What to measure.
#[derive(Clone, Debug, Args)]
pub struct Limits {
    /// Only these families of probes, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<Family>,
    /// Seconds of one pass
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Passes of each probe; the middle one counts
    #[arg(long, default_value_t = 3)]
    pub passes: u32,
    /// Where the disk probes write; a temporary folder by default
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The database of the mysql probes, `mysql://user:password@host:port/database`
    #[arg(long, value_name = "URL")]
    pub mysql: Option<String>,
    /// Connections of the connect probe
    #[arg(long, default_value_t = 19_000)]
    pub connections: usize,
    /// Servers of the connect probe
    #[arg(long, default_value_t = 1)]
    pub nodes: usize,
    /// Write the results here as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Limits {
    fn wants(&self, family: Family) -> bool {
        self.only.is_empty() || self.only.contains(&family)
    }
}

/// Runs the probes that are asked for, and hands out each limit as it is known. It blocks.
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
