//! Clocks of other servers, compared with this machine's.

use super::DoctorReport;

/// Difference above which times of messages are visibly wrong.
const DIFFERENCE_WARNING_MS: u64 = 1_000;

/// Adds a warning if the clock of `server` differs from this machine's.
pub(super) fn compare(server: &str, ahead_ms: i64, report: &mut DoctorReport) {
    const TOPIC: &str = "clock";
    let difference = ahead_ms.unsigned_abs();
    if difference < DIFFERENCE_WARNING_MS {
        report.fine(TOPIC, format!("this machine and {server} agree"));
        return;
    }
    let direction = if ahead_ms > 0 { "behind" } else { "ahead of" };
    report.warn(
        TOPIC,
        format!(
            "the clock of this machine is {difference} ms {direction} that of {server}: run chrony or \
             systemd-timesyncd on both"
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::super::FindingLevel;
    use super::*;

    #[test]
    fn a_second_is_too_much_in_both_directions() {
        for (ahead_ms, expected, word) in [
            (999, FindingLevel::Fine, "agree"),
            (5_000, FindingLevel::Warning, "5000 ms behind"),
            (-5_000, FindingLevel::Warning, "5000 ms ahead of"),
        ] {
            let mut report = DoctorReport::default();
            compare("MySQL", ahead_ms, &mut report);
            let finding = report.findings.pop().unwrap();
            assert!(
                finding.level == expected && finding.text.contains(word),
                "{finding:?}"
            );
        }
    }
}
