//! `gimlet import gim`: a database with gim's tables is imported into sled and into MySQL, and a
//! client that kept its seq goes on.
#![cfg(all(unix, feature = "sled", feature = "mysql"))]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test should panic, its helpers too"
)]

mod gimlet_process;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gimlet_client::{ApiClient, DeviceCredentials};
use gimlet_kit::backend::BackendAddresses;
use gimlet_kit::database::{SqlConnection, TempDatabase};
use gimlet_kit::wire::{self, RawClient};
use gimlet_process::{GimletProcess, with_environment};
use gimlet_proto::pb;
use gimlet_proto::pb::logic_int_client::LogicIntClient;
use tempfile::TempDir;

/// Tables that every generation has, with the columns of `sql/create_table.sql` in gim's repository
/// (commit 71cbe02); indexes and comments are left out, except for the keys.
const SHARED_TABLES: &str = "
CREATE TABLE `device` (id bigint unsigned NOT NULL AUTO_INCREMENT, user_id bigint unsigned NOT NULL
  DEFAULT 0, type tinyint NOT NULL, brand varchar(20) NOT NULL, model varchar(20) NOT NULL,
  system_version varchar(10) NOT NULL, sdk_version varchar(10) NOT NULL, status tinyint NOT NULL DEFAULT 0,
  conn_addr varchar(25) NOT NULL DEFAULT '', client_addr varchar(25) NOT NULL DEFAULT '', @times, PRIMARY KEY (id));
CREATE TABLE `friend` (id bigint unsigned NOT NULL AUTO_INCREMENT, user_id bigint unsigned NOT NULL,
  friend_id bigint unsigned NOT NULL, remarks varchar(20) NOT NULL, extra varchar(1024) NOT NULL,
  status tinyint NOT NULL, @times, PRIMARY KEY (id), UNIQUE KEY (user_id, friend_id));
CREATE TABLE `group` (id bigint unsigned NOT NULL AUTO_INCREMENT, name varchar(50) NOT NULL,
  avatar_url varchar(255) NOT NULL, introduction varchar(255) NOT NULL, user_num int NOT NULL DEFAULT 0,
  extra varchar(1024) NOT NULL, @times, PRIMARY KEY (id));
CREATE TABLE `user` (id bigint unsigned NOT NULL AUTO_INCREMENT, phone_number varchar(20) NOT NULL,
  nickname varchar(20) NOT NULL, sex tinyint NOT NULL, avatar_url varchar(256) NOT NULL,
  extra varchar(1024) NOT NULL, @times, PRIMARY KEY (id), UNIQUE KEY (phone_number));
CREATE TABLE `seq` (id bigint unsigned NOT NULL AUTO_INCREMENT, object_type tinyint NOT NULL,
  object_id bigint unsigned NOT NULL, seq bigint unsigned NOT NULL, @times, PRIMARY KEY (id),
  UNIQUE KEY (object_type, object_id));
INSERT INTO user (id, phone_number, nickname, sex, avatar_url, extra) VALUES
  (1, '13800000001', 'Ada', 2, 'http://a/1.png', '{}'), (2, '13800000002', 'Bob', 1, '', ''),
  (3, '13800000003', 'Cem', 0, '', ''), (7, '13800000007', '大', 0, '', '');
INSERT INTO device (id, user_id, type, brand, model, system_version, sdk_version) VALUES
  (11, 1, 1, 'b', 'm', '1', '1.0'), (12, 0, 2, 'b', 'm', '1', '1.0');
INSERT INTO friend (user_id, friend_id, remarks, extra, status) VALUES
  (1, 2, 'Bobby', 'x', 1), (2, 1, 'Addi', '', 1), (3, 1, 'asks', '', 0), (7, 2, 'half', '', 1);
INSERT INTO `group` (id, name, avatar_url, introduction, extra) VALUES (5, 'us', '', 'intro', '');
INSERT INTO seq (object_type, object_id, seq) VALUES (1, 1, 6), (1, 2, 43), (1, 3, 9), (2, 1, 400);
";

/// Tables of gim 71cbe02 (2022) that later versions do not have.
const TABLES_2021: &str = "
CREATE TABLE `group_user` (id bigint unsigned NOT NULL AUTO_INCREMENT, group_id bigint unsigned NOT NULL,
  user_id bigint unsigned NOT NULL, member_type tinyint NOT NULL, remarks varchar(20) NOT NULL,
  extra varchar(1024) NOT NULL, status tinyint NOT NULL, @times, PRIMARY KEY (id), UNIQUE KEY (group_id, user_id));
CREATE TABLE `message_000` (id bigint unsigned NOT NULL AUTO_INCREMENT, user_id bigint unsigned NOT NULL,
  request_id bigint NOT NULL, sender_type tinyint NOT NULL, sender_id bigint unsigned NOT NULL,
  receiver_type tinyint NOT NULL, receiver_id bigint unsigned NOT NULL, to_user_ids varchar(255) NOT NULL,
  type tinyint NOT NULL, content blob NOT NULL, seq bigint unsigned NOT NULL,
  send_time datetime(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), status tinyint NOT NULL DEFAULT 0, @times,
  PRIMARY KEY (id), UNIQUE KEY (user_id, seq));
INSERT INTO group_user (group_id, user_id, member_type, remarks, extra, status) VALUES
  (5, 1, 1, '', '', 0), (5, 2, 2, 'B', 'y', 0);
INSERT INTO message_000 (user_id, request_id, sender_type, sender_id, receiver_type, receiver_id,
  to_user_ids, type, content, seq, send_time) VALUES
  (1, 0, 2, 1, 1, 2, '', 1, 'one', 1, '2022-05-01 08:00:00.001'),
  (1, 0, 2, 2, 1, 1, '', 1, 'two', 2, '2022-05-01 08:00:01.000'),
  (1, 7, 2, 2, 2, 5, '1', 1, 'four', 4, '2022-05-01 08:00:02.500'),
  (1, 0, 1, 0, 1, 1, '', 7, 'five', 5, '2022-05-01 08:00:03.000'),
  (2, 0, 2, 1, 1, 2, '', 1, 'old', 41, '2022-05-01 07:00:00.000'),
  (2, 0, 2, 1, 1, 2, '', 1, 'one', 42, '2022-05-01 08:00:00.001'),
  (2, 7, 2, 2, 2, 5, '1', 1, 'four', 43, '2022-05-01 08:00:02.500');
";

/// Rows that gim's defects and operators' hands leave behind.
const BROKEN_ROWS: &str = "
INSERT INTO message_000 (user_id, request_id, sender_type, sender_id, receiver_type, receiver_id,
  to_user_ids, type, content, seq) VALUES
  (99, 0, 2, 1, 1, 99, '', 1, 'to nobody', 1), (7, 0, 2, 1, 1, 7, '', 1, 'fine', 1),
  (7, 0, 2, 1, 1, 7, '', 77, 'no such type', 2), (7, 0, 2, 1, 1, 7, '', 1, 'fine again', 3);
INSERT INTO group_user (group_id, user_id, member_type, remarks, extra, status) VALUES
  (6, 1, 1, '', '', 0), (5, 98, 2, '', '', 0), (5, 7, 9, '', '', 0);
INSERT INTO friend (user_id, friend_id, remarks, extra, status) VALUES (1, 97, '', '', 1), (3, 2, '', '', 5);
";

/// Tables of gim 5134ea6 (2025).
const TABLES_2025: &str = "
CREATE TABLE `group_member` (group_id bigint unsigned NOT NULL, user_id bigint unsigned NOT NULL,
  nickname varchar(255) NOT NULL, type tinyint NOT NULL, status tinyint NOT NULL, extra varchar(1024) NOT NULL,
  @times, PRIMARY KEY (group_id, user_id));
CREATE TABLE `message` (id bigint unsigned NOT NULL AUTO_INCREMENT, request_id bigint NOT NULL,
  command int NOT NULL, content blob NOT NULL, @times, PRIMARY KEY (id));
CREATE TABLE `user_message` (user_id bigint unsigned NOT NULL, seq bigint unsigned NOT NULL,
  message_id bigint unsigned NOT NULL, @times, PRIMARY KEY (user_id, seq));
INSERT INTO group_member (group_id, user_id, nickname, type, status, extra) VALUES (5, 1, 'A', 0, 0, '');
INSERT INTO message (id, request_id, command, content) VALUES
  (2, 0, 1, X'0a040801100710021a026869'), (3, 0, 110, X'0801');
INSERT INTO user_message (user_id, seq, message_id) VALUES (1, 1, 2), (2, 43, 2), (1, 2, 3);
";

/// Returns the servers for tests, if there are some.
fn backends() -> Option<BackendAddresses> {
    let servers = BackendAddresses::of_environment();
    assert!(
        servers.is_some() || !BackendAddresses::are_required(),
        "GIMLET_TEST_MYSQL and GIMLET_TEST_REDIS must be set; run with tests/backends/with"
    );
    servers
}

/// Makes a database of gim.
async fn gim(servers: &BackendAddresses, times: [&str; 2], scripts: &[&str]) -> TempDatabase {
    let database = TempDatabase::new(&servers.mysql).await;
    let mut sql = SqlConnection::connect(&database.url).await;
    sql.runs(&format!(
        "ALTER DATABASE {} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        database.name
    ))
    .await;
    let times = times.map(|it| format!("{it} datetime NOT NULL DEFAULT '2022-05-01 08:00:00'"));
    for script in scripts {
        sql.runs(&script.replace("@times", &times.join(", "))).await;
    }
    database
}

const TIMES_2021: [&str; 2] = ["create_time", "update_time"];

/// A storage to import into, and its environment.
struct ImportTarget {
    env: Vec<(&'static str, String)>,
    dir: TempDir,
    database: Option<TempDatabase>,
}

impl ImportTarget {
    fn sled() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data").display().to_string();
        Self {
            env: vec![
                ("GIMLET_STORAGE__KIND", "sled".to_owned()),
                ("GIMLET_DATA_DIR", data),
            ],
            dir,
            database: None,
        }
    }

    async fn mysql(servers: &BackendAddresses) -> Self {
        let mut this = Self::sled();
        let database = TempDatabase::new(&servers.mysql).await;
        this.env.extend([
            ("GIMLET_STORAGE__KIND", "mysql".to_owned()),
            ("GIMLET_STORAGE__MYSQL_URL", database.url.clone()),
            ("GIMLET_STORAGE__REDIS_URL", servers.redis.clone()),
            (
                "GIMLET_STORAGE__REDIS_PREFIX",
                format!("{}:", database.name),
            ),
        ]);
        this.database = Some(database);
        this
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn env(&self) -> Vec<(&str, &str)> {
        self.env
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect()
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command: Command = with_environment(env!("CARGO_BIN_EXE_gimlet"), &self.env());
        command.args(args).output().unwrap()
    }

    /// Returns the JSON of a command that must succeed.
    fn json(&self, args: &[&str]) -> serde_json::Value {
        let output = self.run(args);
        let out = String::from_utf8(output.stdout).unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {out}{err}");
        serde_json::from_str(&out).unwrap()
    }

    /// Returns the error of a command that must fail.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {err}");
        err
    }
}

async fn sign_in(
    server: &GimletProcess,
    phone: &str,
    device_id: i64,
) -> (ApiClient, DeviceCredentials) {
    let api = ApiClient::new(&format!("http://{}", server.addr("grpc"))).unwrap();
    let signed_in = api.sign_in(phone, "000000", device_id).await.unwrap();
    assert!(!signed_in.is_new, "the user was imported");
    let who = DeviceCredentials {
        user_id: signed_in.user_id,
        device_id,
        token: signed_in.token,
    };
    (api.signed_in(who.clone()), who)
}

/// Connects as a client of gim, without gimlet's extension.
async fn connect(server: &GimletProcess, who: &DeviceCredentials) -> RawClient {
    let mut client = RawClient::tcp(server.addr("tcp").parse().unwrap())
        .await
        .unwrap();
    let data = wire::sign_in(who, 0);
    client
        .ask(pb::PackageType::PtSignIn, 1, &data)
        .await
        .unwrap();
    client
}

/// Returns the seq and the content of each message, fillers without content included.
fn texts(messages: &[pb::Message]) -> Vec<(i64, String)> {
    let text = |it: &pb::Message| String::from_utf8(it.message_content.to_vec()).unwrap();
    messages.iter().map(|it| (it.seq, text(it))).collect()
}

fn own(want: &[(i64, &str)]) -> Vec<(i64, String)> {
    want.iter()
        .map(|(seq, text)| (*seq, (*text).to_owned()))
        .collect()
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

/// Starts a server on an imported storage and goes on as gim's users.
async fn goes_on(target: &ImportTarget) {
    let (server, _) = GimletProcess::start(&target.env());
    // A client that kept seq 2 gets exactly what came later, with the seqs of gim.
    let (api, ada) = sign_in(&server, "13800000001", 11).await;
    assert_eq!(ada.user_id, 1);
    let mut client = connect(&server, &ada).await;
    let later = client.sync(2).await.unwrap();
    let want = own(&[(3, ""), (4, "four"), (5, "five"), (6, "")]);
    assert_eq!(texts(&later), want);
    let four = later.iter().find(|it| it.seq == 4).unwrap();
    assert_eq!(four.send_time, 1_651_392_002_500);
    assert_eq!((four.receiver_type, four.receiver_id), (2, 5));
    assert_eq!((four.message_type, &four.to_user_ids[..]), (1, &[1][..]));
    let sender = four.sender.as_ref().unwrap();
    assert_eq!((sender.sender_id, sender.nickname.as_str()), (2, "Bob"));
    let five = later.iter().find(|it| it.seq == 5).unwrap();
    assert_eq!(
        (five.message_type, five.sender.as_ref().unwrap().sender_type),
        (7, 1)
    );
    // One that is up to date gets nothing, and then the next message.
    assert!(client.sync(6).await.unwrap().is_empty());
    put(&server, 1, "seven").await;
    let push = client.next_push().await.unwrap();
    assert_eq!(texts(&[push]), own(&[(7, "seven")]));
    assert_eq!(texts(&client.sync(6).await.unwrap()), own(&[(7, "seven")]));

    // Entries that gim had removed stay removed, and the sequence numbers continue.
    let (bobs, bob) = sign_in(&server, "13800000002", 12).await;
    let mut client = connect(&server, &bob).await;
    let want = own(&[(41, "old"), (42, "one"), (43, "four")]);
    assert_eq!(texts(&client.sync(1).await.unwrap()), want);
    let page = client.sync(42).await.unwrap();
    assert_eq!(texts(&page), own(&[(43, "four")]));

    let friends = api.friends().await.unwrap();
    let [friend] = &friends[..] else {
        panic!("{friends:?}");
    };
    assert_eq!((friend.user_id, friend.remarks.as_str()), (2, "Bobby"));
    assert_eq!(
        (friend.extra.as_str(), friend.nickname.as_str()),
        ("x", "Bob")
    );
    let friends = bobs.friends().await.unwrap();
    let found: Vec<_> = friends
        .iter()
        .map(|it| (it.user_id, it.remarks.as_str()))
        .collect();
    assert_eq!(
        found,
        [(1, "Addi"), (7, "")],
        "the half friendship is whole"
    );
    // Cem's request can be accepted; that is the first message since gim removed all of his.
    api.agree(3).await.unwrap();
    let (_, cem) = sign_in(&server, "13800000003", 12).await;
    let mut client = connect(&server, &cem).await;
    let page = client.sync(9).await.unwrap();
    let seqs: Vec<i64> = page.iter().map(|it| it.seq).collect();
    assert_eq!(seqs, [10]);

    let groups = api.groups().await.unwrap();
    let [group] = &groups[..] else {
        panic!("{groups:?}");
    };
    assert_eq!((group.group_id, group.name.as_str()), (5, "us"));
    assert_eq!(group.introduction, "intro");
    let members = api.group_members(5).await.unwrap();
    let found: Vec<_> = members
        .iter()
        .map(|it| (it.user_id, it.member_type, it.remarks.as_str()))
        .collect();
    assert_eq!(found, [(1, 1, ""), (2, 2, "B")]);
    // New ids are not those of imported rows.
    assert!(api.create_group("new", &[2]).await.unwrap() > 5);
    let new = api.sign_in("13900000000", "000000", 12).await.unwrap();
    assert!(new.is_new && new.user_id > 7);
    server.signal("-TERM");
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

/// Imports into this storage, starts a server and checks the storage.
async fn imports_and_goes_on(gim: &TempDatabase, target: &ImportTarget) {
    let import = ["import", "gim", "--from", &gim.url, "--json"];
    let counts = target.json(&import);
    for (name, count) in [
        ("users", 4),
        ("devices", 2),
        ("friends", 4),
        ("groups", 1),
        ("members", 2),
        ("inboxes", 3),
        ("messages", 7),
        ("filled", 2),
        ("broken", 0),
    ] {
        assert_eq!(counts[name], count, "{name} of {counts}");
    }
    assert_eq!(counts["generation"], "2021-2022");
    let again = target.refused(&import);
    assert!(again.contains("empty"), "{again}");
    goes_on(target).await;
    let verified = target.json(&["verify", "--json"]);
    assert_eq!(verified["findings"], serde_json::json!([]), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_gim_goes_on_with_its_seq_on_sled() {
    let Some(servers) = backends() else { return };
    let gim = gim(&servers, TIMES_2021, &[SHARED_TABLES, TABLES_2021]).await;
    imports_and_goes_on(&gim, &ImportTarget::sled()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_gim_goes_on_with_its_seq_on_mysql() {
    let Some(servers) = backends() else { return };
    let gim = gim(&servers, TIMES_2021, &[SHARED_TABLES, TABLES_2021]).await;
    let target = ImportTarget::mysql(&servers).await;
    imports_and_goes_on(&gim, &target).await;
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_imported_are_refused_listed_and_left_out() {
    let Some(servers) = backends() else { return };
    let scripts = [SHARED_TABLES, TABLES_2021, BROKEN_ROWS];
    let gim = gim(&servers, TIMES_2021, &scripts).await;
    let report = tempfile::tempdir().unwrap();
    for target in [ImportTarget::sled(), ImportTarget::mysql(&servers).await] {
        let file = report.path().join(target.env.len().to_string());
        let file = file.to_str().unwrap();
        let import = ["import", "gim", "--from", &gim.url, "--report", file];
        let refused = target.refused(&import);
        assert!(
            refused.contains("7 rows cannot be imported, and nothing was written")
                && refused.contains("--skip-broken"),
            "{refused}"
        );
        assert!(
            !target.data().exists() || is_empty(&target.data()),
            "nothing was written"
        );
        let lines = std::fs::read_to_string(file).unwrap();
        for line in [
            "friend, user_id 1, friend_id 97: one of the two users does not exist",
            "friend, user_id 3, friend_id 2: its status 5 is not 0 or 1",
            "group_user, group_id 5, user_id 7: its role 9 is not 1 or 2",
            "group_user, group_id 5, user_id 98: its user 98 does not exist",
            "group_user, group_id 6, user_id 1: its group does not exist",
            "message_000, user_id 7, seq 2: its type 77 is not one of gim's message types",
            "message_000, user_id 99, seq 1: its user does not exist",
        ] {
            assert!(lines.lines().any(|it| it == line), "{line} in:\n{lines}");
        }
        assert_eq!(lines.lines().count(), 7, "{lines}");
        assert!(
            target.refused(&import).contains("cannot write"),
            "no report is overwritten"
        );

        let import = [
            "import",
            "gim",
            "--from",
            &gim.url,
            "--skip-broken",
            "--json",
        ];
        let counts = target.json(&import);
        assert_eq!(counts["broken"], 7);
        assert_eq!(counts["messages"], 9);
        let (server, _) = GimletProcess::start(&target.env());
        let (_, dan) = sign_in(&server, "13800000007", 12).await;
        let mut client = connect(&server, &dan).await;
        let all = client.sync(0).await.unwrap();
        assert_eq!(texts(&all), own(&[(1, "fine"), (2, ""), (3, "fine again")]));
        server.signal("-TERM");
        server.wait();
        let verified = target.json(&["verify", "--json"]);
        assert_eq!(verified["findings"], serde_json::json!([]), "{verified}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_of_2025_are_imported_and_unknown_ones_refused() {
    let Some(servers) = backends() else { return };
    let scripts = [SHARED_TABLES, TABLES_2025];
    let newer = gim(&servers, ["created_at", "updated_at"], &scripts).await;
    let target = ImportTarget::sled();
    let import = ["import", "gim", "--from", &newer.url, "--json"];
    let counts = target.json(&import);
    assert_eq!(counts["generation"], "2025");
    assert_eq!(counts["broken"], 0);
    let (server, _) = GimletProcess::start(&target.env());
    let (_, bob) = sign_in(&server, "13800000002", 12).await;
    let mut client = connect(&server, &bob).await;
    let messages = client.sync(42).await.unwrap();
    assert_eq!(texts(&messages), own(&[(43, "hi")]));
    let sender = messages[0].sender.as_ref().unwrap();
    assert_eq!(sender.sender_id, 1);
    server.signal("-TERM");
    server.wait();

    let empty = TempDatabase::new(&servers.mysql).await;
    let target = ImportTarget::sled();
    let refused = target.refused(&["import", "gim", "--from", &empty.url]);
    assert!(
        refused.contains("expected user (id, phone_number"),
        "{refused}"
    );
    assert!(!target.data().exists(), "a wrong address leaves no trace");
}

/// An import that was interrupted must not pass for a complete one.
#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_import_does_not_start() {
    let Some(servers) = backends() else { return };
    let target = ImportTarget::mysql(&servers).await;
    let migrated = target.run(&["migrate"]);
    assert_eq!(migrated.status.code(), Some(0));
    let url = &target
        .env
        .iter()
        .find(|(key, _)| *key == "GIMLET_STORAGE__MYSQL_URL")
        .unwrap()
        .1;
    let mut sql = SqlConnection::connect(url).await;
    sql.runs("INSERT INTO meta (name, value) VALUES ('importing', 1)")
        .await;
    let refused = target.refused(&["serve"]);
    assert!(refused.contains("unfinished import"), "{refused}");

    let target = ImportTarget::sled();
    std::fs::create_dir_all(target.data().join("restoring")).unwrap();
    for command in [&["serve"][..], &["verify"]] {
        let refused = target.refused(command);
        assert!(
            refused.contains("unfinished restore or import"),
            "{refused}"
        );
    }
}
