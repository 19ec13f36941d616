//! The binary as a child process: started on free ports, with its log readable while it runs.

#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test program uses a part of this"
)]

use std::process::{Command, ExitStatus, Output, Stdio};

use gimlet_kit::child::ChildProcess;

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

/// A running `gimlet`; killed if a test fails.
pub(crate) struct GimletProcess {
    child: ChildProcess,
    banner: String,
}

impl GimletProcess {
    /// Starts it and returns when it has printed its whole banner.
    pub(crate) fn start(env: &[(&str, &str)]) -> (Self, String) {
        Self::start_with(&[], env)
    }

    /// Starts it with arguments.
    pub(crate) fn start_with(args: &[&str], env: &[(&str, &str)]) -> (Self, String) {
        let mut command = with_environment(env!("CARGO_BIN_EXE_gimlet"), env);
        let mut child = ChildProcess::start("gimlet", command.args(args)).unwrap();
        // With a JSON log there is no banner.
        if env.contains(&("GIMLET_LOG__FORMAT", "json")) {
            child.await_log("\"started\"");
        } else {
            child.read_line("Ctrl-C");
        }
        let banner = child.lines().join("\n");
        let running = Self {
            child,
            banner: banner.clone(),
        };
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
        self.child.signal(name.trim_start_matches('-')).unwrap();
    }

    /// Waits until the log contains these words.
    pub(crate) fn await_log(&self, words: &str) {
        self.child.await_log(words);
    }

    /// Waits for its end; returns its exit status and its whole log.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let ended = self.child.join().unwrap();
        if self.banner.is_empty() {
            let lines = self.child.lines();
            assert!(lines.is_empty(), "output beside a JSON log: {lines:?}");
        }
        ended
    }
}
