//! `gimlet chat` as new users run it: in two terminals and over pipes, with a real server that is
//! also killed.
#![expect(clippy::unwrap_used, reason = "a failed step should panic")]

use std::path::Path;
use std::process::Command;

use gimlet_kit::child::ChildProcess;
use gimlet_kit::proxy::{FaultProxy, ProxyMode};
use gimlet_kit::server::{ServerPorts, ServerProcess, binary};
use gimlet_tests::terminal::TestTerminal;

/// Returns the command of a user's chat, with its state under `home`.
fn command(ports: ServerPorts, home: &Path, phone: &str, name: &str, ws: bool) -> Command {
    let mut command = Command::new(binary().unwrap_or_else(|error| panic!("{error}")));
    let server = if ws { ports.ws } else { ports.tcp };
    command
        .args(["chat", "--phone", phone, "--name", name])
        .args(["--server", &server.to_string()])
        .args(["--grpc", &format!("http://{}", ports.grpc)])
        .arg("--state")
        .arg(home);
    if ws {
        command.arg("--ws");
    }
    command
}

/// Starts a chat over pipes.
fn chat(ports: ServerPorts, home: &Path, phone: &str, name: &str, ws: bool) -> ChildProcess {
    let mut command = command(ports, home, phone, name, ws);
    ChildProcess::with_input(name, command.arg("--receipts")).unwrap()
}

async fn server(data: &Path, ports: ServerPorts) -> ServerProcess {
    let binary = binary().unwrap_or_else(|error| panic!("{error}"));
    let mut process = ServerProcess::spawn(&binary, data, ports, &[]).unwrap();
    process.ready().await.unwrap();
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_chat_through_everything() {
    let folder = tempfile::tempdir().unwrap();
    let (data, home) = (folder.path().join("data"), folder.path().join("home"));
    let ports = ServerPorts::free();
    let mut gimlet = server(&data, ports).await;

    let mut alice = chat(ports, &home, "13800000001", "alice", false);
    alice.wait_for_line("you are alice").await;
    alice.wait_for_line("up to date").await;
    let mut bob = chat(ports, &home, "13800000002", "bob", true);
    bob.wait_for_line("you are bob").await;
    bob.wait_for_line("up to date").await;

    // They become friends.
    alice.says("/add 13800000002");
    alice.wait_for_line("asked bob to be your friend").await;
    bob.wait_for_line("alice asks to be your friend (\"hello\"): /accept alice")
        .await;
    bob.says("/accept alice");
    bob.wait_for_line("alice is your friend now").await;
    alice.wait_for_line("bob is your friend now").await;

    // Messages go both ways.
    alice.says("hello bob");
    bob.wait_for_line("alice: hello bob").await;
    bob.says("hello alice");
    alice.wait_for_line("bob: hello alice").await;
    alice.says("");
    alice.says("/nonsense");
    alice.wait_for_line("/nonsense is not a command").await;

    // They use a group.
    alice.says("/group team: bob");
    alice.wait_for_line("created team with bob").await;
    alice.says("hello team");
    bob.wait_for_line("alice in team: hello team").await;
    alice.says("/members");
    alice.wait_for_line("in team: you and bob").await;
    bob.says("/to team");
    bob.wait_for_line("now talking to team").await;
    bob.says("/leave");
    alice.wait_for_line("bob left the group team").await;

    // They use a room.
    for who in [&mut alice, &mut bob] {
        who.says("/room 7");
        who.wait_for_line("now talking to room 7").await;
    }
    bob.says("hello room");
    alice.wait_for_line("bob in room 7: hello room").await;

    // Bob quits and returns to the messages that he missed.
    bob.says("/quit");
    assert!(bob.ends().await, "bob ends well");
    alice.says("/to bob");
    alice.wait_for_line("now talking to bob").await;
    for line in ["while you were away", "and another"] {
        alice.says(line);
        alice.wait_for_line(&format!(": {line}")).await;
    }
    let mut bob = chat(ports, &home, "13800000002", "bob", true);
    bob.wait_for_line("* while you were away:").await;
    bob.wait_for_line("alice: while you were away").await;
    bob.wait_for_line("alice: and another").await;
    bob.wait_for_line("up to date").await;
    assert_eq!(
        bob.times("hello bob"),
        0,
        "received messages are not shown again"
    );

    // The server is killed, and a line is typed during the outage.
    gimlet.kill().unwrap();
    alice.wait_for_line("the server is away").await;
    bob.wait_for_line("the server is away").await;
    alice.says("can you hear me?");
    alice.wait_for_line("sent when the server is back").await;
    let _gimlet = server(&data, ports).await;
    bob.wait_for_line("alice: can you hear me?").await;
    alice.wait_for_line(": can you hear me?").await;
    bob.says("/to alice");
    bob.says("loud and clear");
    alice.wait_for_line("bob: loud and clear").await;

    for mut who in [alice, bob] {
        who.says("/quit");
        assert!(who.ends().await, "a chat ends well");
        assert!(who.times("can you hear me?") >= 1);
    }
}

/// The chat asked for the name in its loop: for up to five seconds it answered nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_name_does_not_come_holds_up_no_typing() {
    let folder = tempfile::tempdir().unwrap();
    let (data, home) = (folder.path().join("data"), folder.path().join("home"));
    let ports = ServerPorts::free();
    let _gimlet = server(&data, ports).await;
    let gate = FaultProxy::before(ports.grpc).await;
    let mut alice = chat(ports, &home, "13800000001", "alice", false);
    alice.wait_for_line("up to date").await;
    let grpc = gate.address;
    let mut bob = chat(
        ServerPorts { grpc, ..ports },
        &home,
        "13800000002",
        "bob",
        false,
    );
    bob.wait_for_line("up to date").await;
    alice.says("/add 13800000002");
    bob.wait_for_line("alice asks to be your friend").await;
    bob.says("/accept alice");
    bob.wait_for_line("alice is your friend now").await;
    alice.wait_for_line("bob is your friend now").await;

    gate.set(ProxyMode::FreezeAt(""));
    alice.says("/group team: bob");
    alice.wait_for_line("created team with bob").await;
    alice.says("hello team");
    alice.wait_for_line(": hello team").await;
    while gate.struck() == 0 {
        tokio::task::yield_now().await;
    }
    bob.says("/nonsense");
    bob.wait_for_line("/nonsense is not a command").await;
    assert_eq!(bob.times("hello team"), 0, "its name is not there yet");
    gate.set(ProxyMode::Pass);
    bob.wait_for_line("alice in team: hello team").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_it_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut alice = chat(
        ServerPorts::free(),
        folder.path(),
        "13800000001",
        "alice",
        false,
    );
    alice.wait_for_line("the server does not answer").await;
    assert!(!alice.ends().await, "and ends with a failure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_terminal_incoming_lines_leave_the_typed_one_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (data, home) = (folder.path().join("data"), folder.path().join("home"));
    let ports = ServerPorts::free();
    let mut gimlet = server(&data, ports).await;
    let start = |phone, name, ws| {
        TestTerminal::start(name, &mut command(ports, &home, phone, name, ws)).unwrap()
    };
    let mut alice = start("13800000001", "alice", false);
    alice.wait_for_row("you are up to date").await;
    alice.ends_with("> ").await;
    let mut bob = start("13800000002", "bob", true);
    bob.wait_for_row("you are up to date").await;

    // Users are addressed by name, not by number.
    alice.types("/add bob\r");
    alice.ends_with("bob> ").await;
    bob.wait_for_row("alice asks to be your friend").await;
    bob.types("/accept alice\r");
    bob.ends_with("alice> ").await;
    alice.wait_for_row("bob is your friend now").await;

    // A line arrives while another one is being typed, and is shown above it.
    alice.types("half a lin");
    alice.ends_with("bob> half a lin").await;
    bob.types("are you there?\r");
    bob.wait_for_row("alice> are you there?").await;
    alice.wait_for_row("bob: are you there?").await;
    alice.ends_with("bob> half a lin").await;
    // The cursor keeps its position, so editing continues.
    alice.types("e\u{1b}[H\u{1b}[C\u{1b}[3~A\r");
    bob.wait_for_row("alice: hAlf a line").await;
    alice.ends_with("bob> ").await;

    // A line longer than the screen is one message.
    let long = "0123456789".repeat(12);
    alice.types(&format!("{long}\r"));
    bob.wait_for_row("alice: 0123456789").await;
    alice.types("short\r");
    bob.wait_for_row("alice: short").await;

    // The server dies and returns; lines typed meanwhile arrive.
    gimlet.kill().unwrap();
    alice.wait_for_row("the server is away").await;
    alice.ends_with("bob (server away)> ").await;
    alice.types("still here\r");
    alice
        .wait_for_row("it is sent when the server is back")
        .await;
    let _gimlet = server(&data, ports).await;
    alice
        .wait_for_row("the server is back; you are up to date")
        .await;
    bob.wait_for_row("alice: still here").await;
    alice.ends_with("bob> ").await;
    assert_eq!(bob.times("the server is away"), 1, "said once an outage");

    // Ctrl-C clears a typed line first, then exits; the terminal is restored for the shell.
    alice.types("never mind\u{3}");
    alice.ends_with("bob> ").await;
    assert!(!alice.is_as_before().unwrap());
    alice.types("\u{3}");
    assert!(alice.ends().await, "Ctrl-C ends the chat with success");
    assert!(alice.is_as_before().unwrap());
    bob.types("/quit\r");
    assert!(bob.ends().await, "/quit ends the chat with success");
    for (who, word) in [(&alice, "user "), (&bob, "user "), (&alice, "never mind: ")] {
        assert_eq!(who.times(word), 0, "no {word}");
    }
}

/// The two commands of the banner, run by a shell as printed, start a working chat between two
/// users.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_banner_chat() {
    let folder = tempfile::tempdir().unwrap();
    let ports = ServerPorts::free();
    let binary = binary().unwrap_or_else(|error| panic!("{error}"));
    let mut command = Command::new(binary);
    command
        .env("GIMLET_STORAGE__KIND", "memory")
        .env("GIMLET_BUSINESS__CODE_VERIFIER", "dev")
        .env("GIMLET_LISTEN__TCP", ports.tcp.to_string())
        .env("GIMLET_LISTEN__GRPC", ports.grpc.to_string())
        .env("GIMLET_LOG__LEVEL", "error");
    for off in ["WS", "HTTP", "INTERNAL", "OPS"] {
        command.env(format!("GIMLET_LISTEN__{off}"), "off");
    }
    let mut gimlet = ChildProcess::start("gimlet", &mut command).unwrap();
    gimlet.wait_for_line("Ctrl-C").await;
    let mut commands = gimlet.lines();
    commands.retain(|line| line.contains(" chat --phone"));
    let shell = |line: &String| {
        let mut command = Command::new("sh");
        command
            .env("HOME", folder.path())
            .args(["-c", &format!("exec {line}")]);
        TestTerminal::start(line, &mut command).unwrap()
    };
    let mut people: Vec<_> = commands.iter().map(shell).collect();
    let [alice, bob] = people.as_mut_slice() else {
        panic!("two commands, not {commands:?}");
    };
    alice.wait_for_row("you are up to date").await;
    bob.wait_for_row("you are up to date").await;
    alice.types("/add bob\rhello\r");
    bob.wait_for_row("alice: hello").await;
    for who in [alice, bob] {
        who.types("/quit\r");
        assert!(who.ends().await, "/quit ends the chat with success");
    }
}
