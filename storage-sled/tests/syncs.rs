//! Every file that sled wrote is synced before an answer, as a trace of the system calls shows.
//!
//! The program traces itself. As a victim it sends one message after the other, up to the largest,
//! and prints each answer. The trace is then replayed: a write makes a file dirty, a new name makes
//! its directory dirty, `fsync` makes them clean, and nothing may be dirty at an answer. Needs
//! `strace`; without it the case is shown as ignored.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use gimlet_core::testkit::helpers;
use gimlet_core::time::SystemClock;
use gimlet_storage_sled::{Config, open};
use libtest_mimic::{Arguments, Trial};

/// First argument of the traced program.
const VICTIM: &str = "victim";
/// Number of sends.
const SENDS: usize = 120;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(VICTIM) {
        send(Path::new(&arguments.next().unwrap()));
        return ExitCode::SUCCESS;
    }
    let works = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    let works = works.is_ok_and(|status| status.success());
    let trial = Trial::test("what_sled_wrote_is_synced_before_an_answer", move || {
        if works {
            trace();
            Ok(())
        } else {
            Err("strace is missing or may not trace: apt-get install strace".into())
        }
    });
    let trials = vec![trial.with_ignored_flag(!works)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Sends one message after the other, to one, two or three users, and prints each answer.
fn send(dir: &Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let config = Config {
            min_free: 0,
            ..Config::new(dir)
        };
        let it = open(&config, Arc::new(SystemClock)).unwrap();
        for n in 0..SENDS {
            let users = helpers::users(1..=1 + n as u64 % 3);
            let size = [50, 3_000, 5_000, 20_000, 60 * 1024][n % 5];
            let batch = [helpers::send(&users, vec![7; size])];
            it.stores.inbox.append(&batch).await.unwrap();
            let mut out = std::io::stdout().lock();
            out.write_all(b"answered\n").unwrap();
            out.flush().unwrap();
        }
    });
}

/// Traces the victim in a new directory, and once more in the same directory, which then has a
/// snapshot.
fn trace() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().canonicalize().unwrap().join("data");
    for turn in 0..2 {
        let log = dir.path().join(format!("trace.{turn}"));
        let traced = Command::new("strace")
            .args(["-f", "-y", "-s", "16", "-e", "signal=none", "-o"])
            .arg(&log)
            .args([
                "-e",
                "trace=openat,write,writev,pwrite64,pwritev,rename,mkdir,fsync,fdatasync",
            ])
            .arg(std::env::current_exe().unwrap())
            .arg(VICTIM)
            .arg(&data)
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        assert!(traced.status.success(), "{traced:?}");
        let story = std::fs::read_to_string(log).unwrap();
        let mut told = SyncTrace::new(data.to_str().unwrap());
        for line in story.lines() {
            told.line(line);
        }
        assert_eq!(told.answers, SENDS);
        assert!(told.writes > SENDS, "sled wrote {} times", told.writes);
        println!(
            "turn {turn}: {} answers, {} writes, {} syncs; files written: {:?}",
            told.answers, told.writes, told.syncs, told.written
        );
    }
}

/// State of the replayed trace.
struct SyncTrace {
    dir: String,
    /// Paths with unsynced changes, and the line of the trace with the last change.
    dirty: HashMap<String, usize>,
    /// Unfinished calls by thread.
    begun: HashMap<String, (String, usize)>,
    place: usize,
    answers: usize,
    writes: usize,
    syncs: usize,
    written: HashSet<String>,
}

impl SyncTrace {
    fn new(dir: &str) -> Self {
        Self {
            dir: dir.into(),
            dirty: HashMap::new(),
            begun: HashMap::new(),
            place: 0,
            answers: 0,
            writes: 0,
            syncs: 0,
            written: HashSet::new(),
        }
    }

    /// Replays one line: a call, its beginning, or its end.
    fn line(&mut self, line: &str) {
        self.place += 1;
        let Some((thread, rest)) = line.split_once(' ') else {
            return;
        };
        let rest = rest.trim_start();
        if rest.starts_with("<... ") {
            let (call, began) = self.begun.remove(thread).unwrap_or_default();
            self.end(&call, began);
        } else if let Some(call) = rest.strip_suffix("<unfinished ...>") {
            self.begin(call);
            self.begun.insert(thread.into(), (call.into(), self.place));
        } else {
            self.begin(rest);
            self.end(rest, self.place);
        }
    }

    /// Handles the beginning of a call. A write counts from its beginning, and once more from its
    /// end, because it may take effect at any time in between.
    fn begin(&mut self, call: &str) {
        if call.contains("\"answered") {
            assert!(
                self.dirty.is_empty(),
                "answer {} with {:?}",
                self.answers,
                self.dirty
            );
            self.answers += 1;
        } else {
            self.changes(call);
        }
    }

    /// Handles the end of a call. A sync counts only at its end, and only for changes made before
    /// its beginning.
    fn end(&mut self, call: &str, began: usize) {
        if call.starts_with("fsync(") || call.starts_with("fdatasync(") {
            self.syncs += 1;
            let path = between(call, '<', '>');
            if self.dirty.get(path).is_some_and(|place| *place <= began) {
                self.dirty.remove(path);
            }
        } else if !call.contains("\"answered") {
            self.changes(call);
        }
    }

    fn changes(&mut self, call: &str) {
        if call.starts_with("write") || call.starts_with("pwrite") {
            let path = between(call, '<', '>').to_owned();
            // The stamp may be older than the commit it names: it is synced once a second.
            if path.starts_with(&self.dir) && !path.ends_with("/STAMP") {
                self.writes += 1;
                self.written.insert(path[self.dir.len()..].to_owned());
                self.dirty.insert(path, self.place);
            }
        } else if call.starts_with("rename(") || call.starts_with("mkdir(") {
            let mut names = call.split('"').skip(1).step_by(2);
            let (from, to) = (names.next().unwrap(), names.next());
            if let (Some(to), Some(place)) = (to, self.dirty.remove(from)) {
                self.dirty.insert(to.into(), place);
            }
            self.named(to.unwrap_or(from));
        } else if call.starts_with("openat(") && call.contains("O_CREAT") {
            let path = between(call, '"', '"').to_owned();
            self.named(&path);
        }
    }

    /// Marks the directory of a new name as dirty.
    fn named(&mut self, path: &str) {
        if path.starts_with(&self.dir) {
            let (parent, _) = path.rsplit_once('/').unwrap();
            self.dirty.insert(parent.into(), self.place);
        }
    }
}

fn between(text: &str, open: char, close: char) -> &str {
    let rest = text.split_once(open).map_or("", |(_, rest)| rest);
    rest.split_once(close).map_or("", |(inner, _)| inner)
}
