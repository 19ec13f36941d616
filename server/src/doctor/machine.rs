//! Limits of the process and of the kernel.

use super::DoctorReport;
use crate::config::Config;

/// Connections that a kernel should let wait for `accept`: fewer are refused in a reconnect storm.
const MIN_ACCEPT_QUEUE: u64 = 1_024;
/// Descriptors of a server for more than a few clients.
const MIN_DESCRIPTORS: u64 = 4_096;
/// Descriptors besides those of clients: storage, other nodes, listeners.
const OTHER_DESCRIPTORS: u64 = 1_024;

pub(super) fn examine(config: &Config, report: &mut DoctorReport) {
    // gimlet raises its own limit to the hard one, so that is the one that counts.
    if let Ok(limit) = gimlet_web::descriptors::raise() {
        descriptors(limit, config.limits.max_connections as u64, report);
    }
    if let Some(queue) = read_number("/proc/sys/net/core/somaxconn") {
        accept_queue(queue, report);
    }
}

fn descriptors(limit: u64, connections: u64, report: &mut DoctorReport) {
    const TOPIC: &str = "descriptors";
    let needed = (connections + OTHER_DESCRIPTORS).max(MIN_DESCRIPTORS);
    if connections > 0 && limit < connections {
        report.problem(
            TOPIC,
            format!(
                "a process may open {limit} files, and limits.max_connections = {connections}: raise the \
                 hard limit to {needed} (LimitNOFILE={needed} for systemd, ulimit -Hn for a shell)"
            ),
        );
    } else if limit < needed {
        report.warn(
            TOPIC,
            format!(
                "a process may open {limit} files, which is little for {connections} connections: raise \
                 the hard limit to {needed} (LimitNOFILE={needed} for systemd, ulimit -Hn for a shell)"
            ),
        );
    } else {
        report.fine(TOPIC, format!("a process may open {limit} files"));
    }
}

fn accept_queue(queue: u64, report: &mut DoctorReport) {
    const TOPIC: &str = "kernel";
    if queue < MIN_ACCEPT_QUEUE {
        report.warn(
            TOPIC,
            format!(
                "net.core.somaxconn is {queue}, so connections are refused when many clients reconnect at \
                 once: sysctl -w net.core.somaxconn={MIN_ACCEPT_QUEUE}"
            ),
        );
    } else {
        report.fine(TOPIC, format!("{queue} connections can wait for accept"));
    }
}

/// Reads a file of the kernel that has one number; `None` where there is none.
fn read_number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::FindingLevel;
    use super::*;

    fn level(examined: impl FnOnce(&mut DoctorReport)) -> FindingLevel {
        let mut report = DoctorReport::default();
        examined(&mut report);
        report.findings.pop().unwrap().level
    }

    #[test]
    fn few_descriptors_are_a_warning_and_fewer_than_connections_a_problem() {
        assert_eq!(
            level(|it| descriptors(65_536, 50_000, it)),
            FindingLevel::Fine
        );
        assert_eq!(level(|it| descriptors(1_024, 0, it)), FindingLevel::Warning);
        assert_eq!(
            level(|it| descriptors(50_100, 50_000, it)),
            FindingLevel::Warning
        );
        assert_eq!(
            level(|it| descriptors(20_000, 50_000, it)),
            FindingLevel::Problem
        );
    }

    #[test]
    fn a_short_accept_queue_is_a_warning() {
        assert_eq!(level(|it| accept_queue(4_096, it)), FindingLevel::Fine);
        assert_eq!(level(|it| accept_queue(128, it)), FindingLevel::Warning);
    }
}
