//! A program on a pseudo-terminal, and the screen that its user would see.
//!
//! The emulation is independent of the program that it shows.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longest wait for an expected row.
const PATIENCE: Duration = Duration::from_secs(20);
/// Columns of the terminal.
const COLUMNS: u16 = 80;
/// Capacity of the queue of unprocessed output chunks.
const CHUNKS: usize = 4_096;

/// A child process on a terminal of its own. Dropping it kills the child.
#[derive(Debug)]
pub struct TestTerminal {
    name: String,
    child: Child,
    terminal: File,
    output: mpsc::Receiver<Vec<u8>>,
    shown: TerminalContent,
}

impl TestTerminal {
    /// Starts a program on a new terminal.
    pub fn start(name: &str, command: &mut Command) -> io::Result<Self> {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&terminal)?;
        unlockpt(&terminal)?;
        let size = Winsize {
            ws_row: 24,
            ws_col: COLUMNS,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size)?;
        let path = ptsname(&terminal, Vec::new())?
            .to_string_lossy()
            .into_owned();
        let inner = File::options().read(true).write(true).open(path)?;
        let child = command
            .env("TERM", "xterm")
            .stdin(inner.try_clone()?)
            .stdout(inner.try_clone()?)
            .stderr(inner)
            .spawn()?;
        let terminal = File::from(terminal);
        let mut reader = terminal.try_clone()?;
        let (tx, output) = mpsc::channel(CHUNKS);
        // The thread ends with the child, which holds the only other side of the terminal.
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(read @ 1..) = reader.read(&mut bytes) {
                let chunk = bytes.get(..read).unwrap_or_default().to_vec();
                if tx.blocking_send(chunk).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            terminal,
            output,
            shown: TerminalContent::default(),
        })
    }

    /// Types keys; a line ends with `\r`.
    ///
    /// # Panics
    /// The terminal is gone.
    pub fn types(&mut self, keys: &str) {
        let written = self.terminal.write_all(keys.as_bytes());
        written.unwrap_or_else(|error| panic!("{}: {keys:?}: {error}", self.name));
    }

    /// Waits until a row below those of earlier waits contains this text.
    ///
    /// # Panics
    /// The row does not appear in time; the message shows the screen.
    pub async fn wait_for_row(&mut self, part: &str) {
        let from = self.shown.seen;
        let found = |shown: &TerminalContent| shown.find(from, part);
        self.until(found, &format!("a row with \"{part}\"")).await;
        self.shown.seen = self.shown.find(from, part).map_or(from, |row| row + 1);
    }

    /// Waits until this is the last row, with the cursor behind it.
    ///
    /// # Panics
    /// The row does not become the last one in time; the message shows the screen.
    pub async fn ends_with(&mut self, row: &str) {
        let same = |shown: &TerminalContent| (shown.last() == row.trim_end()).then_some(0);
        self.until(same, &format!("the last row \"{row}\"")).await;
    }

    async fn until(
        &mut self,
        done: impl Fn(&TerminalContent) -> Option<usize> + Sync + Send,
        what: &str,
    ) {
        let work = async {
            while done(&self.shown).is_none() {
                match self.output.recv().await {
                    Some(bytes) => self.shown.print(&String::from_utf8_lossy(&bytes)),
                    None => return false,
                }
            }
            true
        };
        if !timeout(PATIENCE, work).await.unwrap_or(false) {
            let rows = self.shown.rows();
            panic!("{} should show {what}; it shows {rows:#?}", self.name);
        }
    }

    /// Counts the rows so far that contain this text.
    #[must_use]
    pub fn times(&self, part: &str) -> usize {
        let rows = self.shown.rows();
        rows.iter().filter(|row| row.contains(part)).count()
    }

    /// Returns whether the terminal echoes and delivers whole lines, as a shell needs it.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn is_as_before(&self) -> io::Result<bool> {
        let modes = tcgetattr(&self.terminal)?.local_modes;
        Ok(modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG))
    }

    /// Waits for the end of the child and returns whether it succeeded.
    pub async fn ends(&mut self) -> bool {
        let rest = async {
            while let Some(bytes) = self.output.recv().await {
                self.shown.print(&String::from_utf8_lossy(&bytes));
            }
        };
        timeout(PATIENCE, rest).await.is_ok() && self.child.wait().is_ok_and(|s| s.success())
    }
}

impl Drop for TestTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The content of a terminal of [`COLUMNS`], including the rows that have scrolled away.
#[derive(Debug, Default)]
struct TerminalContent {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// The first row below those of earlier waits.
    seen: usize,
    /// An incomplete escape sequence.
    escape: Option<String>,
}

impl TerminalContent {
    fn rows(&self) -> Vec<String> {
        let text = |row: &Vec<char>| row.iter().collect::<String>().trim_end().to_owned();
        self.rows.iter().map(text).collect()
    }

    fn last(&self) -> String {
        self.rows().pop().unwrap_or_default()
    }

    fn find(&self, from: usize, part: &str) -> Option<usize> {
        let rows = self.rows();
        (from..rows.len()).find(|at| rows.get(*at).is_some_and(|row| row.contains(part)))
    }

    fn print(&mut self, text: &str) {
        for c in text.chars() {
            match (self.escape.take(), c) {
                (Some(mut sequence), c) => {
                    sequence.push(c);
                    if c.is_ascii_alphabetic() {
                        self.apply(&sequence);
                    } else {
                        self.escape = Some(sequence);
                    }
                }
                (None, '\u{1b}') => self.escape = Some(String::new()),
                (None, '\r') => self.column = 0,
                (None, '\n') => self.down(),
                (None, c) => self.put(c),
            }
        }
    }

    fn down(&mut self) {
        self.row += 1;
        if self.rows.len() <= self.row {
            self.rows.resize(self.row + 1, Vec::new());
        }
    }

    fn put(&mut self, c: char) {
        if self.column >= COLUMNS.into() {
            self.column = 0;
            self.down();
        }
        if self.rows.is_empty() {
            self.rows.push(Vec::new());
        }
        if let Some(row) = self.rows.get_mut(self.row) {
            if row.len() <= self.column {
                row.resize(self.column + 1, ' ');
            }
            if let Some(place) = row.get_mut(self.column) {
                *place = c;
            }
        }
        self.column += 1;
    }

    fn apply(&mut self, sequence: &str) {
        let number = |text: &str| text.parse().unwrap_or(1_usize);
        match sequence.strip_prefix('[') {
            Some("K") => {
                if let Some(row) = self.rows.get_mut(self.row) {
                    row.truncate(self.column);
                }
            }
            Some(forward) if forward.ends_with('C') => {
                self.column += number(forward.trim_end_matches('C'));
            }
            Some(style) if style.ends_with('m') => {}
            other => panic!("the escape sequence {other:?} is not supported by the screen"),
        }
    }
}
