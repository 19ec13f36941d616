//! The terminal chat as newcomers use it: two of them beside a real server that is also killed.
#![expect(clippy::unwrap_used, reason = "what does not go as told should panic")]

use std::path::Path;
use std::process::Command;

use gimlet_tests::process::{Ports, Process, binary};
use gimlet_tests::talk::{Talk, beside};

const BUILD: &str = "cargo build -p gimlet-client --example chat";

/// A chat of somebody, with its state under `home`.
fn chat(ports: Ports, home: &Path, phone: &str, name: &str, ws: bool) -> Talk {
    let program = beside("examples/chat", BUILD).unwrap_or_else(|error| panic!("{error}"));
    let mut command = Command::new(program);
    let server = if ws { ports.ws } else { ports.tcp };
    command
        .args(["--phone", phone, "--name", name, "--receipts"])
        .args(["--server", &server.to_string()])
        .args(["--grpc", &format!("http://{}", ports.grpc)])
        .arg("--state")
        .arg(home);
    if ws {
        command.arg("--ws");
    }
    Talk::start(name, &mut command).unwrap()
}

async fn server(data: &Path, ports: Ports) -> Process {
    let binary = binary().unwrap_or_else(|error| panic!("{error}"));
    let mut process = Process::spawn(&binary, data, ports, &[]).unwrap();
    process.ready().await.unwrap();
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_chat_through_everything() {
    let folder = tempfile::tempdir().unwrap();
    let (data, home) = (folder.path().join("data"), folder.path().join("home"));
    let ports = Ports::free();
    let mut gimlet = server(&data, ports).await;

    let mut alice = chat(ports, &home, "13800000001", "alice", false);
    alice.hears("you are alice (user 1)").await;
    alice.hears("up to date").await;
    let mut bob = chat(ports, &home, "13800000002", "bob", true);
    bob.hears("you are bob (user 2)").await;
    bob.hears("up to date").await;

    // Friends.
    alice.says("/add 13800000002");
    alice.hears("asked bob to be your friend").await;
    bob.hears("alice asks to be your friend: /agree 1").await;
    bob.says("/agree 1");
    bob.hears("alice is your friend now").await;
    alice.hears("bob is your friend now").await;

    // Both ways.
    alice.says("hello bob");
    bob.hears("alice: hello bob").await;
    bob.says("hello alice");
    alice.hears("bob: hello alice").await;
    alice.says("");
    alice.says("/nonsense");
    alice.hears("there is no /nonsense").await;

    // A group.
    alice.says("/group team 2");
    alice.hears("group g:").await;
    alice.says("hello team");
    bob.hears("alice: hello team").await;

    // A room.
    for who in [&mut alice, &mut bob] {
        who.says("/room 7");
        who.hears("room 7").await;
    }
    bob.says("/say hello room");
    alice.hears("bob: hello room").await;

    // Quit, and come back to what was missed.
    bob.says("/quit");
    assert!(bob.ends().await, "bob ends well");
    alice.says("/to bob");
    alice.hears("now talking to bob").await;
    for line in ["while you were away", "and another"] {
        alice.says(line);
        alice.hears(&format!(": {line}")).await;
    }
    let mut bob = chat(ports, &home, "13800000002", "bob", true);
    bob.hears("alice: while you were away").await;
    bob.hears("alice: and another").await;
    bob.hears("up to date").await;
    assert_eq!(
        bob.times("hello bob"),
        0,
        "what was seen does not come again"
    );

    // kill -9, and a line of the outage.
    gimlet.kill().unwrap();
    alice.hears("not connected").await;
    bob.hears("not connected").await;
    alice.says("can you hear me?");
    let _gimlet = server(&data, ports).await;
    bob.hears("alice: can you hear me?").await;
    alice.hears(": can you hear me?").await;
    bob.says("/to alice");
    bob.says("loud and clear");
    alice.hears("bob: loud and clear").await;

    for mut who in [alice, bob] {
        who.says("/quit");
        assert!(who.ends().await, "a chat ends well");
        assert!(who.times("can you hear me?") >= 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_it_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut alice = chat(Ports::free(), folder.path(), "13800000001", "alice", false);
    alice.hears("the server does not answer").await;
    assert!(!alice.ends().await, "and ends with a failure");
}
