//! `gimlet top` against running servers.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test should panic, its helpers too"
)]

mod gimlet_process;

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use gimlet_kit::child::ChildProcess;
use gimlet_process::GimletProcess;
use serde_json::{Value, json};
use tokio::time::Instant;

const KEY: &str = "key-0123456789abcdef0123456789abcdef";
const GIMLET: &str = env!("CARGO_BIN_EXE_gimlet");
/// Time within which a node that is gone must be shown as such.
const NOTICE_TIME: Duration = Duration::from_secs(5);

fn gimlet(args: &[&str]) -> Command {
    let mut command = Command::new(GIMLET);
    command.env_clear().args(args).stdin(Stdio::null());
    command
}

fn output(args: &[&str]) -> Output {
    gimlet(args).output().unwrap()
}

fn start() -> (GimletProcess, String) {
    let (server, _) = GimletProcess::start(&[("GIMLET_HTTP__API_KEYS", KEY)]);
    let ops = format!("http://{}", server.addr("ops"));
    (server, ops)
}

/// Calls a server as an operator.
fn operate(server: &GimletProcess, args: &[&str]) {
    let mut command = gimlet(args);
    let url = format!("http://{}", server.addr("http"));
    command.env("GIMLET_URL", url).env("GIMLET_API_KEY", KEY);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

/// Returns the nodes of the next line that contains this text.
fn next_line(top: &mut ChildProcess, part: &str) -> Value {
    let line: Value = serde_json::from_str(&top.read_line(part)).unwrap();
    line["nodes"].clone()
}

#[test]
fn one_sample_has_the_state_of_every_node() {
    let (_server, ops) = start();
    let done = output(&["top", "--once", "--json", &ops]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let json: Value = serde_json::from_slice(&done.stdout).unwrap();
    let node = &json["nodes"][0];
    for (field, want) in [
        ("node", json!(ops)),
        ("answers", json!(true)),
        ("ready", json!(true)),
        ("state", json!("ready")),
        ("roles", json!(["business", "connect", "logic"])),
        ("connections", json!(0)),
        ("lagging", json!(0)),
        ("stored_sends_per_second", json!(0.0)),
        ("deliveries_per_second", json!(0.0)),
        ("batch_failures_per_second", json!(0.0)),
        ("refusals_per_second", json!({})),
    ] {
        assert_eq!(node[field], want, "{field}: {node}");
    }

    // The same for people, and a node that does not answer beside it.
    let gone = "http://127.0.0.1:9";
    let done = output(&["top", "--once", &ops, gone]);
    assert_eq!(done.status.code(), Some(3), "{done:?}");
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.contains("business, connect, logic"), "{text}");
    assert!(text.contains("NO ANSWER: cannot connect to"), "{text}");
}

#[test]
fn a_node_is_followed_over_its_sends_and_its_death() {
    let (server, ops) = start();
    for phone in ["13800000001", "13800000002"] {
        operate(&server, &["user", "create", phone]);
    }
    let mut top = ChildProcess::start("top", &mut gimlet(&["top", "--json", &ops])).unwrap();
    // A rate needs a reading before the send.
    top.read_line("\"answers\":true");
    operate(&server, &["send", "--from", "1", "--to", "2", "hi"]);
    let nodes = next_line(&mut top, "\"sends_per_batch\":1.0");
    let node = &nodes[0];
    assert!(
        node["batch_seconds"]["p99"].as_f64().unwrap() > 0.0,
        "{node}"
    );

    let killed = Instant::now();
    server.signal("KILL");
    let nodes = next_line(&mut top, "\"answers\":false");
    assert!(killed.elapsed() < NOTICE_TIME, "{:?}", killed.elapsed());
    assert_eq!(nodes[0]["ready"], json!(false));
    assert_eq!(nodes[0]["connections"], Value::Null);
    top.kill().unwrap();
}

#[test]
fn a_node_that_hangs_is_shown_as_such_and_holds_up_no_other() {
    let (hanging, hanging_ops) = start();
    let (_other, other_ops) = start();
    let args = ["top", "--json", &hanging_ops, &other_ops];
    let mut top = ChildProcess::start("top", &mut gimlet(&args)).unwrap();
    let mut answers = || {
        let nodes = next_line(&mut top, "\"nodes\"");
        [0, 1].map(|at| nodes[at]["answers"].as_bool().unwrap())
    };
    while answers() != [true, true] {}
    let stopped = Instant::now();
    hanging.signal("STOP");
    loop {
        let [hanging, other] = answers();
        assert!(other, "the other node answers all the time");
        assert!(stopped.elapsed() < NOTICE_TIME, "it is not noticed");
        if !hanging {
            break;
        }
    }
    hanging.signal("CONT");
    while answers() != [true, true] {}
    top.kill().unwrap();
}

#[test]
fn without_a_terminal_nothing_is_drawn() {
    let refused = output(&["top", "http://127.0.0.1:9"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(
        error.contains("use --json for a line every second, or --once"),
        "{error}"
    );
    assert!(refused.stdout.is_empty());
    let no_address = output(&["top", "--once", "--config", "/no/such/file"]);
    assert_eq!(no_address.status.code(), Some(2), "{no_address:?}");
    let other = output(&["top", "--once", "127.0.0.1:8086"]);
    assert_eq!(other.status.code(), Some(2), "{other:?}");
}

/// A terminal of its own: the tables are drawn, and q restores the former screen.
#[cfg(target_os = "linux")]
#[test]
fn a_terminal_is_drawn_on_until_q_is_pressed() {
    use std::fs::{File, OpenOptions};
    use std::io::{Read as _, Write as _};

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    let (_server, ops) = start();
    let user_side = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&user_side).unwrap();
    unlockpt(&user_side).unwrap();
    let name = ptsname(&user_side, Vec::new()).unwrap();
    let open = || {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap()
    };
    let mut command = gimlet(&["top", &ops]);
    command.env("TERM", "xterm");
    command.stdin(open()).stdout(open()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    // The command has copies of the terminal's side; with these closed, its end is seen below.
    drop(command);
    let mut user_side = File::from(user_side);
    let mut keys = user_side.try_clone().unwrap();
    let mut read = |text: &mut String| {
        let mut bytes = [0; 4_096];
        // Linux reports the end of the other side as an error.
        let count = user_side.read(&mut bytes).unwrap_or_default();
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        count > 0
    };
    let mut drawn = String::new();
    while !drawn.contains("business, connect, logic") {
        assert!(read(&mut drawn), "it ended: {drawn:?}");
    }
    keys.write_all(b"xq").unwrap();
    while read(&mut drawn) {}
    assert!(drawn.ends_with("\u{1b}[?25h\u{1b}[?1049l"), "{drawn:?}");
    assert!(child.wait_with_output().unwrap().status.success());
}
