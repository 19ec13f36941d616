//! Addresses that gimlet listens on.

use std::io;

use tokio::net::TcpListener;

use super::DoctorReport;
use crate::config::{Config, env_name};
use crate::start_error::StartError;

const TOPIC: &str = "listeners";

pub(super) async fn examine(config: &Config, report: &mut DoctorReport) {
    let (mut free, mut taken) = (Vec::new(), Vec::new());
    let opened = config.opened();
    for (key, addr) in opened.all() {
        match TcpListener::bind(addr).await {
            Ok(_) => free.push(addr.to_string()),
            // A running gimlet has its addresses, and an examination is allowed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                taken.push(format!("{key} = {addr}"));
            }
            Err(source) => {
                let env = env_name(key);
                let error = StartError::Bind {
                    key,
                    env,
                    addr,
                    source,
                };
                report.problem(TOPIC, error.to_string());
            }
        }
    }
    if !taken.is_empty() {
        report.warn(
            TOPIC,
            format!(
                "another program listens on {}: this is right if gimlet runs already; otherwise stop that \
                 program, or set another address",
                taken.join(", ")
            ),
        );
    }
    if !free.is_empty() {
        report.fine(TOPIC, format!("{} can be opened", free.join(", ")));
    }
}
