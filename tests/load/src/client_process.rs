//! Several client processes for one run, where the descriptors of one are not enough. The parent
//! starts this program again once for each client process and gives orders, one line of JSON each;
//! a client process answers each with a line of JSON. Orders go to all of them before the first
//! answer is awaited, so that they work at the same time.
//!
//! Times are of the machine's clock, which is the same in all processes. A client process ends when
//! its standard input ends.

use std::io::{self, BufRead as _, Write as _};
use std::marker::PhantomData;
use std::process::Stdio;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::LoadError;
use crate::target::capacity;

/// Name of a client process in errors.
const CLIENT_PROCESS: &str = "a client process of the run";

/// Client processes of a run, as their parent sees them: they take orders `O` and answer with `A`.
/// Dropping the value kills them.
#[derive(Debug)]
pub struct ClientProcesses<O, A> {
    parts: Vec<ClientProcess>,
    spoken: PhantomData<fn(O) -> A>,
}

#[derive(Debug)]
struct ClientProcess {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl<O: Serialize + Sync, A: DeserializeOwned> ClientProcesses<O, A> {
    /// Starts `count` processes.
    ///
    /// # Errors
    /// A process cannot be started.
    pub fn start(count: usize) -> Result<Self, LoadError> {
        let program = std::env::current_exe()?;
        let mut parts = Vec::with_capacity(count);
        for _ in 0..count {
            let mut child = Command::new(&program)
                .arg("part")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
                return Err(LoadError::new(CLIENT_PROCESS, "it has no pipes"));
            };
            parts.push(ClientProcess {
                child,
                input,
                output: BufReader::new(output).lines(),
            });
        }
        Ok(Self {
            parts,
            spoken: PhantomData,
        })
    }

    /// Returns the number of processes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Returns true if there are no processes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns their process ids.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        self.parts.iter().filter_map(|it| it.child.id()).collect()
    }

    /// Gives all of them the same order; returns the answers in the order of the processes.
    ///
    /// # Errors
    /// A process ended too early, or could not carry out the order.
    pub async fn all(&mut self, order: &O) -> Result<Vec<A>, LoadError> {
        // Give all orders before the first answer is awaited: otherwise the processes would take
        // turns.
        for part in &mut self.parts {
            part.tell(order).await?;
        }
        self.answers(self.parts.len()).await
    }

    /// Gives each process an order of its own; returns the answers of those that got one.
    ///
    /// # Errors
    /// A process ended too early, or could not carry out its order.
    pub async fn each(&mut self, orders: &[O]) -> Result<Vec<A>, LoadError> {
        for (part, order) in self.parts.iter_mut().zip(orders) {
            part.tell(order).await?;
        }
        self.answers(orders.len()).await
    }

    async fn answers(&mut self, count: usize) -> Result<Vec<A>, LoadError> {
        let mut answers = Vec::with_capacity(count);
        for part in self.parts.iter_mut().take(count) {
            answers.push(part.answer().await?);
        }
        Ok(answers)
    }
}

impl ClientProcess {
    async fn tell(&mut self, order: &(impl Serialize + Sync)) -> Result<(), LoadError> {
        let mut line =
            serde_json::to_vec(order).map_err(|error| LoadError::new("an order", error))?;
        line.push(b'\n');
        Ok(self.input.write_all(&line).await?)
    }

    async fn answer<A: DeserializeOwned>(&mut self) -> Result<A, LoadError> {
        let line = self.output.next_line().await?;
        let line = line.ok_or_else(|| LoadError::new(CLIENT_PROCESS, "it ended too early"))?;
        let answer: Result<A, String> =
            serde_json::from_str(&line).map_err(|error| LoadError::new(CLIENT_PROCESS, error))?;
        answer.map_err(|why| LoadError::new(CLIENT_PROCESS, why))
    }
}

/// Runs a client process: carries out one order after another until the parent is gone.
///
/// # Errors
/// The parent cannot be reached.
pub fn obey<O: DeserializeOwned, A: Serialize>(
    mut carry_out: impl FnMut(O) -> Result<A, LoadError>,
) -> Result<(), LoadError> {
    for line in io::stdin().lock().lines() {
        let order = serde_json::from_str(&line?).map_err(|error| LoadError::new("an order", error));
        let answer = order.and_then(&mut carry_out);
        let answer = answer.map_err(|fault| fault.to_string());
        let line =
            serde_json::to_string(&answer).map_err(|error| LoadError::new("an answer", error))?;
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    Ok(())
}

/// Users that join at a time, of all processes together.
pub(crate) const AT_ONCE: usize = 256;

/// Returns the number of processes that this many connections need.
pub(crate) fn processes(connections: usize) -> Result<usize, LoadError> {
    Ok(connections.div_ceil(capacity()?).max(1))
}

/// Splits a number into nearly equal parts.
pub(crate) fn split(count: usize, parts: usize) -> Vec<usize> {
    let cut = |part: usize| count * part / parts.max(1);
    (0..parts).map(|part| cut(part + 1) - cut(part)).collect()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn parts_are_nearly_equal_and_none_is_left_out() {
        assert_eq!(split(10, 3), [3, 3, 4]);
        assert_eq!(split(200_000, 11).iter().sum::<usize>(), 200_000);
    }
}
