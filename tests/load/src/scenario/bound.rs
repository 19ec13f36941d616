//! Which limits bound sends, by where the server stores.

use std::path::PathBuf;

use super::{Stage, limit};
use crate::Fault;
use crate::args::Store;
use crate::limits::{Limit, mysql, once, sled, wire};
use crate::target::mysql_server;

/// Senders at a time of the probe of the embedded engine, at most.
const SENDERS: u64 = 512;

/// What bounds one-to-one sends of so many connections with so many sends under way each; the first
/// is what `answered` is a share of.
pub(super) async fn direct(
    stage: &Stage<'_>,
    connections: usize,
    outstanding: usize,
) -> Result<Vec<Limit>, Fault> {
    if !stage.args.limits {
        return Ok(Vec::new());
    }
    let echo = limit(move |shape| wire::echo(shape, connections, outstanding)).await?;
    let mut all = Vec::new();
    match stage.target.store {
        Some(Store::Sled) => {
            let senders = (connections * outstanding) as u64;
            let folder = folder(stage);
            let probe = move |shape| sled::sends(&folder, shape, senders.min(SENDERS));
            all.push(limit(probe).await?);
        }
        Some(Store::Mysql) => {
            let url = mysql_server()?;
            let again = url.clone();
            all.push(limit(move |shape| mysql::probe(&url, shape, mysql::Which::Batched)).await?);
            let gim = move |shape| mysql::probe(&again, shape, mysql::Which::GimStyle);
            all.push(limit(gim).await?);
        }
        Some(Store::Memory) | None => {}
    }
    all.push(echo);
    Ok(all)
}

/// What bounds one message at a time: a frame there and back, and what makes it durable, at the rate
/// of the run.
pub(super) async fn once(stage: &Stage<'_>, rate: f64) -> Result<Vec<Limit>, Fault> {
    if !stage.args.limits {
        return Ok(Vec::new());
    }
    let mut all = vec![limit(move |shape| once::echo(shape, rate)).await?];
    match stage.target.store {
        Some(Store::Sled) => {
            let folder = folder(stage);
            all.push(limit(move |shape| once::sled_commit(&folder, shape, rate)).await?);
        }
        Some(Store::Mysql) => {
            let url = mysql_server()?;
            all.push(limit(move |shape| once::mysql_commit(&url, shape, rate)).await?);
        }
        Some(Store::Memory) | None => {}
    }
    Ok(all)
}

/// Where the server's disk can be watched during the run, if limits are asked for.
pub(super) fn disk(stage: &Stage<'_>) -> Option<PathBuf> {
    let watched = stage.args.limits && stage.target.store == Some(Store::Sled);
    watched.then(|| folder(stage))
}

/// A folder on the disk of the server's data.
fn folder(stage: &Stage<'_>) -> PathBuf {
    stage.args.data.clone().unwrap_or_else(std::env::temp_dir)
}

/// What bounds entries of group sends: rows of one batched transaction.
pub(super) async fn group(stage: &Stage<'_>) -> Result<Vec<Limit>, Fault> {
    if !stage.args.limits || stage.target.store != Some(Store::Mysql) {
        return Ok(Vec::new());
    }
    let url = mysql_server()?;
    let again = url.clone();
    Ok(vec![
        limit(move |shape| mysql::probe(&url, shape, mysql::Which::Group)).await?,
        limit(move |shape| mysql::probe(&again, shape, mysql::Which::GroupAlone)).await?,
    ])
}
