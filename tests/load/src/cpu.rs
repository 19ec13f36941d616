//! CPU time that a process has used.

use std::fs;
use std::time::Duration;

/// Length of a tick in `/proc`: Linux shows a hundred a second, whatever its kernel counts.
const TICK: Duration = Duration::from_millis(10);

/// Returns the user and system time of a process so far; `None` once it is gone.
#[must_use]
pub fn used(pid: u32) -> Option<Duration> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<Duration> {
    // The name may hold spaces and brackets; the fields follow the last bracket.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * user.checked_add(system)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_matter() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert_eq!(parse(stat), Some(Duration::from_secs(2)));
        assert!(used(std::process::id()).is_some());
    }
}
