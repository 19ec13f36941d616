//! Stopping the binary: the meaning of each signal, and the time limits of a stop.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a failed test should panic, its helpers too"
)]

mod gimlet_process;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use gimlet_process::GimletProcess;

/// Starts a server whose stop takes its whole grace, because a request never ends.
fn held() -> (GimletProcess, TcpStream) {
    let (running, _) = GimletProcess::start(&[("GIMLET_STOP__GRACE", "3s")]);
    let mut upload = TcpStream::connect(running.addr("files")).unwrap();
    let begun = "POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; \
                 boundary=B\r\nContent-Length: 99999\r\nExpect: 100-continue\r\n\r\n";
    upload.write_all(begun.as_bytes()).unwrap();
    // Its handler is running now, because it asks for the body.
    let mut answer = [0; 12];
    upload.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    (running, upload)
}

/// `timeout`, process groups and service managers send SIGTERM and SIGINT together.
#[test]
fn two_signals_at_once_are_one_order_to_drain() {
    let pairs = [["-TERM", "-INT"], ["-INT", "-INT"], ["-TERM", "-TERM"]];
    let all: Vec<_> = pairs
        .into_iter()
        .map(|pair| {
            let (running, upload) = held();
            for signal in pair {
                running.signal(signal);
            }
            (pair, running, upload)
        })
        .collect();
    for (pair, running, _upload) in all {
        let (status, log) = running.wait();
        assert_eq!(status.code(), Some(0), "{pair:?}: {log}");
        assert!(
            log.contains("closing the rest by force"),
            "it drained: {log}"
        );
    }
}

#[test]
fn a_second_signal_after_half_a_second_ends_it_at_once() {
    let (running, _upload) = held();
    running.signal("-INT");
    // Longer than the half second within which a signal counts as the same stop.
    std::thread::sleep(Duration::from_millis(600));
    running.signal("-INT");
    let (status, log) = running.wait();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("stopped at once by a second signal"), "{log}");
}

#[test]
fn connections_left_after_the_grace_are_closed_and_the_storage_closes() {
    let (running, mut upload) = held();
    // A handshake that never ends.
    let mut upgrade = TcpStream::connect(running.addr("websocket")).unwrap();
    upgrade.write_all(b"GET /ws HTTP/1.1\r\n").unwrap();
    running.signal("-TERM");
    let (status, log) = running.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("closing the rest by force"), "{log}");
    assert!(
        !log.contains("still in use") && !log.contains("after the forced close"),
        "{log}"
    );
    let mut rest = Vec::new();
    // Closed by force; the system reports that as an end or as a reset.
    let _ = upload.read_to_end(&mut rest);
    assert!(!rest.starts_with(b" 200"), "the upload was not taken");
}

#[test]
fn sighup_reads_the_level_again_and_says_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gimlet.toml");
    std::fs::write(&file, "[log]\nlevel = \"warn\"\n[limits]\nidle = \"9m\"\n").unwrap();
    let (running, _) = GimletProcess::start_with(&["--config", file.to_str().unwrap()], &[]);
    std::fs::write(&file, "[log]\nlevel = \"verbose\"\n").unwrap();
    running.signal("-HUP");
    running.await_log("did you mean debug?");
    std::fs::write(&file, "[log]\nlevel = \"debug\"\n[limits]\nidle = \"8m\"\n").unwrap();
    running.signal("-HUP");
    running.await_log("log.level = debug is in force");
    running.await_log("limits.idle");
    let sampled = "[log]\nlevel = \"debug\"\nsample = 5\n[limits]\nidle = \"8m\"\n";
    std::fs::write(&file, sampled).unwrap();
    running.signal("-HUP");
    running.await_log("log.sample = 5 is in force");
    running.signal("-TERM");
    let (status, log) = running.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("INFO"), "{log}");
}

/// Writes a new certificate for localhost and its key.
fn certify(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
}

#[test]
fn sighup_loads_the_certificate_again_also_without_a_file() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let env = [("GIMLET_TLS__CERT", &*cert), ("GIMLET_TLS__KEY", &*key)];
    let (running, banner) = GimletProcess::start(&env);
    assert!(banner.contains("tls://127.0.0.1:"), "{banner}");
    certify(folder.path());
    running.signal("-HUP");
    running.await_log("certificate loaded again");
    std::fs::write(&key, "nonsense").unwrap();
    running.signal("-HUP");
    running.await_log("SIGHUP: the certificate stays as it was");
    running.signal("-TERM");
    let (status, log) = running.wait();
    assert!(status.success(), "{log}");
    assert!(log.contains("has no private key"), "{log}");
}

#[test]
fn sighup_without_a_file_changes_nothing() {
    let (running, _) = GimletProcess::start(&[]);
    running.signal("-HUP");
    running.await_log("without --config");
    running.signal("-TERM");
    assert_eq!(running.wait().0.code(), Some(0));
}

/// Closing a terminal sends SIGHUP as well: then the server drains and ends.
#[test]
fn a_closed_terminal_stops_it_with_a_drain() {
    let closing = "import os, pty, sys, time\n\
        pid, terminal = pty.fork()\n\
        if pid == 0: os.execv(sys.argv[1], sys.argv[1:2])\n\
        said = b''\n\
        while b'Ctrl-C' not in said: said += os.read(terminal, 4096)\n\
        os.close(terminal)\n\
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n";
    let output =
        gimlet_process::gimlet_by("python3", &["-c", closing, env!("CARGO_BIN_EXE_gimlet")]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}");
}

/// The reader of the log may go away: logging must not end anything because of it.
#[test]
fn a_log_that_nobody_reads_any_more_ends_nothing() {
    let mut child = gimlet_process::with_environment(env!("CARGO_BIN_EXE_gimlet"), &[])
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut banner = String::new();
    while !banner.contains("Ctrl-C") {
        assert_ne!(out.read_line(&mut banner).unwrap(), 0, "{banner}");
    }
    drop((child.stderr.take(), out));
    // It logs the start and the end of its stop.
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
