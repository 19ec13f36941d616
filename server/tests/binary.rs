//! The binary from outside: how it starts, refuses, and ends.
#![expect(
    clippy::unwrap_used,
    reason = "a failed test should panic, its helpers too"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

/// A `gimlet` on free ports, with memory storage unless `env` says otherwise.
fn gimlet(env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gimlet"));
    command.env_clear();
    command.env("GIMLET_STORAGE__KIND", "memory");
    command.env("GIMLET_BUSINESS__CODE_VERIFIER", "dev");
    for name in ["TCP", "WS", "HTTP", "GRPC", "INTERNAL", "OPS"] {
        command.env(format!("GIMLET_LISTEN__{name}"), "127.0.0.1:0");
    }
    command.envs(env.iter().copied());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ended(env: &[(&str, &str)]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = gimlet(env).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// A running one; killed if a test fails.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    /// Starts it and returns when it has said all of its greeting.
    fn start(env: &[(&str, &str)]) -> (Self, String) {
        let mut child = gimlet(env).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains("Ctrl-C") {
            let read = out.read_line(&mut said).unwrap();
            assert_ne!(read, 0, "it ended: {said}");
        }
        (Self { child, out }, said)
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    fn wait(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_wrong_configuration_is_64_and_says_what_is_right() {
    let (code, said) = ended(&[("GIMLET_LISTEN__TPC", "x"), ("GIMLET_LIMITS__IDLE", "soon")]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("did you mean GIMLET_LISTEN__TCP?"), "{said}");
    assert!(said.contains("GIMLET_LIMITS__IDLE = \"soon\""), "{said}");
    let (code, said) = ended(&[("GIMLET_LISTEN__TCP", "0.0.0.0:0")]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("GIMLET_BUSINESS__CODE_VERIFIER"), "{said}");
    let (code, said) = ended(&[("GIMLET_LOG__LEVEL", "loud=very")]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("log.level"), "{said}");
}

#[test]
fn a_port_in_use_is_1_and_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (code, said) = ended(&[("GIMLET_LISTEN__OPS", &addr)]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("listen.ops") && said.contains(&addr),
        "{said}"
    );
    assert!(said.contains("another program listens there"), "{said}");
}

#[cfg(unix)]
#[test]
fn it_greets_and_sigterm_ends_it_with_0() {
    let (running, said) = Running::start(&[]);
    for word in [
        "tcp ",
        "websocket",
        "grpc",
        "internal",
        "files",
        "ops",
        "--example chat",
    ] {
        assert!(said.contains(word), "no {word} in {said}");
    }
    running.signal("-TERM");
    let (status, log) = running.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[cfg(unix)]
#[test]
fn logs_can_be_json() {
    let (running, _) = Running::start(&[("GIMLET_LOG__FORMAT", "json")]);
    running.signal("-INT");
    let (status, log) = running.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    for line in log.lines() {
        let parsed: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(parsed["level"].is_string(), "{line}");
    }
}

#[cfg(all(unix, feature = "sled"))]
#[test]
fn a_data_directory_in_use_is_1_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let env = [("GIMLET_STORAGE__KIND", "sled"), ("GIMLET_DATA_DIR", path)];
    let (first, _) = Running::start(&env);
    let (code, said) = ended(&env);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(path) && said.contains("in use"), "{said}");
    first.signal("-TERM");
    assert_eq!(first.wait().0.code(), Some(0));
    let (again, _) = Running::start(&env);
    again.signal("-TERM");
    assert_eq!(again.wait().0.code(), Some(0));
}

#[test]
fn a_data_directory_that_cannot_be_made_is_1_and_named() {
    if cfg!(not(feature = "sled")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a file");
    std::fs::write(&file, "").unwrap();
    for path in [file.clone(), Path::new(&file).join("below")] {
        let path = path.to_str().unwrap();
        let (code, said) = ended(&[("GIMLET_STORAGE__KIND", "sled"), ("GIMLET_DATA_DIR", path)]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("a file"), "{said}");
    }
}

#[test]
fn the_template_is_a_valid_file_and_check_config_masks() {
    let dir = tempfile::tempdir().unwrap();
    let template = gimlet(&[]).args(["config", "default"]).output().unwrap();
    let file = dir.path().join("gimlet.toml");
    std::fs::write(&file, &template.stdout).unwrap();
    let shown = gimlet(&[("GIMLET_CLUSTER__SECRET", "hush")])
        .args(["check-config", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(shown.status.success());
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("secret = \"***\"") && !shown.contains("hush"),
        "{shown}"
    );
}
