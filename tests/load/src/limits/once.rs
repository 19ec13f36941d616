//! Times of single operations on an idle machine, at a low rate: a frame there and back, a durable
//! commit of the embedded engine, one of the database. A machine that sleeps between two operations
//! wakes slowly, so the rate is that of the run it is compared with.

use std::path::Path;
use std::time::Duration;

use gimlet_proto::pb::PackageType;
use tokio::time::{Instant, sleep_until};

use super::bare::{BareServer, BareServerKind};
use super::{MeasuredLimit, ProbeOutcome, ProbeShape, mysql, sled};
use crate::clock;
use crate::echo_client::DATA;
use crate::latency::LatencyRecorder;
use crate::net::{
    ClientNet, ConnId, ConnectTarget, ConnectionActor, RawBody, ServerPacket, SourceAddresses,
    WireFraming, drive,
};
use crate::pace::SendSchedule;

/// Makes a limit of the passes' medians.
fn limit_of_medians(name: &str, mut middles: Vec<f64>, what: &str) -> MeasuredLimit {
    middles.sort_by(f64::total_cmp);
    let at = |at: usize| middles.get(at).copied().unwrap_or_default();
    MeasuredLimit {
        low: at(0),
        high: at(middles.len().saturating_sub(1)),
        what: what.to_owned(),
        ..MeasuredLimit::new(name, at(middles.len() / 2), "ms")
    }
}

/// Measures a frame there and back, `rate` times a second.
///
/// # Errors
/// The bare server cannot be reached.
pub fn echo(shape: ProbeShape, rate: f64) -> ProbeOutcome<MeasuredLimit> {
    let server = BareServer::start(BareServerKind::Echo)?;
    let mut middles = Vec::new();
    for _ in 0..shape.passes.max(1) {
        let mut net = ClientNet::new(ConnectTarget {
            to: vec![server.addr],
            framing: WireFraming::Tcp,
            from: SourceAddresses::default(),
        })?;
        let now = clock::now();
        let mut one = SingleEcho {
            conn: net.connect()?,
            open: false,
            schedule: SendSchedule::new(now, rate),
            sent: None,
            until: now + clock::nanos(shape.span),
            latency: LatencyRecorder::new(now),
            failed: None,
        };
        drive(&mut net, &mut one)?;
        if let Some(why) = one.failed {
            return Err(format!("the bare server: {why}").into());
        }
        middles.push(one.latency.summary().p50_ms);
    }
    let what = "p50 of one frame there and back at the rate of the run";
    Ok(limit_of_medians("one echo", middles, what))
}

/// Actor with one frame in flight at a time.
struct SingleEcho {
    conn: ConnId,
    open: bool,
    schedule: SendSchedule,
    sent: Option<u64>,
    until: u64,
    latency: LatencyRecorder,
    failed: Option<String>,
}

impl ConnectionActor for SingleEcho {
    fn opened(&mut self, _net: &mut ClientNet, _id: ConnId) {
        self.open = true;
    }

    fn packet(&mut self, _net: &mut ClientNet, _id: ConnId, _packet: &ServerPacket<'_>) {
        if let Some(sent) = self.sent.take() {
            self.latency.record(sent, clock::now());
        }
    }

    fn closed(&mut self, _net: &mut ClientNet, _id: ConnId, why: &str) {
        self.failed = Some(why.to_owned());
    }

    fn tick(&mut self, net: &mut ClientNet, now: u64) -> Option<u64> {
        if self.failed.is_some() || now >= self.until {
            return None;
        }
        if self.open
            && self.sent.is_none()
            && let Some(due) = self.schedule.due(now)
        {
            self.sent = Some(due);
            net.send(self.conn, PackageType::PtHeartbeat, 0, &RawBody(&[7; DATA]));
        }
        Some(match (self.open, self.sent) {
            (false, _) => now + clock::SECOND / 100,
            (true, None) => self.schedule.next(),
            (true, Some(_)) => self.until,
        })
    }
}

/// Measures a durable send of the embedded engine, `rate` times a second: one batch, one blocking
/// flush, one sync.
///
/// # Errors
/// The engine cannot be opened or written.
pub fn sled_commit(dir: &Path, shape: ProbeShape, rate: f64) -> ProbeOutcome<MeasuredLimit> {
    let mut middles = Vec::new();
    for _ in 0..shape.passes.max(1) {
        let dir = tempfile::tempdir_in(dir)?;
        let mut commit = sled::one_by_one(dir.path())?;
        let begun = clock::now();
        let (mut schedule, mut latency) =
            (SendSchedule::new(begun, rate), LatencyRecorder::new(begun));
        while clock::now() < begun + clock::nanos(shape.span) {
            let wait = schedule.next().saturating_sub(clock::now());
            std::thread::sleep(Duration::from_nanos(wait));
            if schedule.due(clock::now()).is_some() {
                let from = clock::now();
                commit()?;
                latency.record(from, clock::now());
            }
        }
        middles.push(latency.summary().p50_ms);
    }
    let what = "p50 of one batch of one send and its flush at the rate of the run";
    Ok(limit_of_medians("one sled commit", middles, what))
}

/// Measures a transaction of one send, `rate` times a second.
///
/// # Errors
/// The database cannot be reached.
pub fn mysql_commit(url: &str, shape: ProbeShape, rate: f64) -> ProbeOutcome<MeasuredLimit> {
    let what = "p50 of one transaction of one send at the rate of the run";
    mysql::with(url, 1, async |pool| {
        let mut middles = Vec::new();
        for _ in 0..shape.passes.max(1) {
            mysql::recreate_tables(&pool).await?;
            let begun = clock::now();
            let (mut latency, mut number) = (LatencyRecorder::new(begun), 0);
            let gap = Duration::from_secs_f64(1.0 / rate.max(0.1));
            let (mut due, end) = (Instant::now(), Instant::now() + shape.span);
            while due < end {
                sleep_until(due).await;
                let from = clock::now();
                mysql::one(&pool, number).await?;
                latency.record(from, clock::now());
                (due, number) = ((due + gap).max(Instant::now()), number + 1);
            }
            middles.push(latency.summary().p50_ms);
        }
        Ok(limit_of_medians("one mysql commit", middles, what))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_takes_time() {
        let dir = tempfile::tempdir().unwrap();
        let shape = ProbeShape {
            span: Duration::from_millis(50),
            passes: 1,
        };
        let limit = sled_commit(dir.path(), shape, 200.0).unwrap();
        assert!(limit.value > 0.0, "{limit}");
    }
}
