//! Several client processes for one run, where the descriptors of one are not enough. The parent
//! starts this program again once for each part, gives it its task as one line of JSON, waits until
//! all say that they are ready, tells them when to begin, and takes one line of JSON as the result.
//!
//! Times are of the machine's clock, which is the same in all processes.

use std::io::{self, BufRead as _, Write as _};
use std::process::Stdio;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::Fault;

const READY: &str = "ready";

/// The parent's view of its parts.
#[derive(Debug)]
pub struct Crew {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Crew {
    /// Starts a process for each task of a scenario; dropped, they are killed.
    ///
    /// # Errors
    /// A process cannot be started.
    pub async fn start<T: Serialize + Sync>(name: &str, tasks: &[T]) -> Result<Self, Fault> {
        let program = std::env::current_exe()?;
        let mut parts = Vec::with_capacity(tasks.len());
        for task in tasks {
            let mut child = Command::new(&program)
                .args(["part", name])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
                return Err(Fault::new("a part of the run", "it has no pipes"));
            };
            let mut line = serde_json::to_vec(task).map_err(|error| Fault::new("a task", error))?;
            line.push(b'\n');
            input.write_all(&line).await?;
            parts.push(Part {
                child,
                input,
                output: BufReader::new(output).lines(),
            });
        }
        Ok(Self { parts })
    }

    /// Waits until each is ready.
    ///
    /// # Errors
    /// One ended before.
    pub async fn ready(&mut self) -> Result<(), Fault> {
        for part in &mut self.parts {
            let line = part.line().await?;
            if line != READY {
                return Err(Fault::new("a part of the run", line));
            }
        }
        Ok(())
    }

    /// Tells all to begin at this time.
    ///
    /// # Errors
    /// One ended before.
    pub async fn go(&mut self, at: u64) -> Result<(), Fault> {
        for part in &mut self.parts {
            part.input.write_all(format!("{at}\n").as_bytes()).await?;
        }
        Ok(())
    }

    /// Waits for the results, in the order of the tasks.
    ///
    /// # Errors
    /// One ended without, or said why it could not.
    pub async fn results<R: DeserializeOwned>(mut self) -> Result<Vec<R>, Fault> {
        let mut results = Vec::with_capacity(self.parts.len());
        for part in &mut self.parts {
            let line = part.line().await?;
            let result = serde_json::from_str(&line);
            results.push(result.map_err(|_| Fault::new("a part of the run", &line))?);
            part.child.wait().await?;
        }
        Ok(results)
    }
}

impl Part {
    async fn line(&mut self) -> Result<String, Fault> {
        let line = self.output.next_line().await?;
        line.ok_or_else(|| Fault::new("a part of the run", "it ended too early"))
    }
}

/// A part's view of its parent; one thread talks, so everything is one line at a time.
#[derive(Debug, Default)]
pub struct Seat;

impl Seat {
    /// The task.
    ///
    /// # Errors
    /// There is none, or it is another scenario's.
    pub fn task<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_str(&line()?).map_err(|error| Fault::new("the task", error))
    }

    /// Says that all is set up, and waits for the time to begin.
    ///
    /// # Errors
    /// The parent is gone.
    pub fn ready(&self) -> Result<u64, Fault> {
        say(READY)?;
        line()?
            .trim()
            .parse()
            .map_err(|error| Fault::new("the time to begin", error))
    }

    /// Gives the result.
    ///
    /// # Errors
    /// The parent is gone.
    pub fn result<R: Serialize>(&self, result: &R) -> Result<(), Fault> {
        let line = serde_json::to_string(result).map_err(|error| Fault::new("a result", error))?;
        say(&line)
    }
}

fn say(line: &str) -> Result<(), Fault> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn line() -> Result<String, Fault> {
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(Fault::new("a part of a run", "its parent is gone"));
    }
    Ok(line)
}
