//! Interrupted migrations, and checks of a whole schema.

use std::fmt::Write as _;

use gimlet_core::id::{DeviceId, GroupId, MAX_ID};
use gimlet_core::store::{
    AckMark, ApiKeyCreateOutcome, MemberRole, NewAccount, NewGroup, PushAddress, PushRegistration,
    StoreSet,
};
use gimlet_core::testkit::helpers::{API_KEY_BOUNDS, api_key};
use gimlet_core::time::UnixTimestamp;
use gimlet_core::verify::VerifyRule;
use gimlet_kit::backend::BackendAddresses;
use gimlet_storage_mysql::{OpenError, migrate, migration_statements, pending, verify};
use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection};

use crate::helpers::{append, send, stored, user};
use crate::support::TestDatabase;

async fn run(conn: &mut MySqlConnection, sql: &str) {
    let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    query.execute(conn).await.unwrap();
}

async fn beside(place: &TestDatabase) -> MySqlConnection {
    let conn = MySqlConnection::connect(&place.config.mysql.url).await;
    conn.unwrap()
}

/// Drops every table.
async fn clear(conn: &mut MySqlConnection) {
    let sql = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()";
    let tables = sqlx::query_scalar::<_, String>(sql).fetch_all(&mut *conn);
    for table in tables.await.unwrap() {
        run(conn, &format!("DROP TABLE `{table}`")).await;
    }
}

const APPLIED: &str = "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, \
     description TEXT NOT NULL, installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
     success BOOLEAN NOT NULL, checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)";

/// State that `kill -9` leaves after each statement: MySQL has committed the statements before it.
pub(super) async fn a_migration_interrupted_after_any_statement_is_repeated(
    servers: BackendAddresses,
) {
    let mut place = TestDatabase::new(&servers).await;
    let prefix = place.config.redis.prefix.clone();
    let mut conn = beside(&place).await;
    let all = migration_statements();
    let count: usize = all.iter().map(|(.., statements)| statements.len()).sum();
    for done in 0..=count {
        clear(&mut conn).await;
        // A database that is created again is another cluster, so it gets its own prefix in Redis.
        place.config.redis.prefix = format!("{prefix}{done}:");
        run(&mut conn, APPLIED).await;
        let mut left = done;
        for (version, checksum, statements) in &all {
            let mut hex = String::new();
            for byte in checksum {
                let _ = write!(hex, "{byte:02x}");
            }
            let begun = format!(
                "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
                 execution_time) VALUES ({version}, 'x', {}, X'{hex}', -1)",
                left > statements.len()
            );
            run(&mut conn, &begun).await;
            for statement in statements.iter().take(left) {
                run(&mut conn, statement).await;
            }
            if left <= statements.len() {
                break;
            }
            left -= statements.len();
        }
        assert!(
            pending(&place.config.mysql).await.unwrap() > 0,
            "after {done}"
        );
        migrate(&place.config.mysql)
            .await
            .unwrap_or_else(|error| panic!("after {done}: {error}"));
        assert_eq!(pending(&place.config.mysql).await.unwrap(), 0);
        let s = place.open().await.stores;
        assert_eq!(
            stored(&append(&s, &send(&[1], "hi", None)).await.unwrap()),
            1
        );
        assert_eq!(
            s.seq
                .reserve(gimlet_core::store::IdScope::User, 1)
                .await
                .unwrap(),
            1
        );
    }
}

/// `gimlet migrate` cannot mend these, so the errors must not lead back to it.
pub(super) async fn a_database_of_another_build_is_refused_by_the_migration(
    servers: BackendAddresses,
) {
    let place = TestDatabase::new(&servers).await;
    let mut conn = beside(&place).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
                 execution_time) VALUES (9999, 'x', TRUE, X'00', -1)";
    run(&mut conn, newer).await;
    let refused = migrate(&place.config.mysql).await.unwrap_err();
    assert!(
        matches!(refused, OpenError::Newer { version: 9999 }),
        "{refused}"
    );
    run(
        &mut conn,
        "DELETE FROM _sqlx_migrations WHERE version = 9999",
    )
    .await;
    run(
        &mut conn,
        "UPDATE _sqlx_migrations SET checksum = X'00' WHERE version = 1",
    )
    .await;
    let refused = migrate(&place.config.mysql).await.unwrap_err();
    assert!(
        matches!(refused, OpenError::Altered { version: 1 }),
        "{refused}"
    );
}

/// gim's own database has a table `device`: an existing table is not taken for gimlet's.
pub(super) async fn a_database_of_another_program_is_left_alone(servers: BackendAddresses) {
    let place = TestDatabase::new(&servers).await;
    let mut conn = beside(&place).await;
    clear(&mut conn).await;
    run(&mut conn, "CREATE TABLE device (id INT)").await;
    for _ in 0..2 {
        let refused = migrate(&place.config.mysql).await.unwrap_err();
        assert!(matches!(refused, OpenError::Foreign { .. }), "{refused}");
        assert!(refused.to_string().contains("device"), "{refused}");
    }
    let sql = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
               AND TABLE_NAME <> '_sqlx_migrations'";
    let tables = sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut conn);
    assert_eq!(tables.await.unwrap(), 1, "another table was created");
}

async fn fill(s: &StoreSet) {
    for n in 0..10 {
        stored(
            &append(
                s,
                &send(&[1, 2], &format!("pair {n}"), Some(&format!("a{n}"))),
            )
            .await
            .unwrap(),
        );
        stored(
            &append(s, &send(&[1, 2, 3], &format!("three {n}"), None))
                .await
                .unwrap(),
        );
    }
    s.inbox
        .trim(user(3), gimlet_core::seq::Seq::new(4))
        .await
        .unwrap();
    let at = UnixTimestamp(1);
    let device = DeviceId::new(7).unwrap();
    s.device.raise(&[(device, user(1))], at).await.unwrap();
    let upto = gimlet_core::seq::Seq::new(20);
    let ack = AckMark {
        user: user(1),
        device,
        upto,
    };
    s.device.ack(&[ack]).await.unwrap();
    let reserved = s
        .seq
        .reserve(gimlet_core::store::IdScope::User, 1)
        .await
        .unwrap();
    let new = NewAccount {
        user: user(reserved),
        phone: "138".into(),
        at,
    };
    s.account.find_or_create(&new).await.unwrap();
    let group = s
        .seq
        .reserve(gimlet_core::store::IdScope::Group, 1)
        .await
        .unwrap();
    let new = NewGroup {
        id: GroupId::new(group).unwrap(),
        name: "g".into(),
        avatar_url: String::new(),
        introduction: String::new(),
        extra: String::new(),
        members: vec![(user(1), MemberRole::Admin), (user(2), MemberRole::Member)],
        at,
    };
    s.group.create(&new, &[]).await.unwrap();
    for key in [api_key(5), api_key(MAX_ID)] {
        let created = s.api_key.create(&key, API_KEY_BOUNDS).await;
        assert_eq!(created.unwrap(), ApiKeyCreateOutcome::Created);
    }
    s.friend
        .request(user(1), user(2), "hi", &[], &[], at)
        .await
        .unwrap();
    s.friend
        .agree(user(2), user(1), "ho", &[], &[], at)
        .await
        .unwrap();
    for (on, address) in [
        (
            7,
            PushAddress::Fcm {
                token: "token".into(),
            },
        ),
        (
            8,
            PushAddress::WebPush {
                endpoint: "https://push.example.net/\u{e9}".into(),
                public_key: vec![4; 65],
                auth_secret: vec![0; 16],
            },
        ),
    ] {
        let registration = PushRegistration {
            device: DeviceId::new(on).unwrap(),
            address,
            shows_content: false,
            locale: String::new(),
            registered_at: at,
        };
        s.push_token.put(user(1), &registration, 9).await.unwrap();
    }
}

pub(super) async fn a_check_finds_each_planted_damage(servers: BackendAddresses) {
    const DAMAGES: &[(VerifyRule, &str)] = &[
        (
            VerifyRule::Contiguous,
            "DELETE FROM inbox WHERE user_id = 1 AND seq = 9",
        ),
        (
            VerifyRule::Contiguous,
            "UPDATE inbox_head SET seq = seq + 1 WHERE user_id = 1",
        ),
        (
            VerifyRule::Contiguous,
            "UPDATE inbox_head SET floor = 3 WHERE user_id = 1",
        ),
        (
            VerifyRule::Contiguous,
            "DELETE FROM inbox_head WHERE user_id = 1",
        ),
        (VerifyRule::Bodies, "DELETE FROM message LIMIT 1"),
        (
            VerifyRule::Bodies,
            "UPDATE message SET refs = refs + 1 LIMIT 1",
        ),
        (
            VerifyRule::Readable,
            "UPDATE message SET body = X'ff' LIMIT 1",
        ),
        (
            VerifyRule::Readable,
            "UPDATE inbox SET body = X'ff' WHERE user_id = 1 AND seq = 1",
        ),
        (
            VerifyRule::Readable,
            "INSERT INTO event_outbox (hook, created_at, record) VALUES ('a', 1, X'ff')",
        ),
        (VerifyRule::Acks, "UPDATE device_ack SET upto = 99"),
        (VerifyRule::Generations, "UPDATE device SET generation = 0"),
        (
            VerifyRule::Rosters,
            "DELETE FROM group_member WHERE user_id = 2",
        ),
        (VerifyRule::Rosters, "DELETE FROM group_info"),
        (VerifyRule::Friends, "DELETE FROM friend WHERE user_id = 2"),
        (
            VerifyRule::Counters,
            "UPDATE counter SET value = 0 WHERE scope = 3",
        ),
        (VerifyRule::Counters, "DELETE FROM counter WHERE scope = 2"),
        (
            VerifyRule::Jobs,
            "INSERT INTO fanout_part VALUES (9, 0, X'0000000000000001')",
        ),
        (
            VerifyRule::Jobs,
            "INSERT INTO fanout_job VALUES (9, 1, 0, REPEAT('x', 16), 1, 5)",
        ),
        (
            VerifyRule::PushTokens,
            "UPDATE push_token SET token = 'another'",
        ),
        (
            VerifyRule::Readable,
            "INSERT INTO api_key VALUES (7, REPEAT('x', 32), 'x', 'admin', 1, 0, 0, 0)",
        ),
        (VerifyRule::Epoch, "DELETE FROM meta WHERE name = 'epoch'"),
    ];
    for (rule, damage) in DAMAGES {
        let place = TestDatabase::new(&servers).await;
        let opened = place.open().await;
        fill(&opened.stores).await;
        // The check runs while the nodes do.
        let report = verify(&place.config.mysql, |_, _| {}).await.unwrap();
        assert!(report.is_sound(), "{:?}", report.findings);
        assert_eq!(report.checked.get("entries"), Some(&(20 + 20 + 6)));
        let mut conn = beside(&place).await;
        run(&mut conn, damage).await;
        let report = verify(&place.config.mysql, |_, _| {}).await.unwrap();
        assert!(
            report.findings.iter().any(|it| it.rule == *rule),
            "{damage}: {:?}",
            report.findings
        );
    }
}
