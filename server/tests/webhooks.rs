//! Webhooks of the binary, to programs outside of it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test should panic, its helpers too"
)]

mod gimlet_process;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use gimlet_kit::child::ChildProcess;
use gimlet_kit::http_target::{HttpTarget, TargetAnswer, TargetRequest};
use gimlet_process::GimletProcess;
use serde_json::{Value, json};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const KEY: &str = "key-0123456789abcdef0123456789abcdef";
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the environment of a gimlet with a webhook at this address.
fn environment<'a>(url: &'a str, events: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("GIMLET_HTTP__API_KEYS", KEY),
        ("GIMLET_WEBHOOKS__0__NAME", "crm"),
        ("GIMLET_WEBHOOKS__0__URL", url),
        ("GIMLET_WEBHOOKS__0__EVENTS", events),
        ("GIMLET_WEBHOOKS__0__SECRETS", SECRET),
        ("GIMLET_WEBHOOKS__0__ALLOW_PRIVATE", "true"),
    ]
}

/// Calls the API as a backend; returns the status and the answer.
fn call(addr: &str, method: &str, path: &str, user: Option<&str>, body: &Value) -> (u16, Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let acting = user.map_or_else(String::new, |user| format!("Gimlet-User: {user}\r\n"));
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {KEY}\r\n\
         {acting}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

fn create_user(addr: &str, phone: &str) -> String {
    let body = json!({"phone_number": phone});
    let (status, created) = call(addr, "POST", "/v1/users", None, &body);
    assert_eq!(status, 200, "{created}");
    created["user_id"].as_str().unwrap().to_owned()
}

fn send(addr: &str, from: &str, to: &str, text: &str) -> (u16, Value) {
    let content = json!({"type": "text", "text": text});
    let body = json!({"to_user": to, "content": content});
    call(addr, "POST", "/v1/messages", Some(from), &body)
}

/// Returns the texts of `message.created` that the target accepted, with their receivers.
fn accepted(requests: &[TargetRequest]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for request in requests
        .iter()
        .filter(|it| (200..300).contains(&it.answered))
    {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        for event in body["events"].as_array().unwrap() {
            let message = &event["data"]["message"];
            let text = message["content"]["text"].as_str().unwrap_or_default();
            let receiver = message["receiver"]["user_id"].as_str().unwrap_or_default();
            found.push((receiver.to_owned(), text.to_owned()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn events_survive_kills_of_gimlet_in_order_for_each_receiver() {
    const KILLS: usize = 3;
    const EACH: usize = 40;
    let target = HttpTarget::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (url, data) = (target.url(), dir.path().to_str().unwrap());
    let mut env = environment(&url, "message.created");
    env.extend([("GIMLET_STORAGE__KIND", "sled"), ("GIMLET_DATA_DIR", data)]);
    env.push(("GIMLET_WEBHOOKS__0__BATCH", "7"));
    let mut users = Vec::new();
    let mut sent = 0;
    for round in 0..=KILLS {
        let (gimlet, _) = GimletProcess::start(&env);
        let addr = gimlet.addr("http");
        if users.is_empty() {
            users = (1..=4)
                .map(|n| create_user(&addr, &format!("1380000000{n}")))
                .collect();
        }
        // The target fails at times, so that events wait when the process is killed.
        let fails = round < KILLS;
        target.decide(move |request| {
            if fails && request.body.len() % 3 == 0 {
                TargetAnswer::Status(500, String::new())
            } else {
                TargetAnswer::OK
            }
        });
        for number in sent..sent + EACH {
            for to in &users[1..] {
                let (status, answer) = send(&addr, &users[0], to, &number.to_string());
                assert_eq!(status, 200, "{answer}");
            }
        }
        sent += EACH;
        if round < KILLS {
            gimlet.signal("-KILL");
            let _ = gimlet.wait();
        } else {
            let expected = sent;
            let receivers = users[1..].to_vec();
            let all = target.wait_until(|requests| {
                let accepted = accepted(requests);
                receivers.iter().all(|receiver| {
                    let last = (expected - 1).to_string();
                    accepted.contains(&(receiver.clone(), last))
                })
            });
            tokio::time::timeout(Duration::from_mins(2), all)
                .await
                .unwrap();
        }
    }
    let accepted = accepted(&target.requests());
    for receiver in &users[1..] {
        let mut next = 0;
        for (_, text) in accepted.iter().filter(|(to, _)| to == receiver) {
            let number: usize = text.parse().unwrap();
            assert!(number <= next, "{receiver}: {number} came before {next}");
            next = next.max(number + 1);
        }
        assert_eq!(next, sent, "every event of {receiver} arrived");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_test_and_repair_a_webhook_by_the_api() {
    let target = HttpTarget::start().await;
    let url = target.url();
    let mut env = environment(&url, "message.created");
    env.push(("GIMLET_WEBHOOKS__0__RETRY_FOR", "1s"));
    let (gimlet, _) = GimletProcess::start(&env);
    let addr = gimlet.addr("http");
    let get = |path: &str| call(&addr, "GET", path, None, &Value::Null);
    let post = |path: &str, body: Value| call(&addr, "POST", path, None, &body);
    let (status, listed) = get("/v1/webhooks");
    assert_eq!(status, 200, "{listed}");
    assert_eq!(listed["webhooks"][0]["name"], "crm");
    assert_eq!(listed["webhooks"][0]["url"], url.as_str());
    let (_, tested) = post("/v1/webhooks/crm/test", Value::Null);
    assert_eq!(tested["delivered"], true, "{tested}");
    assert!(target.requests()[0].text().contains("webhook.test"));
    target.answer(TargetAnswer::Status(422, "no".into()));
    let (_, tested) = post("/v1/webhooks/crm/test", Value::Null);
    assert!(
        tested["error"].as_str().unwrap().contains("422"),
        "{tested}"
    );
    let (alice, bob) = (
        create_user(&addr, "13800000001"),
        create_user(&addr, "13800000002"),
    );
    send(&addr, &alice, &bob, "hi");
    // It is given up after some attempts, because it may be tried for a second only.
    let path = "/v1/webhooks/crm/dead-letters";
    gimlet.await_log("events given up, they are dead letters now");
    let (_, letters) = get(path);
    let letter = &letters["dead_letters"][0];
    assert_eq!(letter["event"], "message.created");
    assert!(letter["error"].as_str().unwrap().contains("422"));
    target.answer(TargetAnswer::OK);
    let (_, moved) = post(&format!("{path}/replay"), json!({}));
    assert_eq!(moved["count"], "1");
    target
        .wait_until(|requests| accepted(requests).contains(&(bob.clone(), "hi".into())))
        .await;
    for (path, needle) in [
        ("/v1/webhooks/crn/dead-letters", "no webhook"),
        ("/v1/webhooks/CRM/dead-letters", "no webhook"),
    ] {
        let (status, problem) = get(path);
        assert_eq!(status, 404);
        assert!(
            problem["detail"].as_str().unwrap().contains(needle),
            "{problem}"
        );
    }
    let (status, _) = call(
        &addr,
        "POST",
        &format!("{path}/drop"),
        None,
        &json!({"positions": ["x"]}),
    );
    assert_eq!(status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_decides_about_messages() {
    let target = HttpTarget::start().await;
    let url = target.url();
    let mut env = environment(&url, "message.before_send");
    env.push(("GIMLET_WEBHOOKS__0__FAIL", "closed"));
    let (gimlet, _) = GimletProcess::start(&env);
    let addr = gimlet.addr("http");
    let (alice, bob) = (
        create_user(&addr, "13800000001"),
        create_user(&addr, "13800000002"),
    );
    target.decide(|request| {
        let answer = if request.text().contains("http://") {
            r#"{"action": "refuse", "reason": "no links, please"}"#
        } else {
            r#"{"action": "replace", "content": {"type": "text", "text": "***"}}"#
        };
        TargetAnswer::Status(200, answer.into())
    });
    let (status, refused) = send(&addr, &alice, &bob, "see http://x.example");
    assert_eq!(
        (status, &refused["detail"]),
        (403, &"no links, please".into())
    );
    assert_eq!(send(&addr, &alice, &bob, "a rude word").0, 200);
    let (_, inbox) = call(&addr, "GET", "/v1/inbox", Some(&bob), &Value::Null);
    let entries = inbox["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{inbox}");
    assert_eq!(entries[0]["message"]["content"]["text"], "***");
    target.answer(TargetAnswer::Status(500, String::new()));
    assert_eq!(send(&addr, &alice, &bob, "hi").0, 503);
}

/// Returns the program of this language in docs/webhooks.md.
fn example(heading: &str, language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/webhooks.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once(&format!("\n### {heading}\n")).unwrap();
    let (_, code) = section.split_once(&format!("```{language}\n")).unwrap();
    code.split_once("```").unwrap().0.to_owned()
}

/// Runs an example that an interpreter reads from a file.
fn run_script(heading: &str, language: &str, file: &str, interpreter: &str) {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join(file);
    std::fs::write(&source, example(heading, language)).unwrap();
    let receiver = gimlet_kit::server::free();
    let mut command = Command::new(interpreter);
    run_example(heading, receiver, command.arg(&source), |child, words| {
        child.read_line(words);
    });
}

/// Runs an example: it accepts what gimlet signs, and refuses a forgery and a recorded request. `wait`
/// waits until it has printed these words.
fn run_example(
    heading: &str,
    receiver: SocketAddr,
    command: &mut Command,
    wait: fn(&mut ChildProcess, &str),
) {
    command.env("PORT", receiver.port().to_string());
    command.env("WEBHOOK_SECRET", SECRET);
    let mut child = ChildProcess::start(heading, command).unwrap();
    wait(
        &mut child,
        if heading == "PHP" {
            "started"
        } else {
            "listening"
        },
    );
    let url = format!("http://{receiver}/");
    let (gimlet, _) = GimletProcess::start(&environment(&url, "message.created"));
    let addr = gimlet.addr("http");
    let (_, tested) = call(&addr, "POST", "/v1/webhooks/crm/test", None, &Value::Null);
    assert_eq!(tested["delivered"], true, "{heading}: {tested}");
    wait(&mut child, "webhook.test");
    let (alice, bob) = (
        create_user(&addr, "13800000001"),
        create_user(&addr, "13800000002"),
    );
    send(&addr, &alice, &bob, "hi");
    wait(&mut child, "message.created");
    let now = Command::new("date").arg("+%s").output().unwrap();
    let now = String::from_utf8(now.stdout).unwrap();
    // The vector of the standard's libraries: its signature is right at its own time, which is past.
    for at in ["1614265330", now.trim()] {
        assert_eq!(forged(receiver, at), 401, "{heading}");
    }
}

/// Posts the vector of the libraries of Standard Webhooks with this timestamp; returns the status.
fn forged(receiver: SocketAddr, at: &str) -> u16 {
    let body = r#"{"test": 2432232314}"#;
    let request = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek\r\nwebhook-timestamp: {at}\r\n\
         webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(receiver).unwrap();
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_documented_receiver_in_node_verifies_signatures() {
    run_script("Node", "js", "receiver.mjs", "node");
}

#[test]
fn the_documented_receiver_in_python_verifies_signatures() {
    run_script("Python", "python", "receiver.py", "python3");
}

#[test]
fn the_documented_receiver_in_go_verifies_signatures() {
    // Go is not needed for anything else here, so it may be missing.
    if Command::new("go").arg("version").output().is_err() {
        return;
    }
    // Built first: a program that `go run` starts outlives it.
    let dir = tempfile::tempdir().unwrap();
    let (source, program) = (dir.path().join("receiver.go"), dir.path().join("receiver"));
    std::fs::write(&source, example("Go", "go")).unwrap();
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(&source);
    assert!(build.status().unwrap().success());
    let receiver = gimlet_kit::server::free();
    run_example(
        "Go",
        receiver,
        &mut Command::new(program),
        |child, words| {
            child.read_line(words);
        },
    );
}

/// Needs PHP 8, whose own server runs the program.
#[test]
fn the_documented_receiver_in_php_verifies_signatures() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("receiver.php");
    std::fs::write(&source, example("PHP", "php")).unwrap();
    let receiver = gimlet_kit::server::free();
    let mut command = Command::new("php");
    command.args(["-S", &receiver.to_string()]).arg(&source);
    command.stderr(std::process::Stdio::piped());
    run_example("PHP", receiver, &mut command, |child, words| {
        child.await_log(words);
    });
}
