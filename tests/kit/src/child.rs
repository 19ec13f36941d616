//! A child process: its output is read while it runs, its input can be written, and signals reach
//! it by its process id.
//!
//! Independent of what the lines mean.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// Longest wait for an expected line.
const PATIENCE: Duration = Duration::from_secs(30);

/// A child process. Dropping it kills the child.
#[derive(Debug)]
pub struct ChildProcess {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: Arc<ChildOutput>,
    readers: Vec<JoinHandle<()>>,
    /// Number of lines of the output that waits have passed.
    passed: usize,
    patience: Duration,
}

#[derive(Debug, Default)]
struct ChildOutput {
    text: Mutex<OutputText>,
    more: Condvar,
    /// Changes with each line, for waits that must not block a thread.
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct OutputText {
    /// Lines of the standard output.
    lines: Vec<String>,
    /// Everything on the standard error.
    log: String,
    /// Set when the standard output has ended.
    ended: bool,
}

impl ChildOutput {
    fn text(&self) -> MutexGuard<'_, OutputText> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut OutputText)) {
        change(&mut self.text());
        self.more.notify_all();
        self.changes.send_replace(());
    }

    /// Reads a stream to its end, in a thread of its own.
    fn read(self: &Arc<Self>, stream: impl Read + Send + 'static, is_log: bool) -> JoinHandle<()> {
        let output = Arc::clone(self);
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut bytes = Vec::new();
            while stream.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
                let line = String::from_utf8_lossy(&bytes).into_owned();
                bytes.clear();
                output.change(|text| {
                    if is_log {
                        text.log.push_str(&line);
                    } else {
                        text.lines.push(line.trim_end_matches('\n').to_owned());
                    }
                });
            }
            if !is_log {
                output.change(|text| text.ended = true);
            }
        })
    }
}

impl ChildProcess {
    /// Starts a program. Its standard output is read; its standard error is, too, if the command
    /// pipes it.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(name: &str, command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = Arc::<ChildOutput>::default();
        let out = child.stdout.take();
        let mut readers: Vec<_> = out.into_iter().map(|out| output.read(out, false)).collect();
        readers.extend(child.stderr.take().map(|log| output.read(log, true)));
        Ok(Self {
            name: name.to_owned(),
            input: child.stdin.take(),
            child,
            output,
            readers,
            passed: 0,
            patience: PATIENCE,
        })
    }

    /// Sets the longest wait for an expected line.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Starts a program whose input is written by [`says`](Self::says).
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn with_input(name: &str, command: &mut Command) -> io::Result<Self> {
        Self::start(name, command.stdin(Stdio::piped()))
    }

    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to the child's input.
    ///
    /// # Panics
    /// The child does not read any more, or was started without an input.
    pub fn says(&mut self, line: &str) {
        let input = self.input.as_mut().expect("an open input");
        let written = writeln!(input, "{line}").and_then(|()| input.flush());
        written.unwrap_or_else(|error| panic!("{}: {line}: {error}", self.name));
    }

    /// Returns the next line that contains this text, if it has come.
    fn found(&mut self, part: &str) -> Option<String> {
        let text = self.output.text();
        let rest = text.lines.iter().enumerate().skip(self.passed);
        let mut found = rest.filter(|(_, line)| line.contains(part));
        let (at, line) = found.next()?;
        self.passed = at + 1;
        Some(line.clone())
    }

    /// Waits for the next line of the output that contains this text and returns the whole line.
    ///
    /// # Panics
    /// The line does not come in time; the message shows the lines that came instead.
    pub async fn wait_for_line(&mut self, part: &str) -> String {
        let mut changes = self.output.changes.subscribe();
        let line = timeout(self.patience, async {
            loop {
                // Read before the search: a line that ends the output is still found.
                let ended = self.output.text().ended;
                if let Some(line) = self.found(part) {
                    return Some(line);
                }
                if ended || changes.changed().await.is_err() {
                    return None;
                }
            }
        });
        let line = line.await.ok().flatten();
        line.unwrap_or_else(|| panic!("{}", self.missing(part)))
    }

    /// Does the same and blocks the thread meanwhile.
    ///
    /// # Panics
    /// The line does not come in time.
    pub fn read_line(&mut self, part: &str) -> String {
        let passed = self.passed;
        self.wait(|text| text.ended || text.lines.iter().skip(passed).any(|it| it.contains(part)));
        self.found(part)
            .unwrap_or_else(|| panic!("{}", self.missing(part)))
    }

    fn missing(&self, part: &str) -> String {
        let text = self.output.text();
        let since = text.lines.get(self.passed..).unwrap_or_default();
        let log = &text.log;
        format!("{}: no \"{part}\" in {since:#?}{log}", self.name)
    }

    /// Waits until the log, which the command must pipe, contains these words.
    ///
    /// # Panics
    /// They do not come in time.
    pub fn await_log(&self, words: &str) {
        let found = self.wait(|text| text.log.contains(words));
        assert!(found, "{}: no \"{words}\" in {}", self.name, self.log());
    }

    /// Blocks until the output meets a condition; returns whether it did in time.
    fn wait(&self, met: impl Fn(&OutputText) -> bool) -> bool {
        let output = &self.output;
        let waited = output
            .more
            .wait_timeout_while(output.text(), self.patience, |text| !met(text));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Returns the lines of the output so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.output.text().lines.clone()
    }

    /// Returns the log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.output.text().log.clone()
    }

    /// Returns the number of lines so far that contained this text.
    #[must_use]
    pub fn times(&self, part: &str) -> usize {
        let passed = self.lines().into_iter().take(self.passed);
        passed.filter(|line| line.contains(part)).count()
    }

    /// Sends a signal by its short name, for example `TERM`, `STOP` or `CONT`.
    ///
    /// # Errors
    /// `kill` is not installed, or it fails.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let status = Command::new("kill")
            .args(["-s", name, &self.id().to_string()])
            .status()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("kill -s {name}: {status}")))
        }
    }

    /// Returns the exit status, if the child has ended.
    ///
    /// # Errors
    /// The operating system cannot tell.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for the end of the child and of its output; returns its exit status and its log.
    ///
    /// # Errors
    /// The operating system cannot tell.
    pub fn join(&mut self) -> io::Result<(ExitStatus, String)> {
        drop(self.input.take());
        let status = self.child.wait()?;
        for reader in self.readers.drain(..) {
            // A reader that panicked has read what it could.
            let _ = reader.join();
        }
        Ok((status, self.log()))
    }

    /// Closes the child's input and waits for its exit; returns whether it succeeded in time.
    pub async fn ends(&mut self) -> bool {
        drop(self.input.take());
        let mut changes = self.output.changes.subscribe();
        let ended = async {
            loop {
                // The guard must not live while this waits: the reader needs the lock.
                let ended = self.output.text().ended;
                if ended || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // The output ends when the child exits.
        let ended = timeout(self.patience, ended).await.is_ok();
        self.passed = self.output.text().lines.len();
        ended && self.child.wait().is_ok_and(|status| status.success())
    }

    /// Kills the child with `kill -9` and waits until it is gone.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
