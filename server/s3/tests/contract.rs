//! The cases of storages on a real S3-compatible server, which checks signatures: `tests/s3/with`
//! starts one and names its address in `GIMLET_TEST_S3`.

use std::io;
use std::time::SystemTime;

use gimlet_files::{FileStorage as _, UploadFolder, testkit};
use gimlet_kit::backend::variable;
use gimlet_s3::{S3Settings, S3StartError, S3Storage};

fn settings(endpoint: &str) -> S3Settings {
    S3Settings {
        bucket: "gimlet".into(),
        endpoint: Some(endpoint.into()),
        region: "us-east-1".into(),
        access_key: "S3RVER".into(),
        secret_key: "S3RVER".into(),
        prefix: "files/".into(),
        in_host_name: false,
        allow_http: true,
        ca: None,
    }
}

/// Returns the server; without one the cases are left out, unless they are required.
fn server() -> Option<String> {
    let server = variable("GIMLET_TEST_S3");
    let is_required = variable("GIMLET_TEST_REQUIRE_BACKENDS").is_some_and(|it| it == "1");
    assert!(
        server.is_some() || !is_required,
        "GIMLET_TEST_S3 is not set: run it with tests/s3/with"
    );
    server
}

#[tokio::test]
async fn a_bucket_passes_the_cases_of_storages() {
    let Some(server) = server() else { return };
    let spool = UploadFolder::temporary();
    for prefix in ["", "files/", "a/b/"] {
        let settings = S3Settings {
            prefix: prefix.into(),
            ..settings(&server)
        };
        let storage = S3Storage::new(&settings).unwrap();
        testkit::check_storage(&storage, &spool).await;
    }
}

#[tokio::test]
async fn a_bucket_takes_files_from_clients() {
    let Some(server) = server() else { return };
    let settings = S3Settings {
        prefix: "direct/".into(),
        ..settings(&server)
    };
    let storage = S3Storage::new(&settings).unwrap();
    let tls = gimlet_outbound::client_tls(None).unwrap();
    let client = reqwest::Client::builder().use_preconfigured_tls(tls);
    let client = client.no_proxy().build().unwrap();
    let put = |address: String, content: Vec<u8>| {
        let sent = client.put(address).body(content).send();
        async move { sent.await.unwrap().status().as_u16() }
    };
    testkit::check_direct_uploads(&storage, put).await;
}

#[tokio::test]
async fn a_wrong_secret_or_bucket_is_an_error() {
    let Some(server) = server() else { return };
    let wrong_secret = S3Settings {
        secret_key: "wrong".into(),
        ..settings(&server)
    };
    let wrong_bucket = S3Settings {
        bucket: "nothing".into(),
        ..settings(&server)
    };
    for wrong in [wrong_secret, wrong_bucket] {
        let storage = S3Storage::new(&wrong).unwrap();
        let listed = storage.stored_before(SystemTime::UNIX_EPOCH, 1).await;
        let error = listed.unwrap_err().to_string();
        assert!(!error.contains("Signature="), "{error}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_an_error_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let storage = S3Storage::new(&settings(&endpoint)).unwrap();
    let error = storage.stored_before(SystemTime::UNIX_EPOCH, 1).await;
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::Other);
}

#[test]
fn a_prefix_that_is_not_one_is_refused() {
    for prefix in ["/files/", "files", "a//b/", "a/../b/", "a b/"] {
        let settings = S3Settings {
            prefix: prefix.into(),
            ..settings("http://127.0.0.1:9")
        };
        let refused = S3Storage::new(&settings);
        assert!(matches!(refused, Err(S3StartError::Prefix(_))), "{prefix}");
    }
}

#[test]
fn secrets_are_not_logged() {
    let settings = S3Settings {
        secret_key: "very-secret".into(),
        ..settings("http://127.0.0.1:9")
    };
    let storage = S3Storage::new(&settings).unwrap();
    let shown = format!("{settings:?} {storage:?}");
    assert!(!shown.contains("very-secret"), "{shown}");
}
