//! The binary from outside: its start, its refusals, and its end.
#![expect(
    clippy::unwrap_used,
    reason = "a failed test should panic, its helpers too"
)]

mod gimlet_process;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use gimlet_process::{GimletProcess, with_environment};

/// Returns a command for a `gimlet` on free ports, with memory storage unless `env` says otherwise.
fn gimlet(env: &[(&str, &str)]) -> Command {
    with_environment(env!("CARGO_BIN_EXE_gimlet"), env)
}

fn ended(env: &[(&str, &str)]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = gimlet(env).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
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
    let (code, said) = ended(&[("GIMLET_LOG__LEVEL", "warning")]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("did you mean warn?"), "{said}");
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
    let (running, said) = GimletProcess::start(&[]);
    for word in [
        "tcp ",
        "websocket",
        "grpc",
        "internal",
        "files",
        "ops",
        "roles: connect, logic, business",
        "chat --phone 13800000001 --name alice --server",
    ] {
        assert!(said.contains(word), "no {word} in {said}");
    }
    running.signal("-TERM");
    let (status, log) = running.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[cfg(unix)]
#[test]
fn a_json_log_is_json_alone_and_says_that_it_started() {
    let (running, _) = GimletProcess::start(&[("GIMLET_LOG__FORMAT", "json")]);
    running.signal("-INT");
    let (status, lines) = running.wait();
    assert_eq!(status.code(), Some(0), "{lines}");
    let mut started = None;
    for line in lines.lines() {
        let parsed: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(parsed["level"].is_string(), "{line}");
        if parsed["fields"]["message"] == "started" {
            started = Some(parsed);
        }
    }
    let fields = &started.unwrap()["fields"];
    assert_eq!(fields["roles"], "connect, logic, business");
    assert!(fields["tcp"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[test]
fn what_ends_a_start_is_json_too_where_the_log_is() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let json = ("GIMLET_LOG__FORMAT", "json");
    for (wrong, code) in [
        (("GIMLET_LISTEN__TPC", "x"), 64),
        (("GIMLET_BUSINESS__CODE_VERIFIER", "nonsense"), 64),
        (("GIMLET_LISTEN__OPS", addr.as_str()), 1),
    ] {
        let (ended, said) = ended(&[json, wrong]);
        assert_eq!(ended, Some(code), "{said}");
        let mut last = said.lines().map(|line| {
            serde_json::from_str::<serde_json::Value>(line)
                .unwrap_or_else(|error| panic!("{error}: {line}"))
        });
        assert_eq!(last.next_back().unwrap()["level"], "ERROR", "{said}");
    }
}

#[cfg(all(unix, feature = "sled"))]
#[test]
fn a_data_directory_in_use_is_1_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let env = [("GIMLET_STORAGE__KIND", "sled"), ("GIMLET_DATA_DIR", path)];
    let (first, _) = GimletProcess::start(&env);
    let (code, said) = ended(&env);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(path) && said.contains("in use"), "{said}");
    first.signal("-TERM");
    assert_eq!(first.wait().0.code(), Some(0));
    let (again, _) = GimletProcess::start(&env);
    again.signal("-TERM");
    assert_eq!(again.wait().0.code(), Some(0));
}

#[cfg(unix)]
#[test]
fn it_starts_beside_a_kubernetes_service_of_its_own_name() {
    let (running, _) = GimletProcess::start(&[
        ("GIMLET_SERVICE_HOST", "10.0.171.239"),
        ("GIMLET_SERVICE_PORT", "8080"),
        ("GIMLET_PORT", "tcp://10.0.171.239:8080"),
        ("GIMLET_PORT_8080_TCP", "tcp://10.0.171.239:8080"),
        ("GIMLET_PORT_8080_TCP_ADDR", "10.0.171.239"),
    ]);
    running.signal("-TERM");
    let (status, log) = running.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("enableServiceLinks"), "{log}");
}

#[cfg(all(unix, feature = "sled"))]
#[test]
fn data_is_for_its_own_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let env = [
        ("GIMLET_STORAGE__KIND", "sled"),
        ("GIMLET_DATA_DIR", data.to_str().unwrap()),
    ];
    let closed = |path: &Path| {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is {mode:o}", path.display());
    };
    for open in [false, true] {
        if open {
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&data, mode).unwrap();
        }
        let (running, _) = GimletProcess::start(&env);
        closed(&data);
        for entry in std::fs::read_dir(&data).unwrap() {
            closed(&entry.unwrap().path());
        }
        running.signal("-TERM");
        let (_, log) = running.wait();
        assert_eq!(log.contains("was open to other users"), open, "{log}");
    }
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
