//! An actor that gets each of its frames back from a bare server.

use std::time::Duration;

use gimlet_proto::pb::PackageType;

use crate::client_process::AT_ONCE;
use crate::clock::{self, SECOND};
use crate::cpu;
use crate::measured_limit::{ProbeOutcome, ProbePass};
use crate::net::{ClientNet, ConnId, ConnectTarget, ConnectionActor, RawBody, ServerPacket, drive};

/// Bytes of the data of an echoed packet; its frame has about 120 bytes.
pub(crate) const DATA: usize = 110;

/// Opens connections, with a frame there and back on each, and keeps them open.
pub(crate) fn open(
    place: ConnectTarget,
    connections: usize,
    at_once: usize,
) -> ProbeOutcome<ClientNet> {
    let mut net = ClientNet::new(place)?;
    let mut echo = EchoClient::new(None, connections, 1);
    echo.at_once = at_once;
    drive(&mut net, &mut echo)?;
    echo.passes()?;
    Ok(net)
}

/// Actor that connects, keeps frames in flight on each connection, and counts those that come back.
/// Without a span to count in, it ends when one has come back on each.
pub(crate) struct EchoClient {
    pid: Option<u32>,
    connections: usize,
    outstanding: usize,
    /// Connections that are being set up at a time.
    pub(crate) at_once: usize,
    pub(crate) spans: Vec<Duration>,
    begun: usize,
    pub(crate) open: Vec<ConnId>,
    back: u64,
    /// Start of the current pass, with the frames and the CPU time by then.
    since: Option<(u64, u64, Option<Duration>)>,
    done: Vec<ProbePass>,
    failed: Option<String>,
}

impl EchoClient {
    pub(crate) fn new(pid: Option<u32>, connections: usize, outstanding: usize) -> Self {
        Self {
            pid,
            connections,
            outstanding,
            at_once: AT_ONCE,
            spans: Vec::new(),
            begun: 0,
            open: Vec::with_capacity(connections),
            back: 0,
            since: None,
            done: Vec::new(),
            failed: None,
        }
    }

    pub(crate) fn passes(&self) -> ProbeOutcome<Vec<ProbePass>> {
        match &self.failed {
            Some(why) => Err(format!("the bare server: {why}").into()),
            None => Ok(self.done.clone()),
        }
    }

    fn say(net: &mut ClientNet, id: ConnId) {
        net.send(id, PackageType::PtHeartbeat, 0, &RawBody(&[7; DATA]));
    }

    /// Ends a pass that is over and begins the next; returns `false` after the last.
    fn count(&mut self, now: u64) -> bool {
        let Some(span) = self.spans.get(self.done.len()) else {
            return false;
        };
        let Some((since, back, cpu)) = self.since else {
            self.since = Some((now, self.back, self.pid.and_then(cpu::used)));
            return true;
        };
        if now - since >= clock::nanos(*span) {
            let used = self.pid.and_then(cpu::used);
            let cpu = used
                .zip(cpu)
                .map(|(used, before)| used.saturating_sub(before));
            let (count, span) = (self.back - back, Duration::from_nanos(now - since));
            self.done.push(ProbePass { count, span, cpu });
            self.since = Some((now, self.back, used));
        }
        self.done.len() < self.spans.len()
    }
}

impl ConnectionActor for EchoClient {
    fn opened(&mut self, net: &mut ClientNet, id: ConnId) {
        self.open.push(id);
        (0..self.outstanding).for_each(|_| Self::say(net, id));
    }

    fn packet(&mut self, net: &mut ClientNet, id: ConnId, _packet: &ServerPacket<'_>) {
        self.back += 1;
        if !self.spans.is_empty() {
            Self::say(net, id);
        }
    }

    fn closed(&mut self, _net: &mut ClientNet, _id: ConnId, why: &str) {
        self.failed = Some(why.to_owned());
    }

    fn tick(&mut self, net: &mut ClientNet, now: u64) -> Option<u64> {
        let came = usize::try_from(self.back).unwrap_or(usize::MAX);
        while self.begun < self.connections && self.begun < came.saturating_add(self.at_once) {
            match net.connect() {
                Ok(_) => self.begun += 1,
                Err(error) => {
                    self.failed = Some(error.to_string());
                    break;
                }
            }
        }
        let all = self.open.len() == self.connections && came >= self.connections;
        if self.failed.is_some() || (all && !self.count(now)) {
            return None;
        }
        Some(now + SECOND / 100)
    }
}
