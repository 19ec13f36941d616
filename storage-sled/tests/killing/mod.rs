//! Kills a writing process repeatedly, and checks after each kill that no answered change is lost.
//! Shared by the test (a few kills) and the example (as many as asked for).
//!
//! This program is its own victim. Started with [`WRITER`], it opens the directory, sends without
//! end and prints every answer. Otherwise it starts victims, kills them at random moments, opens
//! the directory they leave, and compares it with their output.

#![expect(clippy::indexing_slicing, reason = "a failed check should panic")]

mod check;
mod plan;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use gimlet_storage_sled::DurabilityLevel;
use tokio::time::Instant;

use check::DirectoryChecker;
use plan::mix;

/// First argument of a victim; its directory, run and durability follow.
pub(crate) const WRITER: &str = "writer";

/// Answered sends before a victim may be killed.
const ANSWERED: u64 = 100;

/// Parameters of a run.
#[derive(Debug)]
pub(crate) struct KillTask {
    /// Number of kills.
    pub(crate) kills: u32,
    /// Durability that the victims use.
    pub(crate) durability: DurabilityLevel,
    /// Seed of the random numbers.
    pub(crate) seed: u64,
    /// Prints every kill.
    pub(crate) verbose: bool,
}

/// Result of a run.
#[derive(Debug, Default)]
pub(crate) struct KillSummary {
    /// Kills.
    pub(crate) kills: u32,
    /// Kills within 300 ms of a start.
    pub(crate) early: u32,
    /// Kills with the flush held.
    pub(crate) held: u32,
    /// Answered sends.
    pub(crate) answered: u64,
    /// Sends that were repeated after a kill, and the number of them that had been stored.
    pub(crate) repeated: (u64, u64),
    /// Entries read and compared.
    pub(crate) entries: u64,
    /// Events of sends that were delivered or waited.
    pub(crate) events: u64,
    /// Errors that were found.
    pub(crate) wrong: Vec<String>,
}

/// Runs a victim if the program was started as one.
pub(crate) fn victim() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(WRITER) {
        return None;
    }
    let dir = arguments.next().expect("a directory");
    let run = arguments.next().expect("a run").parse().expect("a number");
    let durability = match arguments.next().as_deref() {
        Some("process") => DurabilityLevel::Process,
        _ => DurabilityLevel::Power,
    };
    writer::write(dir.as_ref(), run, durability);
    Some(ExitCode::SUCCESS)
}

/// The moment at which a victim is killed.
#[derive(Clone, Copy, Debug)]
enum KillMoment {
    /// A fixed time after its start.
    After(Duration),
    /// After this many answered sends.
    Answered(u64),
    /// When its flush is held and readers have looked.
    Held,
}

/// Output of a victim.
#[derive(Debug, Default)]
struct VictimOutput {
    /// The seqs of the answered sends, by sender and number.
    answered: BTreeMap<(u64, u64), Vec<(u64, u64)>>,
    /// The largest head that a reader was shown, by user.
    seen: BTreeMap<u64, u64>,
    /// The largest generation of each device.
    raised: BTreeMap<u64, u64>,
    /// Sends whose events were delivered, by sender and number.
    delivered: BTreeSet<(u64, u64)>,
    held: bool,
}

/// Kills victims and checks the directory after each.
pub(crate) fn run(task: &KillTask) -> KillSummary {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut summary = KillSummary::default();
    let mut checker = DirectoryChecker::new(dir.path());
    checker.prepare();
    for run in 0..task.kills {
        let random = mix(task.seed, u64::from(run));
        let moment = match run % 3 {
            0 => KillMoment::After(Duration::from_micros(random % 300_000)),
            1 if run % 4 == 0 => KillMoment::Held,
            _ => KillMoment::Answered(ANSWERED + random % 200),
        };
        let said = live(dir.path(), run, task, moment);
        summary.kills += 1;
        summary.answered += said.answered.len() as u64;
        summary.early += u32::from(matches!(moment, KillMoment::After(_)));
        summary.held += u32::from(matches!(moment, KillMoment::Held));
        let wrong = checker.check(u64::from(run), &said, &mut summary).err();
        if task.verbose || wrong.is_some() {
            let answered = said.answered.len();
            println!("kill {run}: {moment:?}, {answered} answered, {wrong:?}");
        }
        if let Some(wrong) = wrong {
            // Further checks would only repeat the error.
            summary.wrong.push(format!("kill {run}: {wrong}"));
            break;
        }
    }
    if summary.wrong.is_empty() {
        let wrong = checker.everything(&mut summary);
        summary.wrong.extend(wrong.err());
    }
    summary
}

/// Starts a victim, kills it at its moment, and returns its output.
fn live(dir: &std::path::Path, run: u32, task: &KillTask, moment: KillMoment) -> VictimOutput {
    let durability = match task.durability {
        DurabilityLevel::Power => "power",
        DurabilityLevel::Process => "process",
    };
    let hold = if matches!(moment, KillMoment::Held) {
        "hold"
    } else {
        "go"
    };
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .arg(WRITER)
        .arg(dir)
        .arg(run.to_string())
        .arg(durability)
        .arg(hold)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts");
    let lines = listen(&mut child);
    let mut said = VictimOutput::default();
    let started = Instant::now();
    loop {
        let line = match moment {
            KillMoment::After(span) => lines.recv_timeout(span.saturating_sub(started.elapsed())),
            KillMoment::Answered(_) | KillMoment::Held => {
                lines.recv().map_err(|_| RecvTimeoutError::Disconnected)
            }
        };
        match line {
            Ok(line) => said.hear(&line),
            // The time is up, or the victim has ended by itself, in which case the check finds the
            // reason.
            Err(_) => break,
        }
        let over = match moment {
            KillMoment::After(span) => started.elapsed() >= span,
            KillMoment::Answered(count) => said.answered.len() as u64 >= count,
            KillMoment::Held => said.held,
        };
        if over {
            break;
        }
    }
    child.kill().expect("the victim is ours");
    child.wait().expect("the victim is ours");
    // Lines that it printed before it died are still in the pipe.
    for line in lines {
        said.hear(&line);
    }
    said
}

/// Forwards the complete lines of a victim; a last line without a line end is dropped.
fn listen(child: &mut Child) -> Receiver<String> {
    let stdout = child.stdout.take().expect("it was asked for");
    let (tell, lines) = channel();
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(stdout);
        let mut line = String::new();
        while pipe.read_line(&mut line).is_ok_and(|read| read > 0) && line.ends_with('\n') {
            if tell.send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    });
    lines
}

impl VictimOutput {
    fn hear(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let word = words.next();
        let mut numbers = words.map(|it| it.parse::<u64>().expect("a number"));
        let mut next = || numbers.next().expect("another number");
        match word {
            Some("sent") => {
                let name = (next(), next());
                let mut seqs = Vec::new();
                while let Some(user) = numbers.next() {
                    seqs.push((user, numbers.next().expect("a seq for every user")));
                }
                self.answered.insert(name, seqs);
            }
            Some("seen") => {
                let (user, head) = (next(), next());
                let most = self.seen.entry(user).or_default();
                *most = head.max(*most);
            }
            Some("raised") => {
                let (device, generation) = (next(), next());
                let most = self.raised.entry(device).or_default();
                *most = generation.max(*most);
            }
            Some("delivered") => {
                self.delivered.insert((next(), next()));
            }
            Some("held") => self.held = true,
            _ => panic!("unknown line of a victim: {line}"),
        }
    }
}
