//! Cost of connecting without gimlet: bare servers, at least as many as there are nodes, and the
//! client processes of the scenarios.

use std::time::Duration;

use super::bare::{Bare, Kind};
use super::{Limit, Outcome, Pass, Shape, cpu};
use crate::net::{Framing, Place, Sources};
use crate::scenario::{bare_connects, processes};

/// Number of connections above which one pass is made only: it takes long enough to be steady.
const LARGE: usize = 30_000;

/// Makes `connections` connections to `nodes` servers, with a frame there and back on each.
///
/// # Errors
/// A connection fails.
pub async fn connect(
    shape: Shape,
    connections: usize,
    nodes: usize,
    sources: Option<u32>,
) -> Outcome<Limit> {
    let nodes = nodes.max(processes(connections)?);
    let passes = if connections > LARGE { 1 } else { shape.passes };
    let mut done = Vec::new();
    for _ in 0..passes.max(1) {
        let servers: Vec<Bare> = (0..nodes)
            .map(|_| Bare::start(Kind::Echo))
            .collect::<Outcome<_>>()?;
        let to: Vec<_> = servers.iter().map(|it| it.addr).collect();
        let first = to
            .first()
            .map(|addr| Sources::enough(connections, addr.ip()));
        let place = Place {
            to,
            framing: Framing::Tcp,
            from: sources.map(Sources::of).or(first).unwrap_or_default(),
        };
        let took = bare_connects(&place, connections).await?;
        done.push(Pass {
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
    Ok(Limit::of(name, "connections/s", &done, what))
}
