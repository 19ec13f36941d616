//! The commands for operators, against a running server.
#![expect(
    clippy::unwrap_used,
    reason = "a failed test should panic, its helpers too"
)]

mod gimlet_process;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use gimlet_kit::http_target::{HttpTarget, TargetAnswer};
use gimlet_process::GimletProcess;
use serde_json::{Value, json};

const KEY: &str = "key-0123456789abcdef0123456789abcdef";
const GIMLET: &str = env!("CARGO_BIN_EXE_gimlet");

/// Result of a command.
#[derive(Debug)]
struct CommandResult {
    code: i32,
    out: String,
    err: String,
}

impl CommandResult {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

/// Runs a command with this environment and input.
fn run_with(env: &[(&str, &str)], args: &[&str], input: &str) -> CommandResult {
    let mut command = Command::new(GIMLET);
    command.env_clear().envs(env.iter().copied()).args(args);
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not read its input closes it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    CommandResult {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A server whose commands present its key.
struct OperatedServer {
    url: String,
    _server: GimletProcess,
}

impl OperatedServer {
    fn start(env: &[(&str, &str)]) -> Self {
        let mut all = vec![("GIMLET_HTTP__API_KEYS", KEY)];
        all.extend_from_slice(env);
        let (server, _) = GimletProcess::start(&all);
        Self {
            url: format!("http://{}", server.addr("http")),
            _server: server,
        }
    }

    fn run(&self, args: &[&str]) -> CommandResult {
        let env = [("GIMLET_URL", self.url.as_str()), ("GIMLET_API_KEY", KEY)];
        run_with(&env, args, "")
    }

    /// Returns the JSON of a command that must succeed.
    fn done(&self, args: &[&str]) -> Value {
        let result = self.run(&[args, &["--json"]].concat());
        assert_eq!(result.code, 0, "{args:?}: {result:?}");
        result.json()
    }
}

fn environment_of_hook(url: &str) -> Vec<(&str, &str)> {
    vec![
        ("GIMLET_WEBHOOKS__0__NAME", "crm"),
        ("GIMLET_WEBHOOKS__0__URL", url),
        ("GIMLET_WEBHOOKS__0__EVENTS", "message.created"),
        (
            "GIMLET_WEBHOOKS__0__SECRETS",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ),
        ("GIMLET_WEBHOOKS__0__ALLOW_PRIVATE", "true"),
    ]
}

#[test]
fn a_refusal_has_the_words_of_the_server_and_exit_code_1() {
    let server = OperatedServer::start(&[]);
    let refused = server.run(&["user", "show", "77", "--json"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let json = refused.json();
    assert_eq!(json["status"], 404, "{json}");
    let detail = json["error"].as_str().unwrap();
    assert_eq!(refused.err, format!("gimlet: {detail}\n"));

    let short = server.run(&["user", "create", "1", "--json"]);
    assert_eq!((short.code, &short.json()["status"]), (1, &json!(400)));
    let env = [
        ("GIMLET_URL", server.url.as_str()),
        ("GIMLET_API_KEY", "wrong"),
    ];
    let stranger = run_with(&env, &["user", "show", "1", "--json"], "");
    assert_eq!(
        (stranger.code, &stranger.json()["status"]),
        (1, &json!(401))
    );
    assert!(!format!("{stranger:?}").contains("wrong\""), "{stranger:?}");
}

#[test]
fn a_wrong_command_line_has_exit_code_2_and_calls_nothing() {
    let url = [("GIMLET_URL", "http://127.0.0.1:9")];
    let no_key = run_with(&url, &["user", "show", "1"], "");
    assert_eq!(no_key.code, 2, "{no_key:?}");
    assert!(
        no_key
            .err
            .contains("no API key is given: set GIMLET_API_KEY")
    );
    for args in [
        &["user", "show", "0"][..],
        &["user", "show", "x"],
        &["send", "--from", "1", "hi"],
        &["send", "--from", "1", "--business", "--to", "2", "hi"],
        &["send", "--to", "2", "hi"],
        &["send", "--system", "--room", "5", "hi"],
        &["webhook", "drop", "crm"],
        &["webhook", "drop", "crm", "--all", "--position", "4"],
    ] {
        let wrong = run_with(&url, args, "");
        assert_eq!(wrong.code, 2, "{args:?}: {wrong:?}");
    }
    let env = [("GIMLET_URL", "http://1.1.1.1"), ("GIMLET_API_KEY", KEY)];
    let open = run_with(&env, &["user", "show", "1"], "");
    assert_eq!(open.code, 2, "{open:?}");
    assert!(
        open.err.contains("http:// would show the API key"),
        "{open:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_has_exit_code_3() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Nothing accepts at this port any more.
    drop(listener);
    let env = [("GIMLET_URL", url.as_str()), ("GIMLET_API_KEY", KEY)];
    let args = [
        "send",
        "--business",
        "--to",
        "1",
        "hi",
        "--id",
        "a-1",
        "--json",
    ];
    let unreachable = run_with(&env, &args, "");
    assert_eq!(unreachable.code, 3, "{unreachable:?}");
    let error = unreachable.json()["error"].as_str().unwrap().to_owned();
    assert!(
        error.contains("start the server, or give the address"),
        "{error}"
    );
    assert!(
        error.ends_with("repeat the command with --id a-1"),
        "{error}"
    );

    let page = HttpTarget::start().await;
    page.answer(TargetAnswer::Status(200, "<html>".into()));
    let url = page.url();
    let env = [("GIMLET_URL", url.as_str()), ("GIMLET_API_KEY", KEY)];
    let other = run_with(&env, &["webhook", "list"], "");
    assert_eq!(other.code, 3, "{other:?}");
    assert!(
        other.err.contains("not as gimlet's HTTP API does"),
        "{other:?}"
    );
    page.answer(TargetAnswer::Close);
    assert_eq!(run_with(&env, &["webhook", "list"], "").code, 3);
}

#[test]
fn a_send_repeated_under_its_id_sends_nothing_twice() {
    let server = OperatedServer::start(&[]);
    for phone in ["13800000001", "13800000002"] {
        server.done(&["user", "create", phone]);
    }
    let args = [
        "send",
        "--from",
        "1",
        "--to",
        "2",
        "hi, 王小明",
        "--id",
        "once",
    ];
    let (first, second) = (server.done(&args), server.done(&args));
    assert_eq!(first["repeated"], false);
    assert_eq!(second["repeated"], true);
    assert_eq!(first["message_id"], second["message_id"]);
    let system = server.done(&["send", "--system", "--to", "2", "later"]);
    assert_eq!(system["seq"], "2", "one copy of the first, and this one");
    let room = server.run(&["send", "--from", "1", "--room", "5", "hi"]);
    assert_eq!(
        (room.code, room.out.as_str()),
        (0, "sent to room 5 with seq 1\n")
    );
    let banned = server.done(&["user", "ban", "2", "--reason", "spam"]);
    assert_eq!(banned, json!({}));
    let shown = server.done(&["user", "show", "2"]);
    assert_eq!(shown["ban"]["reason"], "spam");
}

#[test]
fn an_import_is_complete_up_to_the_line_that_is_wrong_and_can_be_repeated() {
    let server = OperatedServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.csv");
    let rows = |wrong: &str| {
        let mut text = "phone_number,nickname\n".to_owned();
        for n in 0..1_200 {
            let phone = if n == 1_100 { wrong } else { "138" };
            let _ = writeln!(text, "{phone}{n:05},user {n}");
        }
        text
    };
    std::fs::write(&file, rows("x")).unwrap();
    let path = file.to_str().unwrap();
    let wrong = server.run(&["user", "import", path]);
    assert_eq!(wrong.code, 1, "{wrong:?}");
    let told =
        format!("{path}, after 1000 imported users (the import may be repeated): line 1102: ");
    assert!(wrong.err.contains(&told), "{wrong:?}");
    std::fs::write(&file, rows("138")).unwrap();
    let imported = server.done(&["user", "import", path]);
    assert_eq!(imported, json!({"users": 1_200, "new": 200}));
}

/// Environment of an embedded storage in this folder, without a key or an address of the commands.
fn stored_in(data: &Path) -> [(&str, &str); 3] {
    [
        ("GIMLET_STORAGE__KIND", "sled"),
        ("GIMLET_DATA_DIR", data.to_str().unwrap()),
        ("GIMLET_BUSINESS__CODE_VERIFIER", "dev"),
    ]
}

fn done_in(data: &Path, args: &[&str]) -> Value {
    let result = run_with(&stored_in(data), &[args, &["--json"]].concat(), "");
    assert_eq!(result.code, 0, "{args:?}: {result:?}");
    result.json()
}

fn text<'a>(json: &'a Value, name: &str) -> &'a str {
    json[name].as_str().unwrap()
}

#[test]
fn the_first_key_is_created_where_no_server_runs_and_works_in_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let missing = run_with(&stored_in(&data), &["key", "list"], "");
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(
        missing.err.contains("there is no data directory"),
        "{missing:?}"
    );
    assert!(!data.exists(), "a list creates nothing");
    let first = done_in(
        &data,
        &["key", "create", "--name", "shop", "--scope", "admin"],
    );
    let key = text(&first, "key").to_owned();
    let narrow = [
        "key",
        "create",
        "--name",
        "narrow",
        "--scope",
        "users:read,stats:read",
    ];
    let narrow = done_in(&data, &[&narrow[..], &["--expires", "90d"]].concat());

    let (server, _) = GimletProcess::start(&stored_in(&data));
    let url = format!("http://{}", server.addr("http"));
    let call = |key: &str, args: &[&str]| {
        let env = [("GIMLET_URL", url.as_str()), ("GIMLET_API_KEY", key)];
        run_with(&env, &[args, &["--json"]].concat(), "")
    };
    let created = call(&key, &["user", "create", "13800000001"]);
    assert_eq!(created.code, 0, "{created:?}");
    let read = call(text(&narrow, "key"), &["user", "show", "1"]);
    assert_eq!(read.code, 0, "{read:?}");
    let refused = call(text(&narrow, "key"), &["user", "create", "13800000002"]);
    assert_eq!((refused.code, &refused.json()["status"]), (1, &json!(403)));

    let rotated = call(
        &key,
        &["key", "rotate", text(&narrow, "key_id"), "--overlap", "1h"],
    )
    .json();
    assert_ne!(rotated["key"], narrow["key"]);
    let second = call(
        &key,
        &["key", "create", "--name", "王小明", "--scope", "users:read"],
    )
    .json();
    assert_eq!(
        call(&key, &["key", "revoke", text(&second, "key_id")]).code,
        0
    );
    assert_eq!(call(text(&second, "key"), &["user", "show", "1"]).code, 1);
    let by_server = call(&key, &["key", "list"]).json();
    server.signal("TERM");
    assert!(server.wait().0.success());

    let by_storage = done_in(&data, &["key", "list"]);
    assert_eq!(by_storage["keys"].as_array().unwrap().len(), 4);
    assert_eq!(by_storage, by_server, "both ways have the same objects");
    let fields =
        |json: &Value| -> Vec<String> { json.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(
        fields(&rotated),
        fields(&narrow),
        "both ways create the same object"
    );
}

#[test]
fn on_the_machine_of_a_running_server_neither_address_nor_key_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let env = stored_in(&data);
    let (server, _) = GimletProcess::start(&env);
    let created = done_in(&data, &["user", "create", "13800000001"]);
    assert_eq!(created["is_new"], true);
    let key = done_in(
        &data,
        &["key", "create", "--name", "shop", "--scope", "users:read"],
    );
    let keys = done_in(&data, &["key", "list"]);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    // A key that is given wins over the one of the process.
    let given = [&env[..], &[("GIMLET_API_KEY", text(&key, "key"))]].concat();
    let refused = run_with(&given, &["user", "create", "13800000002", "--json"], "");
    assert_eq!((refused.code, &refused.json()["status"]), (1, &json!(403)));
    server.signal("TERM");
    assert!(server.wait().0.success());
    let stopped = run_with(&env, &["user", "show", "1"], "");
    assert!(
        stopped.code == 2 && stopped.err.contains("no API key is given"),
        "{stopped:?}"
    );
}

#[test]
fn a_storage_is_left_alone_while_a_server_that_cannot_be_called_has_it_open() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let env = stored_in(&data);
    let (_server, _) =
        GimletProcess::start(&[&env[..], &[("GIMLET_LISTEN__HTTP", "off")]].concat());
    let in_use = run_with(&env, &["key", "list", "--json"], "");
    assert_eq!(in_use.code, 1, "{in_use:?}");
    let error = text(&in_use.json(), "error").to_owned();
    assert!(
        error.contains("give an API key with the scope admin"),
        "{error}"
    );

    let memory = [("GIMLET_STORAGE__KIND", "memory")];
    let memory = run_with(
        &memory,
        &["key", "create", "--name", "a", "--scope", "admin"],
        "",
    );
    assert!(
        memory.code == 1 && memory.err.contains("keeps no API keys"),
        "{memory:?}"
    );
}

#[test]
fn a_key_that_is_created_wrongly_is_refused_with_the_words_of_the_api() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = OperatedServer::start(&[]);
    let args = ["key", "create", "--name", " ", "--scope", "admin", "--json"];
    let stored = run_with(&stored_in(&data), &args, "");
    let answered = server.run(&args);
    assert_eq!(
        (stored.code, answered.code),
        (1, 1),
        "{stored:?} {answered:?}"
    );
    assert_eq!(stored.json()["error"], answered.json()["error"]);
    let missing = ["key", "revoke", "00000000000000aa", "--json"];
    let stored = run_with(&stored_in(&data), &missing, "");
    let answered = server.run(&missing);
    assert_eq!(
        (stored.code, answered.code),
        (1, 1),
        "{stored:?} {answered:?}"
    );
    assert_eq!(stored.json()["error"], answered.json()["error"]);
    for args in [
        &["key", "create", "--name", "a", "--scope", "everything"][..],
        &["key", "create", "--name", "a"],
        &[
            "key",
            "create",
            "--name",
            "a",
            "--scope",
            "admin",
            "--expires",
            "soon",
        ],
        &["key", "revoke", "7"],
    ] {
        let wrong = run_with(&stored_in(&data), args, "");
        assert_eq!(wrong.code, 2, "{args:?}: {wrong:?}");
    }
}

#[test]
fn bash_takes_the_completions_and_completes_a_command() {
    let complete = |words: &str, current: &str| {
        let script = format!(
            "set -eu\neval \"$(\"$GIMLET\" completion bash)\"\n\
             COMP_WORDS=({words})\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             _gimlet gimlet '{current}' ''\necho \"${{COMPREPLY[@]}}\""
        );
        let mut bash = Command::new("bash");
        let output = bash
            .args(["-c", &script])
            .env("GIMLET", GIMLET)
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{script}\n{err}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("gimlet us", "us"), "user");
    assert_eq!(complete("gimlet user dis", "dis"), "disconnect");
    assert_eq!(complete("gimlet user import --form", "--form"), "--format");
    for shell in ["zsh", "fish"] {
        let script = run_with(&[], &["completion", shell], "").out;
        assert!(script.contains("disconnect"), "{shell}: {script}");
    }
}

/// Returns the commands of the page in the order of the page.
fn commands_of(page: &str) -> String {
    let blocks = page.split("```sh\n").skip(1);
    let blocks: Vec<_> = blocks.filter_map(|it| it.split("```").next()).collect();
    blocks.join("\n")
}

/// Runs a script with `gimlet` in its path; returns its output.
fn bash_in(folder: &Path, script: &str, env: &[(&str, &str)]) -> String {
    let program = Path::new(GIMLET).parent().unwrap().display();
    let path = format!("{program}:/usr/local/bin:/usr/bin:/bin");
    let script = format!("set -euo pipefail\n{script}");
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(folder);
    bash.env_clear().env("PATH", path).envs(env.iter().copied());
    let output = bash.output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{out}\n{err}");
    out
}

/// Needs `bash` and `jq`.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_work() {
    let target = HttpTarget::start().await;
    let hook = target.url();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let commands = commands_of(include_str!("../../docs/command-line.md"));
    // The first block runs before the server, on its storage.
    let (first, rest) = commands.split_once("\n\n").unwrap();
    let stored = bash_in(folder.path(), first, &stored_in(&data));
    assert!(stored.contains("\nkey         gk_"), "{stored}");
    let mut env = environment_of_hook(&hook);
    env.extend(stored_in(&data));
    let (_server, _) = GimletProcess::start(&env);
    let out = bash_in(folder.path(), rest, &stored_in(&data));
    for words in [
        "messages:send, users:write",
        "revoked key ",
        "created user 1\n",
        "nickname    alice\n",
        "imported 2 users, 2 of them new\n",
        "imported 1 users, 1 of them new\n",
        "banned user 3\n",
        "revoked the token of user 1 on device ",
        "sent to room 5 with seq 1\n",
        "the program of crm accepted the test after ",
        "0 dead letters of crm: waiting for delivery again\n",
    ] {
        assert!(out.contains(words), "{words:?} is not in {out}");
    }
}
