//! A killed process loses no change that it answered: a few kills, in seconds. The example of the
//! same name runs as many kills as it is asked for.

mod killing;

use std::process::ExitCode;

use gimlet_storage_sled::DurabilityLevel;
use killing::KillTask;
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if let Some(code) = killing::victim() {
        return code;
    }
    let trial = |name: &str, durability| {
        Trial::test(name, move || {
            let task = KillTask {
                kills: 10,
                durability,
                seed: 1,
                verbose: false,
            };
            let summary = killing::run(&task);
            println!("{summary:?}");
            if summary.wrong.is_empty() {
                Ok(())
            } else {
                Err(summary.wrong.join("; ").into())
            }
        })
    };
    let trials = vec![
        trial("power_loses_nothing_to_kills", DurabilityLevel::Power),
        trial("process_loses_nothing_to_kills", DurabilityLevel::Process),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
