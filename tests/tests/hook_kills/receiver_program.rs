//! A receiving program: a process that can be killed and started again at the same port, and the events
//! that it printed over all its lives.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use gimlet_kit::server::free;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::event_judge::{EventLog, ReceivedEvent};

/// Secret that all requests are signed with.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A language of a receiving program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReceiverLanguage {
    /// Python 3.
    Python,
    /// Node.
    Node,
}

impl ReceiverLanguage {
    /// Both languages.
    pub(crate) const ALL: [Self; 2] = [Self::Python, Self::Node];

    /// Returns the name of the language, which is also that of its webhook.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    const fn command(self) -> (&'static str, &'static str) {
        match self {
            Self::Python => ("python3", "receiver.py"),
            Self::Node => ("node", "receiver.mjs"),
        }
    }
}

/// A receiving program. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct ReceiverProgram {
    /// Language of the program.
    pub(crate) language: ReceiverLanguage,
    port: u16,
    environment: Vec<(&'static str, String)>,
    state: Arc<PrintedEvents>,
    process: Option<(Child, JoinHandle<()>)>,
}

#[derive(Debug, Default)]
struct PrintedEvents {
    log: Mutex<EventLog>,
    changes: watch::Sender<()>,
}

impl PrintedEvents {
    fn log(&self) -> MutexGuard<'_, EventLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a line. A line that a kill has cut off was not accepted, so it is dropped.
    fn record(&self, line: &str) {
        let words: Vec<&str> = line.trim_end().splitn(4, ' ').collect();
        match words.as_slice() {
            ["event", id, receiver, text] if line.ends_with('\n') => {
                self.log().events.push(ReceivedEvent {
                    id: (*id).to_owned(),
                    receiver: (*receiver).to_owned(),
                    text: (*text).to_owned(),
                });
            }
            ["forged"] => self.log().forged += 1,
            _ => {}
        }
        self.changes.send_replace(());
    }
}

impl ReceiverProgram {
    /// Starts a program with these additional variables in its environment.
    pub(crate) fn start(language: ReceiverLanguage, more: &[(&'static str, &str)]) -> Self {
        let port = free().port();
        let mut environment = vec![
            ("PORT", port.to_string()),
            ("WEBHOOK_SECRET", SECRET.to_owned()),
        ];
        let more = more
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        environment.extend(more);
        let mut program = Self {
            language,
            port,
            environment,
            state: Arc::default(),
            process: None,
        };
        program.start_again();
        program
    }

    /// Starts the program again after a kill, and returns when it listens.
    pub(crate) fn start_again(&mut self) {
        let (interpreter, file) = self.language.command();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hook_kills");
        let mut command = Command::new(interpreter);
        let environment = self.environment.iter();
        command
            .arg(folder.join(file))
            .envs(environment.map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 and node are installed");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert_eq!(line.trim_end(), "listening", "{}", self.language.name());
        let state = Arc::clone(&self.state);
        let reader = std::thread::spawn(move || read(output, &state));
        self.process = Some((child, reader));
    }

    /// Kills the program with `kill -9`; returns when all that it printed is recorded.
    pub(crate) fn kill(&mut self) {
        if let Some((mut child, reader)) = self.process.take() {
            child.kill().expect("the process is ours");
            child.wait().expect("the process is ours");
            reader.join().expect("the reader does not panic");
        }
    }

    /// Returns the address for the webhook.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Returns everything that was printed so far.
    pub(crate) fn log(&self) -> EventLog {
        self.state.log().clone()
    }

    /// Waits until what was printed meets a condition, which is asked after each line with the new events
    /// and the number of forged requests. Returns false if nothing is printed for `patience`.
    pub(crate) async fn wait_until(
        &self,
        patience: Duration,
        mut is_met: impl FnMut(&[ReceivedEvent], usize) -> bool,
    ) -> bool {
        let mut changes = self.state.changes.subscribe();
        let mut seen = 0;
        loop {
            {
                let log = self.state.log();
                if is_met(log.events.get(seen..).unwrap_or_default(), log.forged) {
                    return true;
                }
                seen = log.events.len();
            }
            if timeout(patience, changes.changed()).await.is_err() {
                return false;
            }
        }
    }
}

impl Drop for ReceiverProgram {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read(mut output: BufReader<ChildStdout>, state: &PrintedEvents) {
    let mut line = String::new();
    while output.read_line(&mut line).is_ok_and(|n| n > 0) {
        state.record(&line);
        line.clear();
    }
}
