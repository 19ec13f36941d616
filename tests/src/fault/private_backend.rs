//! A private MariaDB or Redis, run by `tests/backends/with`, which also carries out the faults.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tokio::task::block_in_place;

use crate::cluster::BackendAddresses;

/// One private server, with the shared server of the other kind. Dropping it stops and removes it.
#[derive(Debug)]
pub struct PrivateBackend {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Addresses of both servers.
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
        let with = Path::new(env!("CARGO_MANIFEST_DIR")).join("backends/with");
        let started = Command::new(with)
            .env("GIMLET_TEST_MYSQL", &shared.mysql)
            .env("GIMLET_TEST_REDIS", &shared.redis)
            .env("GIMLET_TEST_MYSQL_ARGS", options)
            .env_remove("GIMLET_TEST_PORTS")
            .env_remove(variable)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = started.expect("tests/backends/with runs");
        let input = child.stdin.take();
        let output = child.stdout.take().expect("a piped output");
        let mut backend = Self {
            name,
            child,
            input,
            output: BufReader::new(output),
            servers: shared.clone(),
        };
        for _ in 0..2 {
            let line = backend.line();
            let said = line.strip_prefix("export ").unwrap_or_default();
            match said.split_once('=') {
                Some(("GIMLET_TEST_MYSQL", url)) => url.clone_into(&mut backend.servers.mysql),
                Some(("GIMLET_TEST_REDIS", url)) => url.clone_into(&mut backend.servers.redis),
                _ => panic!("tests/backends/with printed {line:?}, not the address of a server"),
            }
        }
        backend
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = block_in_place(|| self.output.read_line(&mut line));
        read.expect("tests/backends/with prints a line");
        line.trim_end().to_owned()
    }

    fn order(&mut self, verb: &str) {
        let order = format!("{verb} {}", self.name);
        let input = self.input.as_mut().expect("open until it is dropped");
        let written = writeln!(input, "{order}").and_then(|()| input.flush());
        written.expect("tests/backends/with reads its input");
        assert_eq!(self.line(), order, "the order is carried out");
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
}

impl PrivateBackend {
    /// Empties Redis with `FLUSHALL`.
    pub fn flush_all(&self) {
        let address = self.servers.redis.trim_start_matches("redis://");
        let address = address.split('/').next().unwrap_or_default();
        let mut answer = [0; 5];
        let flushed = TcpStream::connect(address).and_then(|mut redis| {
            redis.write_all(b"FLUSHALL\r\n")?;
            redis.read_exact(&mut answer)
        });
        flushed.expect("Redis answers");
        assert_eq!(&answer, b"+OK\r\n", "Redis is emptied");
    }
}

impl Drop for PrivateBackend {
    fn drop(&mut self) {
        // `with` ends at the end of its input, and stops its servers first.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
