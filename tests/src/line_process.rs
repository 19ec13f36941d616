//! A child process driven by lines: written to its input, read from its output.
//!
//! The driver is independent of the lines' meaning.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longest wait for an expected line.
const PATIENCE: Duration = Duration::from_secs(20);
/// Capacity of the queue of unread lines.
const LINES: usize = 4_096;

/// A child with piped input and output. Dropping it kills the child.
#[derive(Debug)]
pub struct LineProcess {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    received: Vec<String>,
}

impl LineProcess {
    /// Starts a program.
    pub fn start(name: &str, command: &mut Command) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let (tx, lines) = mpsc::channel(LINES);
        // The thread ends with the child's output.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if tx.blocking_send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            input,
            lines,
            received: Vec::new(),
        })
    }

    /// Writes a line to the child's input.
    ///
    /// # Panics
    /// The child does not read any more.
    pub fn says(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is open");
        let written = writeln!(input, "{line}").and_then(|()| input.flush());
        written.unwrap_or_else(|error| panic!("{}: {line}: {error}", self.name));
    }

    /// Waits for a line that contains this text and returns the whole line.
    ///
    /// # Panics
    /// The line does not come in time; the message shows the lines that came instead.
    pub async fn wait_for_line(&mut self, part: &str) -> String {
        let from = self.received.len();
        let found = timeout(PATIENCE, async {
            while let Some(line) = self.lines.recv().await {
                self.received.push(line.clone());
                if line.contains(part) {
                    return Some(line);
                }
            }
            None
        });
        let found = found.await.ok().flatten();
        found.unwrap_or_else(|| {
            let since = self.received.get(from..).unwrap_or_default();
            panic!("{} should say \"{part}\"; it said {since:#?}", self.name)
        })
    }

    /// Returns the number of lines so far that contained this text.
    #[must_use]
    pub fn times(&self, part: &str) -> usize {
        self.received
            .iter()
            .filter(|line| line.contains(part))
            .count()
    }

    /// Closes the child's input and waits for its exit; returns whether it succeeded.
    pub async fn ends(&mut self) -> bool {
        drop(self.input.take());
        // The output ends when the child exits.
        let rest = async {
            while let Some(line) = self.lines.recv().await {
                self.received.push(line);
            }
        };
        timeout(PATIENCE, rest).await.is_ok() && self.child.wait().is_ok_and(|s| s.success())
    }

    /// Kills the child with `kill -9` and waits until it is gone.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for LineProcess {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
