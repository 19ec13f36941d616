//! A private MariaDB or Redis, run by `tests/backends/with`, which also carries out the faults.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use crate::child::ChildProcess;

/// Longest duration of a start, with the installation of the servers.
const START: Duration = Duration::from_mins(5);

/// Addresses of the servers that a cluster uses.
#[derive(Clone, Debug)]
pub struct BackendAddresses {
    /// `mysql://…`.
    pub mysql: String,
    /// `redis://…`.
    pub redis: String,
}

impl BackendAddresses {
    /// Returns the servers of `GIMLET_TEST_MYSQL` and `GIMLET_TEST_REDIS`, if both are set.
    #[must_use]
    pub fn of_environment() -> Option<Self> {
        Some(Self {
            mysql: variable("GIMLET_TEST_MYSQL")?,
            redis: variable("GIMLET_TEST_REDIS")?,
        })
    }

    /// Returns whether missing servers are a failure.
    #[must_use]
    pub fn are_required() -> bool {
        variable("GIMLET_TEST_REQUIRE_BACKENDS").is_some_and(|value| value == "1")
    }
}

/// Returns a variable of the environment, if it is set and not empty.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "tests are told where the servers are"
)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// One private server. Dropping it stops and removes it.
#[derive(Debug)]
pub struct PrivateBackend {
    name: &'static str,
    process: ChildProcess,
    /// Addresses of this server and of the shared one of the other kind.
    pub servers: BackendAddresses,
}

impl PrivateBackend {
    /// Starts a private MariaDB, with the shared Redis.
    #[must_use]
    pub fn mysql(shared: &BackendAddresses) -> Self {
        Self::mysql_with(shared, "")
    }

    /// Starts a private MariaDB with these options, with the shared Redis.
    #[must_use]
    pub fn mysql_with(shared: &BackendAddresses, options: &str) -> Self {
        Self::start("mysql", "GIMLET_TEST_MYSQL", shared, options)
    }

    /// Starts a private Redis, with the shared MySQL.
    #[must_use]
    pub fn redis(shared: &BackendAddresses) -> Self {
        Self::start("redis", "GIMLET_TEST_REDIS", shared, "")
    }

    fn start(name: &'static str, variable: &str, shared: &BackendAddresses, options: &str) -> Self {
        let mut command =
            Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../backends/with"));
        command
            .env("GIMLET_TEST_MYSQL", &shared.mysql)
            .env("GIMLET_TEST_REDIS", &shared.redis)
            .env("GIMLET_TEST_MYSQL_ARGS", options)
            .env_remove("GIMLET_TEST_PORTS")
            .env_remove(variable);
        let process = ChildProcess::with_input("tests/backends/with", &mut command);
        let mut process = process
            .expect("tests/backends/with runs")
            .with_patience(START);
        let mut address = |variable: &str| {
            let export = format!("export {variable}=");
            let line = blocking(|| process.read_line(&export));
            line.strip_prefix(&export).unwrap_or_default().to_owned()
        };
        // In the order in which they are printed.
        let mysql = address("GIMLET_TEST_MYSQL");
        let redis = address("GIMLET_TEST_REDIS");
        Self {
            name,
            process,
            servers: BackendAddresses { mysql, redis },
        }
    }

    fn order(&mut self, verb: &str) {
        let order = format!("{verb} {}", self.name);
        blocking(|| {
            self.process.says(&order);
            self.process.read_line(&order);
        });
    }

    /// Stops the server gracefully and returns when it is gone.
    pub fn stop(&mut self) {
        self.order("stop");
    }

    /// Kills the server with `kill -9`.
    pub fn kill(&mut self) {
        self.order("kill");
    }

    /// Freezes the server: it keeps its sockets and does nothing.
    pub fn freeze(&mut self) {
        self.order("freeze");
    }

    /// Resumes a frozen server.
    pub fn thaw(&mut self) {
        self.order("thaw");
    }

    /// Starts the server again at the same port, over its kept data, and returns when it serves.
    pub fn start_again(&mut self) {
        self.order("start");
    }

    /// Empties Redis with `FLUSHALL`.
    ///
    /// # Panics
    /// Redis does not carry it out.
    pub fn flush_all(&self) {
        let answer = redis_command(&self.servers.redis, "FLUSHALL", "+OK\r\n".len());
        assert_eq!(
            answer.expect("Redis answers"),
            b"+OK\r\n",
            "Redis is emptied"
        );
    }
}

impl Drop for PrivateBackend {
    fn drop(&mut self) {
        // `with` ends at the end of its input, and stops its servers first.
        let _ = self.process.join();
    }
}

/// Sends a command to the Redis at this URL; returns this many bytes of its answer.
///
/// # Errors
/// Redis cannot be reached, or closes the connection.
pub fn redis_command(url: &str, command: &str, length: usize) -> io::Result<Vec<u8>> {
    let address = url.trim_start_matches("redis://").split('/').next();
    let mut redis = TcpStream::connect(address.unwrap_or_default())?;
    redis.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = vec![0; length];
    redis.read_exact(&mut answer)?;
    Ok(answer)
}

/// Runs a blocking function without holding up the other tasks of this thread, if it has any.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    let runtime = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match runtime {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        _ => work(),
    }
}
