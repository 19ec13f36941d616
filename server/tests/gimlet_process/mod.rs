//! The binary as a child process: started on free ports, with its log readable while it runs.

#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test program uses a part of this"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time limit for an expected log line.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns a command with the environment of a `gimlet` on free ports, with memory storage unless
/// `env` says otherwise.
pub(crate) fn with_environment(program: &str, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.env("GIMLET_STORAGE__KIND", "memory");
    command.env("GIMLET_BUSINESS__CODE_VERIFIER", "dev");
    for name in ["TCP", "WS", "HTTP", "GRPC", "INTERNAL", "OPS"] {
        command.env(format!("GIMLET_LISTEN__{name}"), "127.0.0.1:0");
    }
    command.envs(env.iter().copied());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a program that starts gimlet itself.
pub(crate) fn gimlet_by(program: &str, args: &[&str]) -> Output {
    let mut command = with_environment(program, &[]);
    command.args(args).output().unwrap()
}

type SharedLog = Arc<(Mutex<String>, Condvar)>;

/// A running `gimlet`; killed if a test fails.
pub(crate) struct GimletProcess {
    child: Child,
    out: BufReader<ChildStdout>,
    banner: String,
    log: SharedLog,
    reader: Option<JoinHandle<()>>,
}

impl GimletProcess {
    /// Starts it and returns when it has printed its whole banner.
    pub(crate) fn start(env: &[(&str, &str)]) -> (Self, String) {
        Self::start_with(&[], env)
    }

    /// Starts it with arguments.
    pub(crate) fn start_with(args: &[&str], env: &[(&str, &str)]) -> (Self, String) {
        let mut command = with_environment(env!("CARGO_BIN_EXE_gimlet"), env);
        let mut child = command.args(args).spawn().unwrap();
        let log = SharedLog::default();
        let (stderr, into) = (child.stderr.take().unwrap(), Arc::clone(&log));
        let reader = std::thread::spawn(move || {
            let mut lines = BufReader::new(stderr);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).unwrap() > 0 {
                let (text, more) = &*into;
                text.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&line));
                more.notify_all();
                line.clear();
            }
        });
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        // With a JSON log there is no banner.
        let has_banner = !env.contains(&("GIMLET_LOG__FORMAT", "json"));
        while has_banner && !banner.contains("Ctrl-C") {
            let read = out.read_line(&mut banner).unwrap();
            assert_ne!(read, 0, "it ended: {banner}{}", log.0.lock().unwrap());
        }
        let running = Self {
            child,
            out,
            banner: banner.clone(),
            log,
            reader: Some(reader),
        };
        if !has_banner {
            running.await_log("\"started\"");
        }
        (running, banner)
    }

    /// Returns the address of a listener in the banner, as host:port.
    pub(crate) fn addr(&self, listener: &str) -> String {
        let mut words = self.banner.lines().filter_map(|line| {
            let (name, rest) = line.trim().split_once(' ')?;
            (name == listener).then(|| rest.trim().to_owned())
        });
        let found = words.next().unwrap();
        let host = found.split_once("://").map_or(found.as_str(), |(_, it)| it);
        host.split(['/', ' ']).next().unwrap().to_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until the log contains these words.
    pub(crate) fn await_log(&self, words: &str) {
        let (text, more) = &*self.log;
        let text = text.lock().unwrap();
        let waited = more.wait_timeout_while(text, PATIENCE, |it| !it.contains(words));
        let (text, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "no \"{words}\" in {text}");
    }

    /// Waits for its end; returns its exit status and its whole log.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        if self.banner.is_empty() {
            assert_eq!(rest, "", "with a JSON log there is nothing for people");
        }
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        let log = self.log.0.lock().unwrap().clone();
        (status, log)
    }
}

impl Drop for GimletProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
