//! The HTTP/JSON API of the binary, over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test should panic, its helpers too"
)]

mod gimlet_process;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use gimlet_process::GimletProcess;
use serde_json::{Value, json};

/// Time limit for an answer, and for the next event.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A signed-in user.
#[derive(Debug)]
struct ApiUser {
    id: String,
    token: String,
}

/// An answer.
#[derive(Debug)]
struct HttpAnswer {
    status: u16,
    head: String,
    json: Value,
}

fn connect(addr: &str) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
    stream
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut lines = vec![
        format!("{method} {path} HTTP/1.1"),
        "Host: localhost".to_owned(),
        "Connection: close".to_owned(),
    ];
    let given = headers.iter();
    lines.extend(given.map(|(name, value)| format!("{name}: {value}")));
    if !body.is_empty() {
        lines.push("Content-Type: application/json".to_owned());
        lines.push(format!("Content-Length: {}", body.len()));
    }
    format!("{}\r\n\r\n{body}", lines.join("\r\n"))
}

fn call(
    addr: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> HttpAnswer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut stream = connect(addr);
    let request = request(method, path, headers, &body);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    HttpAnswer {
        status,
        head: head.to_ascii_lowercase(),
        json: serde_json::from_str(body).unwrap_or(Value::Null),
    }
}

fn post(addr: &str, path: &str, token: &str, body: &Value) -> Value {
    let bearer = format!("Bearer {token}");
    let answer = call(addr, "POST", path, &[("Authorization", &bearer)], body);
    assert!((200..300).contains(&answer.status), "{answer:?}");
    answer.json
}

fn sign_in(addr: &str, phone: &str) -> ApiUser {
    let body = json!({"phone_number": phone, "code": "000000"});
    let answer = call(addr, "POST", "/v1/sign-in", &[], &body);
    let text = |name: &str| answer.json[name].as_str().unwrap().to_owned();
    ApiUser {
        id: text("user_id"),
        token: text("token"),
    }
}

fn send(addr: &str, from: &ApiUser, to: &ApiUser, text: &str) {
    let content = json!({"type": "text", "text": text});
    let body = json!({"to_user": to.id, "content": content});
    post(addr, "/v1/messages", &from.token, &body);
}

/// An event stream of a user.
struct ServerEvents(BufReader<TcpStream>);

impl ServerEvents {
    fn open(addr: &str, user: &ApiUser, last: Option<&str>) -> Self {
        let bearer = format!("Bearer {}", user.token);
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend(last.map(|id| ("Last-Event-ID", id)));
        let mut stream = connect(addr);
        let request = request("GET", "/v1/inbox/events", &headers, "");
        stream.write_all(request.as_bytes()).unwrap();
        let mut events = Self(BufReader::new(stream));
        let status = events.line().unwrap();
        assert!(status.starts_with("HTTP/1.1 200"), "{status}");
        events
    }

    /// Returns the next line; `None` at the end of the connection.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).unwrap_or(0);
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// Returns the id and the text of the next entry; `None` at the end of the connection.
    fn entry(&mut self) -> Option<(String, String)> {
        let (mut id, mut is_named) = (String::new(), false);
        loop {
            let line = self.line()?;
            if let Some(value) = line.strip_prefix("id: ") {
                value.clone_into(&mut id);
            } else if line.starts_with("event: ") {
                is_named = true;
            } else if let Some(data) = line.strip_prefix("data: ")
                && !std::mem::take(&mut is_named)
            {
                let data: Value = serde_json::from_str(data).unwrap();
                let text = data["message"]["content"]["text"].as_str().unwrap();
                assert_eq!(data["seq"], id);
                return Some((id, text.to_owned()));
            }
        }
    }
}

fn sled(data: &Path) -> [(&'static str, String); 2] {
    [
        ("GIMLET_STORAGE__KIND", "sled".into()),
        ("GIMLET_DATA_DIR", data.display().to_string()),
    ]
}

#[test]
fn a_stream_continues_after_a_kill_without_loss_or_repeat() {
    let data = tempfile::tempdir().unwrap();
    let env = sled(data.path());
    let env: Vec<_> = env.iter().map(|(name, it)| (*name, it.as_str())).collect();
    let (server, _) = GimletProcess::start(&env);
    let mut addr = server.addr("http");
    let (alice, bob) = (sign_in(&addr, "13800000001"), sign_in(&addr, "13800000002"));
    let mut server = Some(server);
    let (mut seen, mut last) = (Vec::new(), None);
    for round in 0..3 {
        let mut events = ServerEvents::open(&addr, &bob, last.as_deref());
        for n in 0..10 {
            send(&addr, &alice, &bob, &format!("{round}.{n}"));
            // Some entries are not read before the kill.
            if n < 7 {
                let (id, text) = events.entry().unwrap();
                seen.push(text);
                last = Some(id);
            }
        }
        let killed = server.take().unwrap();
        killed.signal("-KILL");
        killed.wait();
        // Entries that had arrived are still read: they count as seen.
        while let Some((id, text)) = events.entry() {
            seen.push(text);
            last = Some(id);
        }
        let (next, _) = GimletProcess::start(&env);
        addr = next.addr("http");
        server = Some(next);
    }
    let mut events = ServerEvents::open(&addr, &bob, last.as_deref());
    while seen.len() < 30 {
        seen.push(events.entry().unwrap().1);
    }
    let want = (0..3).flat_map(|round| (0..10).map(move |n| format!("{round}.{n}")));
    assert_eq!(seen, want.collect::<Vec<_>>());
}

#[test]
fn a_stop_ends_streams_in_an_orderly_way() {
    let (server, _) = GimletProcess::start(&[]);
    let addr = server.addr("http");
    let alice = sign_in(&addr, "13800000001");
    let mut events = ServerEvents::open(&addr, &alice, None);
    while !events.line().unwrap().contains("event: start") {}
    server.signal("-TERM");
    let mut lines = Vec::new();
    while let Some(line) = events.line() {
        lines.push(line);
    }
    let text = lines.join("\n");
    assert!(text.contains("event: close"), "{text}");
    assert!(text.contains("\"code\":4000"), "{text}");
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn pages_of_other_origins_may_not_call() {
    let origins = "same,https://chat.example.com";
    let (server, _) = GimletProcess::start(&[("GIMLET_HTTP__ORIGINS", origins)]);
    let addr = server.addr("http");
    let body = json!({"phone_number": "13800000001", "code": "000000"});
    let from = |origin| call(&addr, "POST", "/v1/sign-in", &[("Origin", origin)], &body);
    let refused = from("https://evil.example.com");
    assert_eq!(refused.status, 403);
    assert!(
        refused.json["detail"]
            .as_str()
            .unwrap()
            .contains("http.origins")
    );
    assert!(!refused.head.contains("access-control-allow-origin"));
    let allowed = from("https://chat.example.com");
    assert_eq!(allowed.status, 200);
    let allow = "access-control-allow-origin: https://chat.example.com";
    assert!(allowed.head.contains(allow), "{}", allowed.head);
    let asked = [
        ("Origin", "https://chat.example.com"),
        ("Access-Control-Request-Method", "PATCH"),
        (
            "Access-Control-Request-Headers",
            "authorization,content-type",
        ),
    ];
    let preflight = call(&addr, "OPTIONS", "/v1/me", &asked, &Value::Null);
    assert_eq!(preflight.status, 200, "{preflight:?}");
    assert!(preflight.head.contains(allow), "{}", preflight.head);
    assert!(preflight.head.contains("patch"), "{}", preflight.head);
    assert!(
        preflight.head.contains("authorization"),
        "{}",
        preflight.head
    );
}

#[test]
fn a_short_api_key_is_refused_and_never_shown() {
    let env = [("GIMLET_HTTP__API_KEYS", "secret-but-short")];
    let mut command = gimlet_process::with_environment(env!("CARGO_BIN_EXE_gimlet"), &env);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("GIMLET_HTTP__API_KEYS"), "{said}");
    assert!(said.contains("at least 32 characters"), "{said}");
    assert!(!said.contains("secret-but-short"), "{said}");
}

/// Returns the blocks of a page that are in this language.
fn code_blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let mut blocks = Vec::new();
    let mut rest = page;
    let begin = format!("```{language}\n");
    while let Some((_, after)) = rest.split_once(&begin) {
        let (block, after) = after.split_once("```").unwrap();
        blocks.push(block);
        rest = after;
    }
    blocks
}

/// Shell function that prints the lines of the stream up to one with these words.
const READ_EVENTS: &str = r#"
read_events() {
    while IFS= read -r line <&3; do
        printf '%s\n' "$line"
        case $line in *"$1"*) return ;; esac
    done
    return 1
}
"#;

/// Runs the commands of a page that call the API in one shell, against this server. The line that
/// follows a stream is read in the background, as in a second terminal.
fn run_page(page: &str, addr: &str, key: &str) -> String {
    let mut script = format!("set -euo pipefail\n{READ_EVENTS}");
    let calls = |block: &&str| block.contains("127.0.0.1:8085");
    for block in code_blocks(page, "sh").into_iter().filter(calls) {
        let Some((before, stream)) = block.split_once("curl -sN ") else {
            script.push_str(block);
            continue;
        };
        let stream = stream.trim_end();
        // The stream is open before the next command sends.
        let opened =
            format!("exec 3< <(curl -sN {stream})\nstream=$!\nread_events 'event: start'\n");
        script.push_str(before);
        script.push_str(&opened);
    }
    // It may have ended by itself, because the page disconnects its user.
    script.push_str("read_events 'hi, bob'\nkill $stream 2> /dev/null || true\n");
    let script = script.replace("127.0.0.1:8085", addr);
    let mut bash = Command::new("bash");
    // The pages keep the key in a file.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("api-key"), key).unwrap();
    bash.args(["-c", &script]).current_dir(&folder);
    let output = bash.output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{out}\n{err}");
    out
}

/// Needs `bash`, `curl` and `jq`.
#[test]
fn the_commands_of_the_documentation_work() {
    let key = "0123456789abcdef0123456789abcdef";
    let (server, _) = GimletProcess::start(&[("GIMLET_HTTP__API_KEYS", key)]);
    let page = include_str!("../../docs/http.md");
    let out = run_page(page, &server.addr("http"), key);
    for words in [
        "hi, bob",
        "\"text\":\"hi, bob\"",
        "\"members\":[",
        "\"user_id\":\"3\"",
        "does not have the scope users:write, it has messages:send, users:read",
        "\"last_used_at\":",
    ] {
        assert!(out.contains(words), "{words} is not in {out}");
    }
}

/// Runs commands against a server, and returns their output.
fn run_in(folder: &Path, commands: &str, server: &GimletProcess) -> String {
    let script = format!("set -euo pipefail\n{commands}");
    let script = script.replace("127.0.0.1:8085", &server.addr("http"));
    let mut bash = Command::new("bash");
    let output = bash.args(["-c", &script]).current_dir(folder).output();
    let output = output.unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}\n{err}");
    out
}

/// Needs `tests/s3/with`; without it the test is left out.
#[test]
fn the_commands_about_a_bucket_work() {
    let Some(bucket) = gimlet_kit::backend::variable("GIMLET_TEST_S3") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = GimletProcess::start(&[
        ("GIMLET_BUSINESS__CODE_VERIFIER", "dev"),
        ("GIMLET_FILES__STORE", "s3"),
        ("GIMLET_FILES__S3_BUCKET", "gimlet"),
        ("GIMLET_FILES__S3_ENDPOINT", &bucket),
        ("GIMLET_FILES__S3_ALLOW_HTTP", "true"),
        ("GIMLET_FILES__S3_ACCESS_KEY", "S3RVER"),
        ("GIMLET_FILES__S3_SECRET_KEY", "S3RVER"),
    ]);
    let page = include_str!("../../docs/files.md");
    let all = code_blocks(page, "sh").concat() + &code_blocks(page, "sh s3").concat();
    let out = run_in(folder.path(), &all, &server);
    assert_eq!(out.matches("\"width\":8").count(), 3, "{out}");
}

/// Needs `bash`, `base64`, `curl` and `jq`.
#[test]
fn the_commands_about_files_work() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = GimletProcess::start(&[]);
    let page = include_str!("../../docs/files.md");
    let blocks = code_blocks(page, "sh").concat();
    let script = format!("set -euo pipefail\n{blocks}");
    let script = script.replace("127.0.0.1:8085", &server.addr("http"));
    let mut bash = Command::new("bash");
    let output = bash
        .args(["-c", &script])
        .current_dir(folder.path())
        .output();
    let output = output.unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}\n{err}");
    for words in [
        "\"width\":8",
        "\"media_type\":\"image/png\"",
        "\"thumbnail_url\":\"http://",
        "inline; filename*=UTF-8''cat.png",
        "accept-ranges: bytes",
        "PNG",
    ] {
        assert!(out.contains(words), "{words} is not in {out}");
    }
}

/// Runs the program of the page that is in this language.
fn run_program(language: &str, file: &str, command: &[&str]) {
    let (server, _) = GimletProcess::start(&[]);
    let page = include_str!("../../docs/http.md");
    let mut blocks = code_blocks(page, language);
    blocks.retain(|block| block.contains("127.0.0.1:8085"));
    let [program] = blocks.as_slice() else {
        panic!("the page has {} programs in {language}", blocks.len());
    };
    let folder = tempfile::tempdir().unwrap();
    let program = program.replace("127.0.0.1:8085", &server.addr("http"));
    std::fs::write(folder.path().join(file), program).unwrap();
    let mut ran = Command::new(command[0]);
    ran.args(&command[1..]).arg(file).current_dir(folder.path());
    let output = ran.output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}\n{err}");
    assert_eq!(out, "entry 1: hi, bob\n", "{err}");
}

/// Needs Node 20.
#[test]
fn the_program_in_javascript_works() {
    run_program("js", "chat.mjs", &["node"]);
}

/// Needs Python 3.
#[test]
fn the_program_in_python_works() {
    run_program("python", "chat.py", &["python3"]);
}

/// Needs Go.
#[test]
fn the_program_in_go_works() {
    run_program("go", "chat.go", &["go", "run"]);
}

/// Needs PHP 8.
#[test]
fn the_program_in_php_works() {
    run_program("php", "chat.php", &["php"]);
}

#[test]
fn the_lines_of_the_readme_chat_on_an_empty_server() {
    let (server, _) = GimletProcess::start(&[]);
    let out = run_page(include_str!("../../README.md"), &server.addr("http"), "");
    assert!(out.contains("\"text\":\"hi, bob\""), "{out}");
}
