//! Cost of connecting without gimlet: bare servers, at least as many as there are nodes, and the
//! client processes of the scenarios.

use std::time::Duration;

use super::bare::{BareServer, BareServerKind};
use super::{MeasuredLimit, ProbeOutcome, ProbePass, ProbeShape};
use crate::client_process::processes;
use crate::cpu;
use crate::net::{ConnectTarget, SourceAddresses, WireFraming};
use crate::simulated_users::bare_connects;

/// Number of connections above which one pass is made only: it takes long enough to be steady.
const LARGE: usize = 30_000;

/// Makes `connections` connections to `nodes` servers, with a frame there and back on each.
///
/// # Errors
/// A connection fails.
pub async fn connect(
    shape: ProbeShape,
    connections: usize,
    nodes: usize,
    sources: Option<u32>,
) -> ProbeOutcome<MeasuredLimit> {
    let nodes = nodes.max(processes(connections)?);
    let passes = if connections > LARGE { 1 } else { shape.passes };
    let mut done = Vec::new();
    for _ in 0..passes.max(1) {
        let servers: Vec<BareServer> = (0..nodes)
            .map(|_| BareServer::start(BareServerKind::Echo))
            .collect::<ProbeOutcome<_>>()?;
        let to: Vec<_> = servers.iter().map(|it| it.addr).collect();
        let first = to
            .first()
            .map(|addr| SourceAddresses::enough(connections, addr.ip()));
        let place = ConnectTarget {
            to,
            framing: WireFraming::Tcp,
            from: sources
                .map(SourceAddresses::of)
                .or(first)
                .unwrap_or_default(),
        };
        let took = bare_connects(&place, connections).await?;
        done.push(ProbePass {
            count: connections as u64,
            span: Duration::from_nanos(took),
            cpu: servers.iter().map(|it| cpu::used(it.id())).sum(),
        });
    }
    let what = "bare TCP connects, a frame there and back on each";
    let name = match nodes {
        1 => format!("connect {connections}"),
        _ => format!("connect {connections} to {nodes}"),
    };
    Ok(MeasuredLimit::of(name, "connections/s", &done, what))
}
