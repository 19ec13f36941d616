//! Limits: what the machine reaches without gimlet, measured in the same run as the scenarios. The
//! scenarios' figures are shares of these.
//!
//! Each probe has the shape of one scenario: the same bytes, the same number of connections, the
//! same client program. A probe runs several passes and shows the median; the machine's disk and
//! its two cores are shared, so an absolute number from another hour says little.

pub mod bare;
pub mod connect;
pub mod disk;
pub mod disk_probe;
mod group;
pub mod mysql;
pub mod once;
pub mod page;
mod shape;
pub mod sled;
pub mod wire;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::runtime::Builder;

use page::InboxSet;

pub use shape::ProbeShape;

pub use crate::measured_limit::{MeasuredLimit, ProbeOutcome, ProbePass, short};

/// Rate per second of the probes that do one operation at a time.
const RATE: f64 = 200.0;

/// A family of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProbeFamily {
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
pub struct LimitsArgs {
    /// Run only these families of probes, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<ProbeFamily>,
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

impl LimitsArgs {
    fn wants(&self, family: ProbeFamily) -> bool {
        self.only.is_empty() || self.only.contains(&family)
    }
}

/// Runs the selected probes and passes on each limit as soon as it is known. Blocks the thread.
///
/// # Errors
/// A probe cannot be run.
pub fn run(args: &LimitsArgs, mut found: impl FnMut(MeasuredLimit)) -> ProbeOutcome<()> {
    let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let shape = ProbeShape {
        span: Duration::try_from_secs_f64(args.seconds)?,
        passes: args.passes,
    };
    if args.wants(ProbeFamily::Disk) {
        disk::all(&dir, shape)?.into_iter().for_each(&mut found);
    }
    if args.wants(ProbeFamily::Sled) {
        for senders in [1, 64, 512] {
            found(sled::sends(&dir, shape, senders)?);
        }
    }
    if args.wants(ProbeFamily::Page) {
        found(page::memory(shape, InboxSet::default())?);
        found(sled::pages(&dir, shape, InboxSet::default())?);
    }
    wires(args, shape, &mut found)?;
    if args.wants(ProbeFamily::Once) {
        found(once::echo(shape, RATE)?);
        found(once::sled_commit(&dir, shape, RATE)?);
    }
    match &args.mysql {
        Some(url) => {
            if args.wants(ProbeFamily::Mysql) {
                for which in mysql::DatabaseProbe::ALL {
                    found(mysql::probe(url, shape, which)?);
                }
                found(mysql::pages(url, shape, InboxSet::default())?);
            }
            if args.wants(ProbeFamily::Once) {
                found(once::mysql_commit(url, shape, RATE)?);
            }
        }
        None if args.only.contains(&ProbeFamily::Mysql) => {
            return Err("the mysql probes need --mysql mysql://user:password@host:port/db".into());
        }
        _ => {}
    }
    Ok(())
}

fn wires(
    args: &LimitsArgs,
    shape: ProbeShape,
    found: &mut impl FnMut(MeasuredLimit),
) -> ProbeOutcome<()> {
    if args.wants(ProbeFamily::Echo) {
        for (connections, outstanding) in [(100, 1), (1_000, 1), (100, 16), (1_000, 16)] {
            found(wire::echo(shape, connections, outstanding)?);
        }
    }
    if args.wants(ProbeFamily::Room) {
        for (members, burst) in [(1_000, 1), (1_000, 16), (10_000, 1), (10_000, 16)] {
            for kind in [bare::BareServerKind::Queue, bare::BareServerKind::Direct] {
                found(wire::room_by(kind, shape, members, burst)?);
            }
        }
    }
    if args.wants(ProbeFamily::Connect) {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let connect = connect::connect(shape, args.connections, args.nodes, None);
        found(runtime.block_on(connect)?);
    }
    Ok(())
}
