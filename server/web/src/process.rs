//! Figures of this process, for metrics. `None` where the system does not provide them.

pub use gimlet_files::free_bytes;

/// Clock ticks per second in `/proc`: a constant of Linux's interface (`USER_HZ`), independent of
/// the kernel's own rate.
const TICKS_PER_SECOND: u64 = 100;

/// Figures of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUsage {
    /// Resident memory, in bytes.
    pub resident: u64,
    /// Seconds of CPU since the start, user and system.
    pub cpu_seconds: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Largest number of descriptors that it may open.
    pub descriptors_max: u64,
}

/// Reads the figures; `None` where there is no `/proc`.
#[must_use]
pub fn usage() -> Option<ProcessUsage> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    Some(ProcessUsage {
        resident: field(&status, "VmRSS:")? * 1_024,
        cpu_seconds: ticks(&stat)? / TICKS_PER_SECOND,
        threads: field(&status, "Threads:")?,
        descriptors: descriptors()?,
        descriptors_max: crate::descriptors::limit()?,
    })
}

/// Returns the number after a name in `/proc/self/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns the user and system time in `/proc/self/stat`. The name before them may contain spaces
/// and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn descriptors() -> Option<u64> {
    // Linux 6.2 and later report the count as the size of the folder; listing 100,000 entries takes
    // a while.
    let counted = std::fs::metadata("/proc/self/fd").ok()?.len();
    if counted > 0 {
        return Some(counted);
    }
    let listed = std::fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(listed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_whatever_the_program_is_called() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 250 151 0 0 20 0 4 0 100";
        assert_eq!(ticks(stat), Some(401));
        assert_eq!(
            field("Name:\tx\nVmRSS:\t  1234 kB\n", "VmRSS:"),
            Some(1_234)
        );
        assert_eq!(field("Name:\tx\n", "VmRSS:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_figures() {
        let usage = usage().unwrap();
        assert!(usage.resident > 1 << 20 && usage.threads > 0, "{usage:?}");
        assert!(
            (3..=usage.descriptors_max).contains(&usage.descriptors),
            "{usage:?}"
        );
    }
}
