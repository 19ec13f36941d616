//! A server whose defaults all differ from the settings that gimlet needs.

use std::collections::HashMap;
use std::sync::Arc;

use gimlet_core::store::{AccountChange, AppendOutcome, IdScope, NewAccount, StoreSet};
use gimlet_core::time::{ManualClock, UnixTimestamp};
use gimlet_kit::backend::{BackendAddresses, PrivateBackend};
use gimlet_kit::database::{SqlConnection, database_url};
use gimlet_storage_mysql::{
    Config, SESSION_SETTINGS, ServerKinds as Have, migrate, open, open_lasting,
};

use crate::helpers::{append, contents, device, send, stored, user};

/// A global value for each session setting, as different as possible from the value that gimlet
/// sets.
const FLIPS: &[(&str, &str)] = &[
    ("autocommit", "0"),
    ("completion_type", "'RELEASE'"),
    (
        "sql_mode",
        "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'",
    ),
    ("time_zone", "'+05:00'"),
    ("foreign_key_checks", "0"),
    ("unique_checks", "0"),
    ("sql_select_limit", "1"),
    ("sql_safe_updates", "1"),
    ("sql_big_selects", "0"),
    ("sql_auto_is_null", "1"),
    ("innodb_lock_wait_timeout", "50"),
    ("lock_wait_timeout", "1000"),
    ("wait_timeout", "1"),
    ("net_read_timeout", "1"),
    ("net_write_timeout", "1"),
    ("default_storage_engine", "'Aria'"),
    ("max_statement_time", "0.0001"),
    ("idle_transaction_timeout", "1"),
    ("in_predicate_conversion_threshold", "2"),
    // Set by separate statements.
    ("tx_isolation", "'SERIALIZABLE'"),
    ("tx_read_only", "1"),
    ("collation_connection", "'latin1_german2_ci'"),
    ("character_set_client", "'latin1'"),
    ("character_set_results", "'latin1'"),
    (
        "init_connect",
        "'SET autocommit = 0, sql_select_limit = 1, NAMES latin1'",
    ),
    ("max_join_size", "1"),
];

/// Runs calls of each kind and returns their visible results.
async fn works(s: &StoreSet) -> Vec<String> {
    let mut seen = Vec::new();
    let first = send(&[1, 2], "first", Some("k"));
    seen.push(stored(&append(s, &first).await.unwrap()).to_string());
    for (n, to) in [(2, [1, 2, 3]), (3, [2, 3, 4])] {
        let text = format!("grüße {n} \\ ' \" || 🦀");
        seen.push(stored(&append(s, &send(&to, &text, None)).await.unwrap()).to_string());
    }
    let again = append(s, &first).await.unwrap();
    seen.push(matches!(again, AppendOutcome::Repeated { .. }).to_string());
    for of in 1..=4 {
        seen.push(contents(s, of).await.join(","));
    }
    seen.push(s.seq.reserve(IdScope::User, 7).await.unwrap().to_string());
    let new = NewAccount {
        user: user(9),
        phone: "+1".into(),
        at: UnixTimestamp(5),
    };
    s.account.find_or_create(&new).await.unwrap();
    s.account
        .put_token(user(9), device(9), &token(), false)
        .await
        .unwrap();
    s.account.revoke_token(user(9), device(9)).await.unwrap();
    let token = s.account.token(user(9), device(9)).await.unwrap();
    seen.push(format!("{token:?}"));
    s.inbox
        .trim(user(2), gimlet_core::seq::Seq::new(1))
        .await
        .unwrap();
    let heads = s
        .seq
        .heads(&[user(1), user(2), user(3), user(4)])
        .await
        .unwrap();
    seen.push(format!("{heads:?}"));
    // The last change is one statement without a transaction: no later statement commits it.
    let change = AccountChange {
        nickname: Some("Zoë 🦀".into()),
        ..AccountChange::default()
    };
    s.account
        .update(user(9), &change, UnixTimestamp(6))
        .await
        .unwrap();
    let accounts = s.account.get(&[user(9), user(10)]).await.unwrap();
    seen.push(format!("{:?}", accounts[0].nickname));
    seen
}

fn token() -> gimlet_core::store::TokenRecord {
    gimlet_core::store::TokenRecord {
        hash: [7; 32],
        expires_at: UnixTimestamp(i64::MAX),
    }
}

/// Creates a database on the private server.
async fn database(
    private: &PrivateBackend,
    servers: &BackendAddresses,
    admin: &mut SqlConnection,
) -> Config {
    let name = format!("gimlet_test_{:016x}", rand::random::<u64>());
    admin.runs(&format!("CREATE DATABASE {name}")).await;
    let mut config = Config::new(
        database_url(&private.servers.mysql, &name),
        servers.redis.clone(),
    );
    config.mysql.relaxed_durability = true;
    config.redis.prefix = format!("{name}:");
    config
}

async fn migrated_and_used(config: &Config) -> Vec<String> {
    migrate(&config.mysql).await.unwrap();
    let opened = open(config, Arc::new(ManualClock::default()))
        .await
        .unwrap();
    let seen = works(&opened.stores).await;
    opened.lasting.close().await;
    seen
}

pub(super) async fn no_default_of_a_server_changes_anything(servers: BackendAddresses) {
    for setting in SESSION_SETTINGS
        .iter()
        .filter(|it| it.servers != Have::Mysql)
    {
        let flipped = FLIPS.iter().any(|(name, _)| *name == setting.name);
        assert!(flipped, "{} is relied on but never flipped", setting.name);
    }
    let private = PrivateBackend::mysql_with(
        &servers,
        "--skip-log-bin --innodb-flush-log-at-trx-commit=0",
    );
    let mut admin = SqlConnection::connect(&private.servers.mysql).await;
    let config = database(&private, &servers, &mut admin).await;
    let wanted = migrated_and_used(&config).await;
    assert_eq!(wanted[0..4], ["1", "2", "3", "true"]);
    for (name, value) in FLIPS {
        let config = database(&private, &servers, &mut admin).await;
        let before = admin.value(&format!("SELECT @@GLOBAL.{name}")).await;
        admin.runs(&format!("SET GLOBAL {name} = {value}")).await;
        let seen = migrated_and_used(&config).await;
        assert_eq!(seen, wanted, "{name} = {value}");
        let number = before.parse::<f64>().is_ok();
        let before = if number {
            before
        } else {
            format!("'{before}'")
        };
        admin.runs(&format!("SET GLOBAL {name} = {before}")).await;
        // Answered changes are committed, and survive the end of the connections.
        let database = config
            .mysql
            .url
            .rsplit_once('/')
            .unwrap()
            .1
            .trim_end_matches('?');
        let name_of = format!("SELECT nickname FROM {database}.account WHERE user_id = 9");
        assert_eq!(admin.value(&name_of).await, "Zoë 🦀", "{name}");
        let engine = format!(
            "SELECT engine FROM information_schema.tables WHERE table_schema = '{database}' \
             AND table_name = '_sqlx_migrations'"
        );
        assert_eq!(admin.value(&engine).await, "InnoDB", "{name}");
    }
}

pub(super) async fn a_server_that_cannot_be_worked_with_is_refused_with_the_reason(
    servers: BackendAddresses,
) {
    let private = PrivateBackend::mysql_with(&servers, "--log-bin=b --server-id=1 --sync-binlog=1");
    let mut admin = SqlConnection::connect(&private.servers.mysql).await;
    let mut config = database(&private, &servers, &mut admin).await;
    config.mysql.relaxed_durability = false;
    migrate(&config.mysql).await.unwrap();
    let clock = Arc::new(ManualClock::default());
    let needs = HashMap::from([
        ("read_only", "1"),
        ("innodb_flush_log_at_trx_commit", "2"),
        ("sync_binlog", "0"),
        ("binlog_format", "'STATEMENT'"),
        ("max_allowed_packet", "65536"),
        ("max_prepared_stmt_count", "100"),
    ]);
    for (name, value) in needs {
        let before = admin.value(&format!("SELECT @@GLOBAL.{name}")).await;
        admin.runs(&format!("SET GLOBAL {name} = {value}")).await;
        let refused = open_lasting(&config.mysql, Arc::clone(&clock) as _).await;
        let text = refused.unwrap_err().to_string();
        assert!(text.contains(name), "{name}: {text}");
        // A migration prepares only a handful of statements.
        if name != "max_prepared_stmt_count" {
            let text = migrate(&config.mysql).await.unwrap_err().to_string();
            assert!(text.contains(name), "{name}: {text}");
        }
        let number = before.parse::<f64>().is_ok();
        let before = if number {
            before
        } else {
            format!("'{before}'")
        };
        admin.runs(&format!("SET GLOBAL {name} = {before}")).await;
        let opened = open_lasting(&config.mysql, Arc::clone(&clock) as _).await;
        opened.unwrap().close().await;
    }
}
