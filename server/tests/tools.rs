//! The operator's tools of the binary: a backup while it is in use, a restore, a new epoch, a
//! check.
#![cfg(all(unix, feature = "sled"))]
#![expect(
    clippy::unwrap_used,
    reason = "a failed test should panic, its helpers too"
)]

mod gimlet_process;

use std::path::Path;
use std::process::{Command, Output};

use gimlet_client::{ApiClient, DeviceCredentials};
use gimlet_kit::sign_in;
use gimlet_kit::wire::RawClient;
use gimlet_process::{GimletProcess, with_environment};
use gimlet_proto::pb;
use gimlet_proto::pb::logic_int_client::LogicIntClient;

fn sled(data: &Path) -> [(&str, &str); 2] {
    [
        ("GIMLET_STORAGE__KIND", "sled"),
        ("GIMLET_DATA_DIR", data.to_str().unwrap()),
    ]
}

fn tool(data: &Path, args: &[&str]) -> Output {
    let mut command: Command = with_environment(env!("CARGO_BIN_EXE_gimlet"), &sled(data));
    command.args(args).output().unwrap()
}

/// Returns the output of a tool that must succeed.
fn done(data: &Path, args: &[&str]) -> String {
    let output = tool(data, args);
    let out = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {out}{err}");
    out
}

fn json(data: &Path, args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&done(data, args)).unwrap()
}

async fn sign_up(server: &GimletProcess, phone: &str) -> DeviceCredentials {
    let api = ApiClient::new(&format!("http://{}", server.addr("grpc"))).unwrap();
    sign_in(&api, phone).await.unwrap()
}

async fn connect(server: &GimletProcess, who: &DeviceCredentials) -> RawClient {
    let address = server.addr("tcp").parse().unwrap();
    RawClient::sign_in(address, who).await.unwrap()
}

/// Sends this user a text as a backend.
async fn put(server: &GimletProcess, to: i64, text: &str) {
    let url = format!("http://{}", server.addr("internal"));
    let mut logic = LogicIntClient::connect(url).await.unwrap();
    let send = pb::SendMessageReq {
        receiver_type: pb::ReceiverType::RtUser.into(),
        receiver_id: to,
        message_type: pb::MessageType::MtText.into(),
        message_content: text.as_bytes().to_vec().into(),
        send_time: 1,
        is_persist: true,
        ..Default::default()
    };
    logic.send_message(send).await.unwrap();
}

/// Returns the epoch and the texts that a device gets from this seq on.
async fn sync(server: &GimletProcess, who: &DeviceCredentials, seq: i64) -> (u64, Vec<String>) {
    let page = connect(server, who).await.page(seq).await.unwrap();
    let texts = page.messages.iter().map(|it| it.message_content.to_vec());
    let texts = texts.map(|it| String::from_utf8(it).unwrap()).collect();
    (page.epoch, texts)
}

fn stop(server: GimletProcess) {
    server.signal("-TERM");
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

/// N-C3: back up, continue, restore, send more. A client that was away must get everything sent
/// after the restore.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_away_during_a_restore_starts_over_and_gets_everything() {
    let place = tempfile::tempdir().unwrap();
    let (data, moved) = (place.path().join("data"), place.path().join("moved"));
    let file = place.path().join("backup");
    let (server, _) = GimletProcess::start(&sled(&data));
    let away = sign_up(&server, "13800000001").await;
    for n in 1..=3 {
        put(&server, away.user_id, &format!("kept {n}")).await;
    }
    // While the server runs.
    let said = json(&data, &["backup", file.to_str().unwrap(), "--json"]);
    assert_eq!(said["live"], true);
    put(&server, away.user_id, "lost 4").await;
    put(&server, away.user_id, "lost 5").await;
    let (before, texts) = sync(&server, &away, 0).await;
    assert_eq!(texts.len(), 5);
    stop(server);
    std::fs::rename(&data, &moved).unwrap();
    let restored = json(&data, &["restore", file.to_str().unwrap(), "--json"]);
    let (server, _) = GimletProcess::start(&sled(&data));
    for n in 1..=3 {
        put(&server, away.user_id, &format!("NEW{n}")).await;
    }
    // The client returns with its old position: seq 5 of the old history.
    let (epoch, texts) = sync(&server, &away, 5).await;
    assert_ne!(epoch, before, "it is told that history changed");
    assert_eq!(restored["epoch"], epoch);
    assert_eq!(
        texts,
        ["NEW3"],
        "by its old number it would miss NEW1 and NEW2"
    );
    let (_, texts) = sync(&server, &away, 0).await;
    assert_eq!(
        texts,
        ["kept 1", "kept 2", "kept 3", "NEW1", "NEW2", "NEW3"]
    );
    stop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_is_noticed_by_who_runs() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let (server, _) = GimletProcess::start(&sled(&data));
    let who = sign_up(&server, "13800000001").await;
    let (first, _) = sync(&server, &who, 0).await;
    let mut live = connect(&server, &who).await;
    let said = json(&data, &["new-epoch", "--json"]);
    assert_eq!(said["old"], first);
    // Its connection is closed, so that it reconnects and learns of the new epoch.
    live.end().await.unwrap();
    let (second, _) = sync(&server, &who, 0).await;
    assert_eq!(said["new"], second);
    stop(server);
    // The same with a storage that no process has open.
    let said = json(&data, &["new-epoch", "--json"]);
    assert_eq!(said["old"], second);
    let (server, _) = GimletProcess::start(&sled(&data));
    let (third, _) = sync(&server, &who, 0).await;
    assert_eq!(said["new"], third);
    stop(server);
}

/// Copies a directory as tools do that know files and directories only, for example Python's
/// `shutil.copytree`: anything else is an error.
fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            assert!(kind.is_file(), "{} is not a file", entry.path().display());
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A killed server leaves its control socket. It must neither disturb a copy of the data directory
/// nor the next server, and a tool on the copy must not reach a server of the original.
#[tokio::test(flavor = "multi_thread")]
async fn the_directory_of_a_killed_server_can_be_copied_and_the_copy_is_independent() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let (data, copied, runtime) = (path("data"), path("copied"), path("runtime"));
    std::fs::create_dir(&runtime).unwrap();
    let mut env = sled(&data).to_vec();
    env.push(("XDG_RUNTIME_DIR", runtime.to_str().unwrap()));
    let (server, _) = GimletProcess::start(&env);
    let who = sign_up(&server, "13800000001").await;
    put(&server, who.user_id, "hi").await;
    server.signal("-KILL");
    server.wait();
    assert_eq!(
        std::fs::read_dir(&runtime).unwrap().count(),
        1,
        "its socket"
    );
    copy_directory(&data, &copied);
    let (server, _) = GimletProcess::start(&env);
    // The tool's environment lacks the variable, so it finds the socket by the data directory.
    let live = path("live");
    let said = json(&data, &["backup", live.to_str().unwrap(), "--json"]);
    assert_eq!(said["live"], true);
    let closed = path("closed");
    let said = json(&copied, &["backup", closed.to_str().unwrap(), "--json"]);
    assert_eq!(said["live"], false, "no server has the copy open");
    stop(server);
    assert_eq!(
        std::fs::read_dir(&runtime).unwrap().count(),
        0,
        "removed at the stop"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_and_a_backup_say_what_they_did_by_their_exit_codes() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let file = place.path().join("backup");
    let name = file.to_str().unwrap();
    let missing = tool(&data, &["verify"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(!data.exists(), "a mistyped directory is not made");
    let (server, _) = GimletProcess::start(&sled(&data));
    let who = sign_up(&server, "13800000001").await;
    put(&server, who.user_id, "hi").await;
    let busy = tool(&data, &["verify"]);
    assert_eq!(busy.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&busy.stderr).contains("gimlet backup FILE"));
    done(&data, &["backup", name]);
    let again = tool(&data, &["backup", name]);
    assert_eq!(again.status.code(), Some(1), "no backup is replaced");
    let report = json(&data, &["verify", name, "--json"]);
    assert_eq!(report["findings"].as_array().unwrap().len(), 0);
    assert_eq!(report["checked"]["entries"], 1);
    stop(server);
    done(&data, &["verify"]);
    let full = tool(&data, &["restore", name]);
    assert_eq!(full.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&full.stderr).contains("not empty"));
    // A backup of the closed storage is the same, except for its time.
    let closed = place.path().join("closed");
    let said = json(&data, &["backup", closed.to_str().unwrap(), "--json"]);
    assert_eq!(said["live"], false);
    json(&data, &["verify", closed.to_str().unwrap(), "--json"]);
    // Damage has an exit code of its own.
    let db = ::sled::Config::new()
        .path(&data)
        .flush_every_ms(None)
        .open()
        .unwrap();
    let ack: Vec<u8> = [&b"S"[..], &who.user_id.to_be_bytes(), &1_i64.to_be_bytes()].concat();
    db.insert(ack, vec![0, 8, 99]).unwrap();
    db.flush().unwrap();
    drop(db);
    let found = tool(&data, &["verify", "--json"]);
    assert_eq!(
        found.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
    let report: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(report["findings"][0]["rule"], "acks");
}
