//! `gimlet doctor`: examines the configuration, this machine and the servers that gimlet depends on,
//! and says what to do.
//!
//! Each file examines one thing and adds findings to the report. Nothing is changed, and an
//! examination never stops the others, so that one run names everything that is wrong.

mod certificates;
mod clock;
mod data_dir;
#[cfg(feature = "mysql")]
mod databases;
mod links;
mod listeners;
mod machine;
mod report;

use std::path::Path;

pub use report::{DoctorFinding, DoctorReport, FindingLevel};

use crate::config::{Config, StorageKind};

/// Examines the installation that this configuration describes.
pub async fn examine(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)> + Clone,
) -> DoctorReport {
    let mut report = DoctorReport::default();
    let Some(config) = configuration(file, env, &mut report) else {
        return report;
    };
    machine::examine(&config, &mut report);
    listeners::examine(&config, &mut report).await;
    certificates::examine(&config, &mut report);
    match config.storage.kind {
        StorageKind::Memory => report.warn(
            "storage",
            "storage.kind is \"memory\", so every message is lost when gimlet stops: set \
             storage.kind = \"sled\" or \"mysql\", unless this is a test",
        ),
        StorageKind::Sled => data_dir::examine(&config, &mut report),
        StorageKind::Mysql => {
            data_dir::examine(&config, &mut report);
            #[cfg(feature = "mysql")]
            databases::examine(&config, &mut report).await;
        }
    }
    links::examine(&config, &mut report).await;
    report
}

/// Loads the configuration. One that a server would refuse is examined further as far as it can be
/// read at all.
fn configuration(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)> + Clone,
    report: &mut DoctorReport,
) -> Option<Config> {
    const TOPIC: &str = "configuration";
    match Config::load(file, env.clone()) {
        Ok((config, notices)) => {
            for notice in notices {
                report.warn(TOPIC, notice.0);
            }
            report.fine(
                TOPIC,
                "every key is known and every value is within its bounds",
            );
            Some(config)
        }
        Err(error) => {
            for problem in &error.0 {
                report.problem(TOPIC, problem.to_string());
            }
            Config::read(file, env).ok()
        }
    }
}
