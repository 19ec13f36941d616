//! Reading of a server's settings, and refusal of unsuitable servers.

use super::*;

fn with(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    let pairs = pairs.iter();
    pairs.map(|(k, v)| ((*k).into(), (*v).into())).collect()
}

fn judged(pairs: &[(&str, &str)], relaxed: bool) -> Result<ServerProperties, UnfitServer> {
    judge(&with(pairs), ConnectionPurpose::Work, relaxed)
}

#[test]
fn a_server_that_may_lose_commits_is_refused() {
    let flush = "innodb_flush_log_at_trx_commit";
    let durable = [(flush, "1"), ("log_bin", "ON"), ("sync_binlog", "1")];
    assert_eq!(judged(&durable, false).unwrap().packet, 4 << 20);
    // Without a binary log, its sync setting is irrelevant.
    let off = [(flush, "1"), ("log_bin", "OFF"), ("sync_binlog", "0")];
    assert!(judged(&off, false).is_ok());
    let lazy = [(flush, "2")];
    let text = judged(&lazy, false).unwrap_err().to_string();
    assert!(
        text.contains("set innodb_flush_log_at_trx_commit = 1"),
        "{text}"
    );
    assert!(judged(&lazy, true).is_ok());
    let binlog = [(flush, "1"), ("log_bin", "ON"), ("sync_binlog", "0")];
    let text = judged(&binlog, false).unwrap_err().to_string();
    assert!(text.contains("set sync_binlog = 1"), "{text}");
}

#[test]
fn a_server_that_takes_no_changes_is_refused() {
    for variable in [
        "read_only",
        "super_read_only",
        "innodb_read_only",
        "offline_mode",
    ] {
        assert!(judged(&[(variable, "OFF")], false).is_ok());
        for value in ["ON", "1", "NO_LOCK"] {
            let refused = judged(&[(variable, value)], false);
            assert!(
                matches!(refused, Err(UnfitServer::ReadOnly { .. })),
                "{variable} = {value}"
            );
        }
    }
}

#[test]
fn a_server_that_could_not_work_is_refused_with_what_to_do() {
    let text = judged(&[("max_allowed_packet", "65536")], true);
    assert!(text.unwrap_err().to_string().contains("max_allowed_packet"));
    let log = [
        ("log_bin", "ON"),
        ("sync_binlog", "1"),
        ("binlog_format", "STATEMENT"),
    ];
    let text = judged(&log, true).unwrap_err().to_string();
    assert!(text.contains("binlog_format = ROW"), "{text}");
}

#[test]
fn a_session_that_did_not_keep_a_setting_is_refused() {
    for setting in SESSION_SETTINGS {
        let kept = [(setting.name, setting.value)];
        assert!(judged(&kept, false).is_ok(), "{}", setting.name);
        let text = judged(&[(setting.name, "something else")], false);
        let text = text.unwrap_err().to_string();
        assert!(text.contains(setting.name), "{text}");
    }
    let spelled = [
        ("autocommit", "ON"),
        ("sql_mode", "NO_ENGINE_SUBSTITUTION,STRICT_ALL_TABLES"),
    ];
    assert!(judged(&spelled, false).is_ok());
    assert!(judged(&[("max_statement_time", "11.000000")], false).is_ok());
    assert!(judged(&[("tx_isolation", "REPEATABLE-READ")], false).is_err());
}

#[test]
fn equal_servers_behind_one_address_have_no_identity() {
    let one = [("hostname", "db-1"), ("port", "3306"), ("server_id", "1")];
    assert!(judged(&one, false).unwrap().identity.is_some());
    for several in [("version", "8.0.11-TiDB-v8.5"), ("wsrep_on", "ON")] {
        assert_eq!(judged(&[one[0], several], false).unwrap().identity, None);
    }
}
