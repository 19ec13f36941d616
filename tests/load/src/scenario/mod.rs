//! Scenarios, one per file. Each takes its arguments and a [`Stage`], and returns a [`Report`]; it
//! decides nothing about the presentation of the results.

pub mod abuse;
mod bound;
mod command;
mod crew;
pub mod direct;
mod flow;
mod gateway;
pub mod group;
pub mod idle;
mod progress;
pub mod room;
mod sampler;
mod seats;
mod slots;
pub mod soak;
pub mod storm;
pub mod sync;

use std::time::Duration;

use crate::Fault;
use crate::account::{Account, Accounts};
use crate::args::Common;
use crate::limits::{Limit, Outcome, Shape, connect};
use crate::report::Report;
use crate::target::Target;

pub use command::Scenario;
pub(crate) use command::with_target;
pub use crew::obey;
pub(crate) use crew::{AT_ONCE, Crews, Goal, bare_connects, processes, split};
pub(crate) use idle::Hall;
pub use progress::Progress;
pub(crate) use sampler::{Sampler, size_of_folder};

/// Context of every scenario: the arguments, a running server, and the report.
#[derive(Debug)]
pub struct Stage<'a> {
    /// Arguments that all scenarios share.
    pub args: &'a Common,
    /// Server under test.
    pub target: &'a mut Target,
    /// Creates users.
    pub accounts: Accounts,
    /// Report to fill.
    pub report: Report,
}

impl<'a> Stage<'a> {
    /// Creates the context for the scenario of this name.
    ///
    /// # Errors
    /// An address is invalid.
    pub fn new(name: &str, args: &'a Common, target: &'a mut Target) -> Result<Self, Fault> {
        Ok(Self {
            accounts: Accounts::new(&target.services, &args.code)?,
            report: Report::new(name, args, target),
            args,
            target,
        })
    }

    /// Creates users; the rate of their creation is a figure of the report.
    ///
    /// # Errors
    /// The server refuses one.
    #[expect(clippy::cast_precision_loss, reason = "thousands of users")]
    pub async fn users(&mut self, count: usize) -> Result<Vec<Account>, Fault> {
        let (users, took) = self.accounts.make(count).await?;
        let per_second = count as f64 / took.max(Duration::from_micros(1)).as_secs_f64();
        self.report.figure("users made", per_second, "1/s");
        Ok(users)
    }
}

/// Measures the bare connect probe of this shape, if limits are requested.
async fn connects(stage: &Stage<'_>, connections: usize) -> Result<Option<Limit>, Fault> {
    if !stage.args.limits {
        return Ok(None);
    }
    let nodes = stage.target.tcp.len();
    let limit = connect::connect(Shape::default(), connections, nodes, stage.args.sources).await;
    limit
        .map(Some)
        .map_err(|error| Fault::new("a limit", error))
}

/// Measures a limit in this run, on a thread of its own.
async fn limit(
    probe: impl FnOnce(Shape) -> Outcome<Limit> + Send + 'static,
) -> Result<Limit, Fault> {
    let limit = tokio::task::spawn_blocking(move || probe(Shape::default())).await;
    let limit = limit.map_err(|error| Fault::new("a limit", error))?;
    limit.map_err(|error| Fault::new("a limit", error))
}
