//! Scenarios, one per file. Each takes its arguments and a [`ScenarioContext`], and returns a
//! [`RunReport`]; it decides nothing about the presentation of the results.

pub mod abuse;
mod command;
pub mod direct;
mod flow;
pub mod group;
mod grpc_sender;
pub mod hooks;
pub mod idle;
mod opened_target;
pub mod post;
mod progress;
pub mod room;
mod sampler;
mod send_limits;
pub mod soak;
pub mod storm;
pub mod streams;
pub mod sync;

use std::time::Duration;

use crate::LoadError;
use crate::account::AccountCreator;
use crate::args::CommonArgs;
use crate::limits::{ProbeShape, connect};
use crate::measured_limit::{MeasuredLimit, ProbeOutcome};
use crate::report::RunReport;
use crate::target::ServerTarget;
use crate::test_account::TestAccount;

pub use crate::simulated_users::obey;
pub use command::ScenarioCommand;
pub(crate) use idle::IdleUsers;
pub(crate) use opened_target::with_target;
pub use progress::ProgressLine;
pub(crate) use sampler::{ServerSampler, size_of_folder};

/// Context of every scenario: the arguments, a running server, and the report.
#[derive(Debug)]
pub struct ScenarioContext<'a> {
    /// Arguments that all scenarios share.
    pub args: &'a CommonArgs,
    /// Server under test.
    pub target: &'a mut ServerTarget,
    /// Creates users.
    pub accounts: AccountCreator,
    /// Report to fill.
    pub report: RunReport,
}

impl<'a> ScenarioContext<'a> {
    /// Creates the context for the scenario of this name.
    ///
    /// # Errors
    /// An address is invalid.
    pub fn new(
        name: &str,
        args: &'a CommonArgs,
        target: &'a mut ServerTarget,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            accounts: AccountCreator::new(&target.services, &args.code)?,
            report: RunReport::new(name, args, target),
            args,
            target,
        })
    }

    /// Creates users; the rate of their creation is a figure of the report.
    ///
    /// # Errors
    /// The server refuses one.
    #[expect(clippy::cast_precision_loss, reason = "thousands of users")]
    pub async fn users(&mut self, count: usize) -> Result<Vec<TestAccount>, LoadError> {
        let (users, took) = self.accounts.make(count).await?;
        let per_second = count as f64 / took.max(Duration::from_micros(1)).as_secs_f64();
        self.report.figure("users made", per_second, "1/s");
        Ok(users)
    }
}

/// Measures the bare connect probe of this shape, if limits are requested.
async fn connects(
    stage: &ScenarioContext<'_>,
    connections: usize,
) -> Result<Option<MeasuredLimit>, LoadError> {
    if !stage.args.limits {
        return Ok(None);
    }
    let nodes = stage.target.tcp.len();
    let limit = connect::connect(
        ProbeShape::default(),
        connections,
        nodes,
        stage.args.sources,
    )
    .await;
    limit
        .map(Some)
        .map_err(|error| LoadError::new("a limit", error))
}

/// Measures a limit in this run, on a thread of its own.
async fn limit(
    probe: impl FnOnce(ProbeShape) -> ProbeOutcome<MeasuredLimit> + Send + 'static,
) -> Result<MeasuredLimit, LoadError> {
    let limit = tokio::task::spawn_blocking(move || probe(ProbeShape::default())).await;
    let limit = limit.map_err(|error| LoadError::new("a limit", error))?;
    limit.map_err(|error| LoadError::new("a limit", error))
}
