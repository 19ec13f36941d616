//! Certificates: readable, a pair with their keys, and not about to expire.

use gimlet_core::time::{SystemClock, TimeSource as _};
use gimlet_listen::pem::{self, PemFile};

use super::DoctorReport;
use crate::certificates::CertificateFiles;
use crate::config::Config;

const TOPIC: &str = "certificates";
const DAY_SECONDS: i64 = 24 * 3_600;
/// Days before the end at which a certificate should have been replaced: certbot does it at 30.
const DAYS_LEFT_WARNING: i64 = 14;

pub(super) fn examine(config: &Config, report: &mut DoctorReport) {
    if let Err(error) = CertificateFiles::load(config) {
        report.problem(TOPIC, error.to_string());
        return;
    }
    let listeners = config.certificate_files().map(|it| it.cert);
    let nodes = config.node_files().map(|it| it.cert);
    let now = SystemClock.now().seconds();
    for file in listeners.iter().chain(&nodes) {
        let text = std::fs::read(&file.path).unwrap_or_default();
        match pem::expiry(file, &text) {
            Ok(expires) => validity(file, expires - now, report),
            Err(error) => report.problem(TOPIC, error.to_string()),
        }
    }
}

fn validity(file: &PemFile, seconds_left: i64, report: &mut DoctorReport) {
    let days = seconds_left.div_euclid(DAY_SECONDS);
    if seconds_left <= 0 {
        report.problem(
            TOPIC,
            format!(
                "{file} expired {} days ago: renew it, and gimlet loads it by itself",
                -days
            ),
        );
    } else if days < DAYS_LEFT_WARNING {
        report.warn(
            TOPIC,
            format!("{file} expires in {days} days: renew it, and gimlet loads it by itself"),
        );
    } else {
        report.fine(TOPIC, format!("{file} is valid for {days} days"));
    }
}
