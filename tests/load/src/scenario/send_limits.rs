//! Limits that bound sends, by the storage of the server.

use std::path::PathBuf;

use super::{ScenarioContext, limit};
use crate::LoadError;
use crate::args::StoreKind;
use crate::limits::{mysql, once, sled, wire};
use crate::measured_limit::MeasuredLimit;
use crate::target::mysql_server;

/// Maximum number of senders at a time in the probe of the embedded engine.
const SENDERS: u64 = 512;

/// Measures the limits of one-to-one sends on `connections` connections with `outstanding` sends of
/// each in flight. The figure `answered` is a share of the first.
pub(super) async fn direct(
    stage: &ScenarioContext<'_>,
    connections: usize,
    outstanding: usize,
) -> Result<Vec<MeasuredLimit>, LoadError> {
    if !stage.args.limits {
        return Ok(Vec::new());
    }
    let echo = limit(move |shape| wire::echo(shape, connections, outstanding)).await?;
    let mut all = Vec::new();
    match stage.target.store {
        Some(StoreKind::Sled) => {
            let senders = (connections * outstanding) as u64;
            let folder = folder(stage);
            let probe = move |shape| sled::sends(&folder, shape, senders.min(SENDERS));
            all.push(limit(probe).await?);
        }
        Some(StoreKind::Mysql) => {
            let url = mysql_server()?;
            let again = url.clone();
            all.push(
                limit(move |shape| mysql::probe(&url, shape, mysql::DatabaseProbe::Batched))
                    .await?,
            );
            let gim = move |shape| mysql::probe(&again, shape, mysql::DatabaseProbe::GimStyle);
            all.push(limit(gim).await?);
        }
        Some(StoreKind::Memory) | None => {}
    }
    all.push(echo);
    Ok(all)
}

/// Measures the limits of one message at a time: a frame there and back, and a durable commit, at
/// the rate of the run.
pub(super) async fn once(
    stage: &ScenarioContext<'_>,
    rate: f64,
) -> Result<Vec<MeasuredLimit>, LoadError> {
    if !stage.args.limits {
        return Ok(Vec::new());
    }
    let mut all = vec![limit(move |shape| once::echo(shape, rate)).await?];
    match stage.target.store {
        Some(StoreKind::Sled) => {
            let folder = folder(stage);
            all.push(limit(move |shape| once::sled_commit(&folder, shape, rate)).await?);
        }
        Some(StoreKind::Mysql) => {
            let url = mysql_server()?;
            all.push(limit(move |shape| once::mysql_commit(&url, shape, rate)).await?);
        }
        Some(StoreKind::Memory) | None => {}
    }
    Ok(all)
}

/// Returns the folder in which the server's disk can be probed during the run, if limits are
/// requested.
pub(super) fn disk(stage: &ScenarioContext<'_>) -> Option<PathBuf> {
    let watched = stage.args.limits && stage.target.store == Some(StoreKind::Sled);
    watched.then(|| folder(stage))
}

/// Returns a folder on the disk of the server's data.
fn folder(stage: &ScenarioContext<'_>) -> PathBuf {
    stage.args.data.clone().unwrap_or_else(std::env::temp_dir)
}

/// Measures the limits of group sends: the rows of one batched transaction, and of one commit per
/// member.
pub(super) async fn group(stage: &ScenarioContext<'_>) -> Result<Vec<MeasuredLimit>, LoadError> {
    if !stage.args.limits || stage.target.store != Some(StoreKind::Mysql) {
        return Ok(Vec::new());
    }
    let url = mysql_server()?;
    let again = url.clone();
    Ok(vec![
        limit(move |shape| mysql::probe(&url, shape, mysql::DatabaseProbe::Group)).await?,
        limit(move |shape| mysql::probe(&again, shape, mysql::DatabaseProbe::GroupAlone)).await?,
    ])
}
