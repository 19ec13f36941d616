//! Values as text, and back.

use std::time::Duration;

use super::*;

#[test]
fn units_go_there_and_back() {
    for text in ["500ms", "10s", "11m", "2h", "7d", "1500ms", "0s"] {
        assert_eq!(duration::show(&duration::parse(text).unwrap()), text);
    }
    assert_eq!(duration::parse("60s"), Ok(Duration::from_mins(1)));
    for text in ["60KiB", "256MiB", "1GiB", "100B", "0B"] {
        assert_eq!(bytes::show(&bytes::parse::<u64>(text).unwrap()), text);
    }
    assert_eq!(bytes::parse::<usize>("1048576"), Ok(1 << 20));
}

#[test]
fn a_bad_value_gets_the_expected_form() {
    assert!(duration::parse("10").unwrap_err().contains("10s"));
    assert!(duration::parse("-1s").unwrap_err().contains("10s"));
    assert!(duration::parse("99999999999999999999s").is_err());
    assert!(
        duration::parse("9999999999999999999d")
            .unwrap_err()
            .contains("longer")
    );
    assert!(bytes::parse::<u64>("1 parsec").unwrap_err().contains("KiB"));
    assert!(addr::parse("8080").unwrap_err().contains("127.0.0.1:8080"));
    assert!(
        choice::parse::<StorageKind>("Sled")
            .unwrap_err()
            .contains("memory, sled")
    );
    assert!(verifier::parse("248163").unwrap_err().contains("fixed:"));
}

#[test]
fn a_password_is_masked_and_the_rest_of_its_address_is_not() {
    for (url, shown) in [
        (
            "mysql://root:pa@ss@db:3306/gimlet?ssl-mode=required",
            "mysql://root:***@db:3306/gimlet?ssl-mode=required",
        ),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:pass@h/1", "redis://:***@h/1"),
        (
            "mysql://root@localhost/gimlet",
            "mysql://root@localhost/gimlet",
        ),
        ("mysql://root:pa/ss@db/gimlet", "mysql://***@db/gimlet"),
        ("mysql://root:p@a/ss@db/gimlet", "mysql://***"),
        (
            "mysql://db/gimlet?password=pass",
            "mysql://db/gimlet?password=***",
        ),
        ("root:pass@db", "***"),
    ] {
        assert_eq!(password_masked(url), shown);
    }
    let two = secret_url::parse("redis://:pass@a,redis://:pass@b").unwrap();
    assert_eq!(secret_url::show(&two), "redis://:***@a,redis://:***@b");
    assert_eq!(secret_url::show(&None), "");
}

#[test]
fn addresses_may_be_names_of_loopback_and_lists() {
    assert_eq!(
        addr::parse("localhost:1").unwrap().unwrap().to_string(),
        "127.0.0.1:1"
    );
    assert_eq!(addr::parse("off").unwrap(), None);
    assert_eq!(addrs::parse("127.0.0.1:1, [::1]:2").unwrap().len(), 2);
    assert!(addrs::parse("").is_err());
}
