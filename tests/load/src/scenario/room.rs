//! Rooms: one message to all current subscribers.

use std::sync::Arc;

use clap::Args;
use futures_util::future::join_all;
use gimlet_client::{ApiClient, MessageContent};
use gimlet_proto::pb::{self, PackageType};
use prost::Message as _;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::ScenarioContext;
use crate::LoadError;
use crate::args::CommonArgs;
use crate::client_process::split;
use crate::clock::{self, SECOND};
use crate::limits::wire;
use crate::measured_limit::ProbeOutcome;
use crate::net::{ClientNet, ConnId, ConnectionActor, RawBody, ServerPacket, drive, join};
use crate::report::RunReport;
use crate::room_subscribers::{MemberSection, RoomPace, gather, threads};

/// gRPC connections that publish; a burst goes out over one of them, in order.
const PUBLISHERS: usize = 4;

/// Nanoseconds without an answer after which subscribing has failed.
const STUCK: u64 = 30 * SECOND;

/// Arguments of `room`.
#[derive(Args, Clone, Debug)]
pub struct RoomArgs {
    /// Server, duration and output files
    #[command(flatten)]
    pub common: CommonArgs,
    /// Members of each room, each a user on one connection
    #[arg(long, default_value_t = 1000)]
    pub members: usize,
    /// Number of rooms
    #[arg(long, default_value_t = 1)]
    pub rooms: usize,
    /// Messages published together in each room
    #[arg(long, default_value_t = 1)]
    pub burst: u64,
    /// Open loop: bursts per second of each room; by default the next burst goes out when all
    /// members have the last
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
}

/// Runs the scenario.
///
/// # Errors
/// The run cannot be set up.
#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
pub async fn run(args: &RoomArgs, mut stage: ScenarioContext<'_>) -> Result<RunReport, LoadError> {
    let (members, rooms) = (args.members.max(1), args.rooms.max(1));
    let users = stage.users(members * rooms).await?;
    let Some(first) = users.first() else {
        return Err(LoadError::new("--members", "at least 1 is needed"));
    };
    let mut apis = Vec::new();
    for _ in 0..PUBLISHERS {
        let api =
            ApiClient::new(stage.target.grpc()?).map_err(|error| LoadError::new("gRPC", error))?;
        apis.push(Arc::new(api.signed_in(first.credentials())));
    }
    let wire = args.common.wire;
    let place = stage.target.connect_target(wire, members * rooms);
    let usage = stage.target.usage_of();
    let beat = RoomPace {
        burst: args.burst.max(1),
        rate: args.rate,
        warm_up: args.common.before(),
        span: args.common.duration(),
    };
    // Random ids, so that two runs do not share rooms.
    let begin = rand::random_range(1..i64::from(u32::MAX));
    let ids: Vec<i64> = (begin..).take(rooms).collect();
    let runtime = Handle::current();
    let run = tokio::task::spawn_blocking(move || -> ProbeOutcome<_> {
        let mut sections = Vec::new();
        let parts = threads();
        let mut first = 0;
        for (part, share) in split(users.len(), parts).into_iter().enumerate() {
            let mut place = place.clone();
            place.from = place.from.share(part, parts);
            let mut net = ClientNet::new(place)?;
            let users = users.get(first..first + share).unwrap_or_default();
            let joined = join(&mut net, users, wire.protocol())?;
            let of = |at: usize| u32::try_from((first + at) / members).unwrap_or(u32::MAX);
            let members = joined.iter().enumerate().map(|(at, it)| (it.conn, of(at)));
            let members: Vec<(ConnId, u32)> = members.collect();
            subscribe(&mut net, &ids, &members)?;
            sections.push(MemberSection { net, members });
            first += share;
        }
        let calls = TaskTracker::new();
        let publish = Box::new(|room: usize, contents: Vec<Vec<u8>>| {
            let api = apis.get(room % apis.len()).ok_or("no publisher")?;
            let id = *ids.get(room).ok_or("no such room")?;
            let pushes = contents.into_iter().map(|content| {
                let api = Arc::clone(api);
                let content = MessageContent::Other {
                    kind: 1,
                    bytes: content.into(),
                };
                async move { api.push_room(id, &content, false).await }
            });
            // One task begins all of them, so that they go out together.
            calls.spawn_on(join_all(pushes.collect::<Vec<_>>()), &runtime);
            Ok(())
        });
        let mut ends = [None, None];
        let mut marks = |begin: bool| {
            let [before, after] = &mut ends;
            *(if begin { before } else { after }) = Some(usage());
        };
        let seen = gather(&mut sections, &ids, beat, publish, &mut marks)?;
        Ok((seen, ends))
    });
    let run = run
        .await
        .map_err(|error| LoadError::new("the run", error))?;
    let (seen, ends) = run.map_err(|error| LoadError::new("the run", error))?;
    let mut report = stage.report;
    let seconds = seen.span.as_secs_f64().max(1e-9);
    let rate = seen.deliveries as f64 / seconds;
    let burst = beat.burst;
    let limit = if args.common.limits && rooms == 1 {
        Some(super::limit(move |shape| wire::room(shape, members, burst)).await?)
    } else {
        None
    };
    report.share("delivered", rate, "deliveries/s", limit.as_ref());
    report.figure("published", seen.messages as f64 / seconds, "messages/s");
    if let [Some(before), Some(after)] = ends {
        let load = after.since(&before);
        report.load(&load, seen.deliveries as f64, "delivery");
        let each = load.server_cores * load.seconds * 1e6 / (seen.deliveries as f64).max(1.0);
        if let Some(bare) = limit.as_ref().and_then(|it| it.cpu_us) {
            report.figure("CPU each, of the bare server's", each / bare.max(1e-9), "x");
        }
    }
    report.times("each delivery", seen.latency);
    report.times("last member", seen.whole);
    report.findings = seen.findings;
    Ok(report)
}

/// Subscribes each connection to its room.
fn subscribe(net: &mut ClientNet, rooms: &[i64], follow: &[(ConnId, u32)]) -> ProbeOutcome<()> {
    for &(conn, of) in follow {
        let room_id = *rooms.get(of as usize).ok_or("no such room")?;
        let body = pb::SubscribeRoomInput { room_id, seq: 0 }.encode_to_vec();
        net.send(conn, PackageType::PtSubscribeRoom, 3, &RawBody(&body));
    }
    let mut subscriber = SubscribeActor {
        open: follow.len(),
        until: clock::now() + STUCK,
        failed: None,
    };
    drive(net, &mut subscriber)?;
    match subscriber.failed {
        Some(why) => Err(format!("subscribing: {why}").into()),
        None => Ok(()),
    }
}

struct SubscribeActor {
    open: usize,
    until: u64,
    failed: Option<String>,
}

impl SubscribeActor {
    /// Fails the subscribing; the first reason is kept.
    fn fail(&mut self, why: String) {
        self.failed.get_or_insert(why);
    }
}

impl ConnectionActor for SubscribeActor {
    fn packet(&mut self, _net: &mut ClientNet, _id: ConnId, packet: &ServerPacket<'_>) {
        if packet.code != 0 || packet.is(PackageType::PtClose) {
            self.fail(packet.refusal());
        } else if packet.is(PackageType::PtSubscribeRoom) {
            self.open -= 1;
        }
    }

    fn closed(&mut self, _net: &mut ClientNet, _id: ConnId, why: &str) {
        self.fail(why.to_owned());
    }

    fn tick(&mut self, _net: &mut ClientNet, now: u64) -> Option<u64> {
        if now > self.until {
            self.fail(format!("{} got no answer", self.open));
        }
        (self.open > 0 && self.failed.is_none()).then_some(self.until)
    }
}
