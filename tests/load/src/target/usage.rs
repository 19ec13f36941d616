//! Resource usage of processes and of the machine, from `/proc`.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::clock;

/// Milliseconds of a tick and bytes of a page: the kernel counts CPU time in hundredths of a second
/// and memory in pages.
const TICK_MS: u64 = 10;
const PAGE: u64 = 4096;

/// Counters at one moment; CPU times in milliseconds since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageSample {
    /// Time of the sample.
    pub at: u64,
    /// CPU time of the server's processes in user mode.
    pub server_user: u64,
    /// CPU time of the server's processes in the kernel.
    pub server_system: u64,
    /// Resident memory of the server's processes, bytes.
    pub server_rss: u64,
    /// Part of it in the processes that hold connections.
    pub holder_rss: u64,
    /// CPU time of this program and its client processes.
    pub client: u64,
    /// Busy time of all CPUs.
    pub machine: u64,
    /// Kernel memory for the socket buffers of the machine, bytes.
    pub socket_bytes: u64,
    /// Kernel memory in slabs, bytes.
    pub slab: u64,
}

/// Usage between two samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UsageDelta {
    /// Seconds between the samples.
    pub seconds: f64,
    /// Cores that the server used, user and system.
    pub server_cores: f64,
    /// Part of them in the kernel.
    pub server_system: f64,
    /// Cores that this program used.
    pub client_cores: f64,
    /// Cores that all others used, for example a database.
    pub other_cores: f64,
    /// The server's resident memory at the end, bytes.
    pub server_rss: u64,
}

fn stat(path: &str) -> Option<(u64, u64)> {
    let text = fs::read_to_string(path).ok()?;
    // The name may hold spaces; it ends with the last parenthesis.
    let rest = text.rsplit_once(") ")?.1;
    let mut fields = rest.split(' ').skip(11).map(str::parse);
    let user: u64 = fields.next()?.ok()?;
    let system: u64 = fields.next()?.ok()?;
    Some((user * TICK_MS, system * TICK_MS))
}

fn resident(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}

fn machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let fields = text.lines().next()?.split_whitespace().skip(1);
    let fields: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|&i| fields.get(i));
    Some(busy.sum::<u64>() * TICK_MS)
}

fn slab() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("Slab:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

fn socket_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/sockstat").ok()?;
    let line = text.lines().find(|line| line.starts_with("TCP:"))?;
    let pages: u64 = line.rsplit_once(' ')?.1.parse().ok()?;
    Some(pages * PAGE)
}

/// Processes whose usage is measured.
#[derive(Clone, Debug, Default)]
pub struct WatchedProcesses {
    /// The server's processes.
    pub server: Vec<u32>,
    /// Server processes that hold connections.
    pub holders: Vec<u32>,
    /// Client processes of this program.
    pub clients: Vec<u32>,
}

impl WatchedProcesses {
    /// Samples the usage; unknown values are 0.
    #[must_use]
    pub fn usage(&self) -> UsageSample {
        let cpu = |pid: &u32| stat(&format!("/proc/{pid}/stat")).unwrap_or_default();
        let sum = |all: &[u32]| {
            let all = all.iter().map(cpu);
            all.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
        };
        let rss = |all: &[u32]| all.iter().filter_map(|pid| resident(*pid)).sum();
        let (user, system) = sum(&self.server);
        let (parts, own) = (sum(&self.clients), cpu(&std::process::id()));
        UsageSample {
            at: clock::now(),
            server_user: user,
            server_system: system,
            server_rss: rss(&self.server),
            holder_rss: rss(&self.holders),
            client: own.0 + own.1 + parts.0 + parts.1,
            machine: machine().unwrap_or_default(),
            socket_bytes: socket_bytes().unwrap_or_default(),
            slab: slab().unwrap_or_default(),
        }
    }
}

impl UsageSample {
    /// Returns the usage since an earlier sample.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of one run")]
    pub fn since(&self, before: &Self) -> UsageDelta {
        let seconds = clock::seconds(self.at.saturating_sub(before.at)).max(1e-9);
        let cores = |now: u64, before: u64| now.saturating_sub(before) as f64 / 1000.0 / seconds;
        let user = cores(self.server_user, before.server_user);
        let system = cores(self.server_system, before.server_system);
        let client = cores(self.client, before.client);
        let machine = cores(self.machine, before.machine);
        UsageDelta {
            seconds,
            server_cores: user + system,
            server_system: system,
            client_cores: client,
            other_cores: (machine - user - system - client).max(0.0),
            server_rss: self.server_rss,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_time() {
        let this = WatchedProcesses {
            server: vec![std::process::id()],
            ..WatchedProcesses::default()
        };
        let before = this.usage();
        let mut sum = 0_u64;
        while this.usage().client < before.client + 20 {
            sum = (0..100_000_u64).fold(sum, |sum, n| sum.wrapping_mul(31) ^ n);
        }
        let after = this.usage();
        let load = after.since(&before);
        assert!(load.server_cores > 0.0, "{load:?} {sum}");
        assert!(after.server_rss > 1 << 20);
        assert!(after.machine > 0 && after.slab > 0);
    }
}
