//! Scenarios as subcommands: parses one, and runs it against the server that its arguments name.

use clap::{Parser, Subcommand};

use super::{
    ScenarioContext, abuse, direct, group, hooks, idle, post, room, soak, storm, streams, sync,
    with_target,
};
use crate::LoadError;
use crate::args::{CommonArgs, WireKind};
use crate::report::RunReport;

/// Scenarios of the tool.
#[derive(Clone, Debug, Subcommand)]
pub enum ScenarioCommand {
    /// One-to-one sends among many users: answered per second, end-to-end latency, server CPU
    Direct(direct::DirectArgs),
    /// Sends to groups: entries per second, time until the last member has it
    Group(group::GroupArgs),
    /// Room messages to all subscribers: deliveries per second, latency, server CPU for each
    Room(room::RoomArgs),
    /// Idle connections: connect rate, memory of each, CPU of heartbeats
    Idle(idle::IdleArgs),
    /// All users reconnect at once after a kill, a restart or a network cut: time until all are
    /// live
    Storm(storm::StormArgs),
    /// Users reconnect to a backlog: messages per second, time until they are live
    Sync(sync::SyncArgs),
    /// Mixed load for hours: drift of memory, latency and disk
    Soak(soak::SoakArgs),
    /// Well-behaved users beside one abusive machine: their p99 with and without attacks, the
    /// server's memory
    Abuse(abuse::AbuseArgs),
    /// Messages sent over HTTP, beside requests that the server answers without any work
    Post(post::PostArgs),
    /// Sends without a webhook, with a fast one and with one that hangs; delivery of a backlog of events
    Hooks(hooks::HooksArgs),
    /// Sends to groups over event streams, beside the same over TCP
    Streams(streams::StreamsArgs),
}

#[derive(Parser)]
struct ScenarioLine {
    #[command(subcommand)]
    scenario: ScenarioCommand,
}

impl ScenarioCommand {
    /// Parses a scenario from a line, for example `direct --users 100`.
    ///
    /// # Errors
    /// The line is not a scenario.
    pub fn parse(line: &[String]) -> Result<Self, LoadError> {
        let words = std::iter::once("gimlet-load").chain(line.iter().map(|word| &**word));
        let line = ScenarioLine::try_parse_from(words);
        Ok(line
            .map_err(|error| LoadError::new("a scenario", error))?
            .scenario)
    }

    /// Returns the arguments that all scenarios share.
    #[must_use]
    pub fn common(&self) -> &CommonArgs {
        match self {
            Self::Direct(args) => &args.common,
            Self::Group(args) => &args.common,
            Self::Room(args) => &args.common,
            Self::Idle(args) => &args.common,
            Self::Storm(args) => &args.common,
            Self::Sync(args) => &args.common,
            Self::Soak(args) => &args.common,
            Self::Abuse(args) => &args.common,
            Self::Post(args) => &args.common,
            Self::Hooks(args) => &args.direct.common,
            Self::Streams(args) => &args.group.common,
        }
    }

    /// Returns the name of the scenario.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Direct(_) => "direct",
            Self::Group(_) => "group",
            Self::Room(_) => "room",
            Self::Idle(_) => "idle",
            Self::Storm(_) => "storm",
            Self::Sync(_) => "sync",
            Self::Soak(_) => "soak",
            Self::Abuse(_) => "abuse",
            Self::Post(_) => "post",
            Self::Hooks(_) => "hooks",
            Self::Streams(_) => "streams",
        }
    }

    /// Starts the server if the arguments say so, runs the scenario, and stops what was started.
    ///
    /// # Errors
    /// The run cannot be set up, or was interrupted.
    pub async fn run(&self) -> Result<RunReport, LoadError> {
        // These run several servers, one after the other.
        match self {
            Self::Hooks(args) => return hooks::run(args).await,
            Self::Streams(args) => return streams::run(args).await,
            _ => {}
        }
        let mut common = self.common().clone();
        // This scenario keeps the limits, because they protect the server from abuse.
        common.default_limits |= matches!(self, Self::Abuse(_));
        if matches!(self, Self::Post(_)) || common.wire == WireKind::Events {
            common.leave_descriptors_to_http();
        }
        with_target(&common, async |target| {
            let stage = ScenarioContext::new(self.name(), &common, target)?;
            match self {
                Self::Direct(args) => direct::run(args, stage).await,
                Self::Group(args) => group::run(args, stage).await,
                Self::Room(args) => room::run(args, stage).await,
                Self::Idle(args) => idle::run(args, stage).await,
                Self::Storm(args) => storm::run(args, stage).await,
                Self::Sync(args) => sync::run(args, stage).await,
                Self::Soak(args) => soak::run(args, stage).await,
                Self::Abuse(args) => abuse::run(args, stage).await,
                Self::Post(args) => post::run(args, stage).await,
                Self::Hooks(args) => hooks::run(args).await,
                Self::Streams(args) => streams::run(args).await,
            }
        })
        .await
    }
}
