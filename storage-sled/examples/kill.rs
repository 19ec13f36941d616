//! Kills a writing process again and again, and checks that nothing it answered is lost:
//!
//! ```sh
//! cargo run --release -p gimlet-storage-sled --example kill -- --kills 300
//! ```
//!
//! Options: `--kills N` (300), `--seed N` (1), `--durability power|process` (power), `--verbose`.
//! Exits with 1 if anything was lost, shown too early, stored twice, or could not be opened.

#[path = "../tests/killing/mod.rs"]
mod killing;

use std::process::ExitCode;

use gimlet_storage_sled::DurabilityLevel;
use killing::KillTask;

fn main() -> ExitCode {
    if let Some(code) = killing::victim() {
        return code;
    }
    let task = match task() {
        Ok(task) => task,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(64);
        }
    };
    let summary = killing::run(&task);
    println!(
        "{} kills ({} within 300 ms of a start, {} with the flush held), durability {:?}, seed {}",
        summary.kills, summary.early, summary.held, task.durability, task.seed
    );
    println!(
        "{} sends answered; {} asked again after a kill, {} of them had been stored; {} entries and {} events \
         compared",
        summary.answered, summary.repeated.0, summary.repeated.1, summary.entries, summary.events
    );
    for wrong in &summary.wrong {
        println!("WRONG: {wrong}");
    }
    if summary.wrong.is_empty() {
        println!("nothing lost, nothing shown too early, every reopen worked");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn task() -> Result<KillTask, String> {
    let mut task = KillTask {
        kills: 300,
        durability: DurabilityLevel::Power,
        seed: 1,
        verbose: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        if option == "--verbose" {
            task.verbose = true;
            continue;
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("{option} needs a value"))?;
        let number = || {
            let parsed = value.parse::<u32>();
            parsed.map_err(|_| format!("{option} needs a number, not {value}"))
        };
        match (option.as_str(), value.as_str()) {
            ("--kills", _) => task.kills = number()?,
            ("--seed", _) => task.seed = number()?.into(),
            ("--durability", "power") => task.durability = DurabilityLevel::Power,
            ("--durability", "process") => task.durability = DurabilityLevel::Process,
            _ => {
                return Err(format!(
                    "{option} {value} is not known; there are --kills N, --seed N, \
                     --durability power|process and --verbose"
                ));
            }
        }
    }
    Ok(task)
}
