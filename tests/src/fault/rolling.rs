//! A rolling restart: every node of a cluster is restarted in turn, under load.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::load::FaultLoad;
use crate::cluster::{NodeCluster, NodeRole};

/// Order of the restarts.
const NODES: [(NodeRole, usize); 5] = [
    (NodeRole::Logic, 0),
    (NodeRole::Logic, 1),
    (NodeRole::Connect, 0),
    (NodeRole::Connect, 1),
    (NodeRole::Business, 0),
];

/// Restarts all nodes of a cluster of two connect nodes, two logic nodes and a business node, with
/// another program if one is named. `between` answers are awaited before each restart. Returns the
/// longest time until the load was served again.
///
/// # Errors
/// A node does not stop, or does not start.
pub async fn restart_in_turn(
    cluster: &mut NodeCluster,
    load: &FaultLoad,
    between: usize,
    program: Option<&Path>,
) -> io::Result<Duration> {
    if let Some(program) = program {
        cluster.use_binary(program.to_owned());
    }
    let mut worst = Duration::ZERO;
    for (role, at) in NODES {
        load.flows(between).await;
        let stopped = Instant::now();
        cluster.stop(role, at).await?;
        cluster.restart(role, at).await?;
        worst = worst.max(load.is_served(stopped).await);
    }
    Ok(worst)
}
