//! The layers, their order, and the messages about mistakes.

use std::path::PathBuf;

use super::super::{StorageKind, TEMPLATE};
use super::*;

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn said(pairs: &[(&str, &str)]) -> String {
    Config::load(None, env(pairs)).unwrap_err().to_string()
}

#[test]
fn nothing_is_the_defaults() {
    let (config, notices) = Config::load(None, env(&[("PATH", "/bin"), ("HOME", "/")])).unwrap();
    assert!(config.is_development());
    assert!(notices.iter().any(|it| it.0.contains("development run")));
    let mut rest = config;
    rest.business.code_verifier = CodeVerifier::Unset;
    assert_eq!(rest, Config::default());
}

#[test]
fn with_any_configuration_the_verifier_must_be_named() {
    let needed = "business.code_verifier is not set";
    assert!(said(&[("GIMLET_LOG__LEVEL", "debug")]).contains(needed));
    assert!(said(&[("GIMLET_BUSINESS__CODE_VERIFIER", "")]).contains(needed));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gimlet.toml");
    std::fs::write(&file, "").unwrap();
    let error = Config::load(Some(&file), env(&[])).unwrap_err();
    assert!(error.to_string().contains(needed), "{error}");
    let named = env(&[("GIMLET_BUSINESS__CODE_VERIFIER", "dev")]);
    let (config, _) = Config::load(Some(&file), named).unwrap();
    assert!(config.is_development());
}

#[test]
fn the_environment_wins_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gimlet.toml");
    std::fs::write(
        &file,
        "data_dir = \"a\"\n[business]\ncode_verifier = \"dev\"\n[storage]\nkind = \"memory\"\n[listen]\ngrpc = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n",
    )
    .unwrap();
    let (config, _) = Config::load(Some(&file), env(&[("GIMLET_DATA_DIR", "b")])).unwrap();
    assert_eq!(config.data_dir, PathBuf::from("b"));
    assert_eq!(config.storage.kind, StorageKind::Memory);
    assert_eq!(config.listen.grpc.len(), 2);
}

#[test]
fn the_names_that_tests_outside_use_are_known() {
    let (config, _) = Config::load(
        None,
        env(&[
            ("GIMLET_DATA_DIR", "x"),
            ("GIMLET_ROLES", "connect,logic,business"),
            ("GIMLET_STORAGE__KIND", "memory"),
            ("GIMLET_STORAGE__MYSQL_URL", ""),
            ("GIMLET_STORAGE__REDIS_URL", ""),
            ("GIMLET_STORAGE__DURABILITY", "process"),
            ("GIMLET_LISTEN__TCP", "127.0.0.1:0"),
            ("GIMLET_LISTEN__WS", "127.0.0.1:0"),
            ("GIMLET_LISTEN__HTTP", "127.0.0.1:0"),
            ("GIMLET_LISTEN__GRPC", "127.0.0.1:0,127.0.0.1:0"),
            ("GIMLET_LISTEN__INTERNAL", "127.0.0.1:0"),
            ("GIMLET_LISTEN__OPS", "127.0.0.1:0"),
            ("GIMLET_BUSINESS__CODE_VERIFIER", "fixed:1"),
            ("GIMLET_HTTP__PUBLIC_URL", "http://files.example"),
            ("GIMLET_COMPAT__FIXED_TOKEN", "true"),
            ("GIMLET_TEST_MYSQL", "never configuration"),
        ]),
    )
    .unwrap();
    assert!(config.compat.fixed_token);
    assert_eq!(config.listen.grpc.len(), 2);
}

#[test]
fn a_misspelt_key_names_the_nearest() {
    assert_eq!(
        said(&[("GIMLET_LISTEN__TPC", "x")]),
        "bad configuration\n  unknown key GIMLET_LISTEN__TPC: did you mean GIMLET_LISTEN__TCP?"
    );
    assert!(said(&[("GIMLET_DATADIR", "x")]).contains("did you mean GIMLET_DATA_DIR?"));
    let twice = said(&[("GIMLET_GIMLET_DATA_DIR", "x")]);
    assert!(
        twice.contains("unknown key GIMLET_GIMLET_DATA_DIR"),
        "{twice}"
    );
    let mut config = Config::default();
    let error = config
        .apply_toml(Path::new("f"), "[listen]\ntpc = \"x\"")
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "bad configuration\n  unknown key listen.tpc: did you mean listen.tcp?"
    );
}

#[test]
fn a_bad_value_says_key_value_and_what_is_right() {
    let text = said(&[("GIMLET_LIMITS__IDLE", "eleven"), ("GIMLET_ROLES", "cook")]);
    assert!(text.contains("GIMLET_LIMITS__IDLE = \"eleven\" is not understood: write a number"));
    assert!(
        text.contains("GIMLET_ROLES = \"cook\""),
        "all are told at once"
    );
}

#[test]
fn a_file_that_is_missing_or_broken_is_named() {
    let missing = Config::load(Some(Path::new("/no/such/file.toml")), env(&[])).unwrap_err();
    assert!(
        missing
            .to_string()
            .contains("cannot read /no/such/file.toml")
    );
    let mut config = Config::default();
    let broken = config
        .apply_toml(Path::new("g.toml"), "a = = b")
        .unwrap_err()
        .to_string();
    assert!(broken.contains("g.toml is not valid TOML"), "{broken}");
}

#[test]
fn the_template_has_every_key_at_its_default() {
    let table: toml::Table = TEMPLATE.parse().unwrap();
    let written: Vec<_> = flatten(&table).into_iter().map(|(key, _)| key).collect();
    for setting in SETTINGS {
        assert!(
            written.iter().any(|key| key == setting.key),
            "{} is missing",
            setting.key
        );
    }
    let mut config = Config::default();
    config
        .apply_toml(Path::new("gimlet.toml"), TEMPLATE)
        .unwrap();
    if cfg!(all(feature = "sled", feature = "ws")) {
        assert_eq!(config, Config::default());
    }
}

#[test]
fn a_misspelt_secret_is_not_repeated() {
    let texts = [
        said(&[("GIMLET_BUSINESS__CODE_VERIFIER", "fixd:248163")]),
        from_file("[business]\ncode_verifier = \"fixd:248163\""),
        from_file("[cluster]\nsecret = 248163.5"),
        from_file("[cluster]\nsecret = \"248163"),
    ];
    for text in texts {
        assert!(!text.contains("248163"), "{text}");
    }
    assert!(from_file("[cluster]\nsecret = \"2").contains("line 2"));
}

#[test]
fn passwords_in_addresses_are_masked() {
    let mut config = Config::default();
    let text = "[business]\ncode_verifier = \"http://me:pass@host:1/a@b\"\n\
                [http]\npublic_url = \"https://you:pass@files\"";
    config.apply_toml(Path::new("x"), text).unwrap();
    let shown = config.masked();
    assert!(!shown.contains("pass"), "{shown}");
    assert!(
        shown.contains("http://***@host:1/a@b") && shown.contains("https://***@files"),
        "{shown}"
    );
}

fn from_file(text: &str) -> String {
    let wrong = Config::default().apply_toml(Path::new("x"), text);
    wrong.unwrap_err().to_string()
}
