//! `gimlet doctor` against planted mistakes: each is found, and its remedy is named.
#![cfg(all(unix, feature = "sled", feature = "mysql"))]
#![expect(
    clippy::unwrap_used,
    reason = "a failed test should panic, its helpers too"
)]

mod gimlet_process;

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use gimlet_kit::backend::{BackendAddresses, PrivateBackend, redis_command};
use gimlet_kit::database::SqlConnection;
use gimlet_process::with_environment;
use tempfile::TempDir;

/// Findings of an examination, and its exit code.
struct ExaminedInstallation {
    text: String,
    code: i32,
}

impl ExaminedInstallation {
    /// Runs `gimlet doctor` with these variables.
    fn of(env: &[(&str, &str)]) -> Self {
        let mut command = with_environment(env!("CARGO_BIN_EXE_gimlet"), env);
        let output = command.arg("doctor").output().unwrap();
        Self {
            text: String::from_utf8(output.stdout).unwrap(),
            code: output.status.code().unwrap(),
        }
    }

    /// Returns the findings of a level about a topic.
    fn findings(&self, level: &str, topic: &str) -> Vec<&str> {
        let begins = format!("{level:<8} {topic}: ");
        let lines = self.text.lines();
        lines.filter_map(|it| it.strip_prefix(&begins)).collect()
    }

    /// Asserts that a problem with this topic contains these words, and that the exit code says so.
    #[track_caller]
    fn has_problem(&self, topic: &str, words: &[&str]) {
        assert_eq!(self.code, 3, "{}", self.text);
        self.has("problem", topic, words);
    }

    #[track_caller]
    fn has(&self, level: &str, topic: &str, words: &[&str]) {
        let found = self.findings(level, topic);
        let meant = found
            .iter()
            .any(|text| words.iter().all(|it| text.contains(it)));
        assert!(meant, "{level} {topic} {words:?} in:\n{}", self.text);
    }
}

/// Makes a certificate that is valid until this year, with its key.
fn certificate(dir: &Path, last_year: i32) -> [String; 2] {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    let files = [
        (format!("cert-{last_year}.pem"), cert.pem()),
        (format!("key-{last_year}.pem"), key.serialize_pem()),
    ];
    files.map(|(name, text)| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    })
}

fn private_dir() -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    let path = dir.path().display().to_string();
    (dir, path)
}

#[test]
fn a_sound_installation_has_no_problem() {
    let (_dir, path) = private_dir();
    let it =
        ExaminedInstallation::of(&[("GIMLET_STORAGE__KIND", "sled"), ("GIMLET_DATA_DIR", &path)]);
    assert_eq!(it.code, 0, "{}", it.text);
    assert!(it.text.contains("0 problems"), "{}", it.text);
    it.has("ok", "data directory", &["closed to other users"]);
    it.has("ok", "disk", &["to reach the disk"]);
}

#[test]
fn scripts_get_json() {
    let mut command = with_environment(env!("CARGO_BIN_EXE_gimlet"), &[]);
    let output = command.args(["doctor", "--json"]).output().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = &found["findings"][0];
    assert!(
        first["level"].is_string() && first["topic"].is_string(),
        "{found}"
    );
    assert!(first["text"].is_string(), "{found}");
}

#[test]
fn mistakes_of_the_configuration_are_named_together() {
    let it = ExaminedInstallation::of(&[
        ("GIMLET_LISTEN__TPC", "127.0.0.1:1"),
        ("GIMLET_STORAGE__KIND", "postgres"),
    ]);
    it.has_problem("configuration", &["did you mean GIMLET_LISTEN__TCP?"]);
    it.has_problem("configuration", &["postgres", "is not understood"]);
}

#[test]
fn a_listener_open_to_the_network_without_tls_is_a_problem() {
    let it = ExaminedInstallation::of(&[
        ("GIMLET_LISTEN__TCP", "0.0.0.0:0"),
        ("GIMLET_BUSINESS__CODE_VERIFIER", "fixed:248163"),
    ]);
    it.has_problem("configuration", &["without TLS", "GIMLET_TLS__CERT"]);
}

#[test]
fn messages_in_memory_are_a_warning() {
    let it = ExaminedInstallation::of(&[]);
    it.has(
        "warning",
        "storage",
        &["lost when gimlet stops", "storage.kind"],
    );
}

#[test]
fn an_address_that_is_taken_and_one_that_this_machine_lacks_are_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let it = ExaminedInstallation::of(&[
        ("GIMLET_LISTEN__WS", &address),
        ("GIMLET_LISTEN__OPS", "192.0.2.1:8086"),
    ]);
    it.has("warning", "listeners", &[&address, "set another address"]);
    it.has_problem("listeners", &["192.0.2.1:8086", "GIMLET_LISTEN__OPS"]);
}

#[test]
fn certificates_that_are_missing_mismatched_or_expired_are_problems() {
    let (dir, path) = private_dir();
    let [old, old_key] = certificate(dir.path(), 2021);
    let [good, good_key] = certificate(dir.path(), 2100);
    let missing = format!("{path}/none.pem");
    let with = |cert: &str, key: &str| {
        ExaminedInstallation::of(&[("GIMLET_TLS__CERT", cert), ("GIMLET_TLS__KEY", key)])
    };
    with(&good, &good_key).has("ok", "certificates", &["is valid for"]);
    with(&old, &old_key).has_problem("certificates", &["expired", "renew it"]);
    with(&good, &old_key).has_problem("certificates", &["does not belong to"]);
    with(&missing, &good_key).has_problem("certificates", &["none.pem", "cannot be read"]);
}

#[test]
fn a_data_directory_that_is_open_or_not_a_directory_is_named() {
    let (dir, path) = private_dir();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let sled = |path: &str| {
        ExaminedInstallation::of(&[("GIMLET_STORAGE__KIND", "sled"), ("GIMLET_DATA_DIR", path)])
    };
    sled(&path).has("warning", "data directory", &["mode 755", "chmod 700"]);
    let file = format!("{path}/file");
    std::fs::write(&file, "").unwrap();
    sled(&file).has_problem("data directory", &["is not a directory"]);
}

#[test]
fn a_disk_with_too_little_room_is_a_problem() {
    let (_dir, path) = private_dir();
    let it = ExaminedInstallation::of(&[
        ("GIMLET_STORAGE__KIND", "sled"),
        ("GIMLET_DATA_DIR", &path),
        ("GIMLET_STORAGE__MIN_FREE", "1000000GiB"),
    ]);
    it.has_problem("disk", &["sends are refused", "free some space"]);
}

#[test]
fn more_connections_than_descriptors_are_a_problem() {
    let it = ExaminedInstallation::of(&[("GIMLET_LIMITS__MAX_CONNECTIONS", "2000000000")]);
    it.has_problem("descriptors", &["limits.max_connections", "LimitNOFILE"]);
}

#[test]
fn servers_that_cannot_be_reached_are_problems() {
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{free}");
    let it = ExaminedInstallation::of(&[("GIMLET_BUSINESS__URL", &url)]);
    it.has_problem(
        "links",
        &["business.url", &free.to_string(), "start that server"],
    );
    let mysql = format!("mysql://gimlet:secret@{free}/gimlet");
    let redis = format!("redis://{free}/");
    let it = ExaminedInstallation::of(&[
        ("GIMLET_STORAGE__KIND", "mysql"),
        ("GIMLET_STORAGE__MYSQL_URL", &mysql),
        ("GIMLET_STORAGE__REDIS_URL", &redis),
    ]);
    it.has_problem("MySQL", &["cannot be used", "check the address"]);
    it.has_problem("Redis", &["cannot be used", "storage.redis_url"]);
    assert!(!it.text.contains("secret"), "{}", it.text);
}

/// Returns the servers for tests, if there are some.
fn backends() -> Option<BackendAddresses> {
    let servers = BackendAddresses::of_environment();
    assert!(
        servers.is_some() || !BackendAddresses::are_required(),
        "GIMLET_TEST_MYSQL and GIMLET_TEST_REDIS must be set; run with tests/backends/with"
    );
    servers
}

fn with_servers(servers: &BackendAddresses, more: &[(&str, &str)]) -> ExaminedInstallation {
    let mut env = vec![
        ("GIMLET_STORAGE__KIND", "mysql"),
        ("GIMLET_STORAGE__MYSQL_URL", servers.mysql.as_str()),
        ("GIMLET_STORAGE__REDIS_URL", servers.redis.as_str()),
    ];
    env.extend(more);
    ExaminedInstallation::of(&env)
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_that_lose_what_they_hold_are_problems() {
    let Some(shared) = backends() else { return };
    let mysql = PrivateBackend::mysql_with(&shared, "--innodb-flush-log-at-trx-commit=2");
    with_servers(&mysql.servers, &[])
        .has_problem("MySQL", &["innodb_flush_log_at_trx_commit", "= 1"]);

    let redis = PrivateBackend::redis(&shared);
    for command in [
        "CONFIG SET maxmemory 100mb",
        "CONFIG SET maxmemory-policy allkeys-lru",
    ] {
        redis_command(&redis.servers.redis, command, "+OK\r\n".len()).unwrap();
    }
    with_servers(&redis.servers, &[]).has_problem("Redis", &["allkeys-lru", "noeviction"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_tables_and_missing_rights_are_named() {
    let Some(shared) = backends() else { return };
    let mysql = PrivateBackend::mysql(&shared);
    let it = with_servers(&mysql.servers, &[("GIMLET_STORAGE__MIGRATE", "false")]);
    it.has_problem("MySQL", &["migrations are missing", "gimlet migrate"]);

    let mut root = SqlConnection::connect(&mysql.servers.mysql).await;
    root.runs(
        "CREATE DATABASE reads_only; CREATE USER reader IDENTIFIED BY 'reads'; \
         GRANT SELECT ON reads_only.* TO reader",
    )
    .await;
    let host = mysql.servers.mysql.rsplit_once('@').unwrap().1;
    let host = host.split('/').next().unwrap();
    let reader = BackendAddresses {
        mysql: format!("mysql://reader:reads@{host}/reads_only"),
        redis: shared.redis.clone(),
    };
    let it = with_servers(&reader, &[]);
    it.has_problem("MySQL", &["GRANT INSERT, UPDATE, DELETE"]);
    it.has("warning", "MySQL", &["cannot change tables", "CREATE"]);
    let wrong = BackendAddresses {
        mysql: format!("mysql://reader:wrong@{host}/reads_only"),
        redis: shared.redis.clone(),
    };
    with_servers(&wrong, &[]).has_problem("MySQL", &["Access denied", "check the address"]);
}
