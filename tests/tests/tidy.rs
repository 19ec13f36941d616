//! Rules of the repository that the compiler does not check.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken rule should panic"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gimlet_tests::source_code::rust_files;

/// Allowed dependencies between our crates. Every crate has an entry.
const EDGES: &[(&str, &[&str])] = &[
    ("gimlet-core", &[]),
    ("gimlet-proto", &[]),
    ("gimlet-record", &["gimlet-core", "gimlet-proto"]),
    (
        "gimlet-storage-sled",
        &["gimlet-core", "gimlet-proto", "gimlet-record"],
    ),
    ("gimlet-storage-mysql", &["gimlet-core", "gimlet-record"]),
    (
        "gimlet-cluster",
        &[
            "gimlet-core",
            "gimlet-listen",
            "gimlet-proto",
            "gimlet-record",
        ],
    ),
    ("gimlet-files", &["gimlet-core", "gimlet-images"]),
    ("gimlet-images", &[]),
    ("gimlet-import", &["gimlet-core", "gimlet-proto"]),
    (
        "gimlet-s3",
        &["gimlet-files", "gimlet-listen", "gimlet-outbound"],
    ),
    (
        "gimlet-web",
        &[
            "gimlet-core",
            "gimlet-files",
            "gimlet-http",
            "gimlet-listen",
            "gimlet-s3",
        ],
    ),
    (
        "gimlet-webhooks",
        &[
            "gimlet-core",
            "gimlet-files",
            "gimlet-json",
            "gimlet-outbound",
        ],
    ),
    (
        "gimlet-push",
        &["gimlet-core", "gimlet-json", "gimlet-outbound"],
    ),
    (
        "gimlet-grpc",
        &[
            "gimlet-cluster",
            "gimlet-core",
            "gimlet-listen",
            "gimlet-proto",
            "gimlet-transport",
        ],
    ),
    (
        "gimlet-identity",
        &["gimlet-core", "gimlet-json", "gimlet-outbound"],
    ),
    ("gimlet-listen", &["gimlet-core"]),
    ("gimlet-outbound", &["gimlet-listen"]),
    (
        "gimlet-transport",
        &[
            "gimlet-core",
            "gimlet-json",
            "gimlet-listen",
            "gimlet-proto",
        ],
    ),
    (
        "gimlet-transport-tcp",
        &["gimlet-listen", "gimlet-transport"],
    ),
    (
        "gimlet-transport-ws",
        &["gimlet-listen", "gimlet-transport"],
    ),
    (
        "gimlet-cli",
        &[
            "gimlet-chat",
            "gimlet-core",
            "gimlet-import",
            "gimlet-json",
            "gimlet-listen",
            "gimlet-outbound",
        ],
    ),
    ("gimlet-client", &["gimlet-proto"]),
    ("gimlet-json", &["gimlet-core", "gimlet-proto"]),
    (
        "gimlet-http",
        &["gimlet-core", "gimlet-files", "gimlet-json", "gimlet-proto"],
    ),
    ("gimlet-outbound", &["gimlet-listen"]),
    ("gimlet-chat", &["gimlet-client"]),
    ("gimlet-bench", &[]),
    ("gimlet-judge", &[]),
    ("gimlet-kit", &["gimlet-client", "gimlet-proto"]),
    (
        "gimlet-load",
        &["gimlet-client", "gimlet-judge", "gimlet-proto"],
    ),
    (
        "gimlet-server",
        &[
            "gimlet-cli",
            "gimlet-cluster",
            "gimlet-core",
            "gimlet-grpc",
            "gimlet-identity",
            "gimlet-listen",
            "gimlet-push",
            "gimlet-storage-mysql",
            "gimlet-storage-sled",
            "gimlet-transport",
            "gimlet-transport-tcp",
            "gimlet-transport-ws",
            "gimlet-web",
            "gimlet-webhooks",
        ],
    ),
    (
        "gimlet-tests",
        &[
            "gimlet-client",
            "gimlet-core",
            "gimlet-judge",
            "gimlet-kit",
            "gimlet-proto",
            "gimlet-server",
            "gimlet-storage-sled",
        ],
    ),
];

/// Largest number of direct dependencies of a crate: one with more has more than one task, and is split.
/// The server composes all others and has the most.
const MAX_DIRECT_DEPENDENCIES: usize = 25;

/// External crates that `core` must not depend on.
const NOT_IN_CORE: &[&str] = &[
    "sled",
    "sqlx",
    "redis",
    "prost",
    "tonic",
    "tokio-tungstenite",
];

/// Line count above which a file needs a line `//! Long because …` with the reason.
const LONG: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn manifests() -> BTreeMap<String, toml::Table> {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let workspace: toml::Table = text.parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    members
        .iter()
        .map(|member| {
            let path = root().join(member.as_str().unwrap()).join("Cargo.toml");
            let manifest: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
            (
                manifest["package"]["name"].as_str().unwrap().to_owned(),
                manifest,
            )
        })
        .collect()
}

fn dependencies(manifest: &toml::Table) -> Vec<String> {
    manifest.get("dependencies").map_or_else(Vec::new, |table| {
        table.as_table().unwrap().keys().cloned().collect()
    })
}

fn sources() -> Vec<(PathBuf, String)> {
    let files = rust_files().into_iter();
    files
        .map(|file| (root().join(file.path), file.text))
        .collect()
}

#[test]
fn who_may_know_whom() {
    let manifests = manifests();
    for (name, manifest) in &manifests {
        let entry = EDGES.iter().find(|(of, _)| of == name);
        let (_, allowed) = entry.unwrap_or_else(|| {
            panic!(
                "{name} has no entry in EDGES: name the crates of this workspace that it may use"
            )
        });
        for dependency in dependencies(manifest) {
            let ours = manifests.contains_key(&dependency);
            assert!(
                !ours || allowed.contains(&dependency.as_str()),
                "{name} must not depend on {dependency}; it may know {allowed:?}"
            );
        }
    }
    for (name, allowed) in EDGES {
        for named in [name].into_iter().chain(*allowed) {
            assert!(
                manifests.contains_key(*named),
                "EDGES names {named}, which is not a crate of this workspace"
            );
        }
    }
    for dependency in dependencies(&manifests["gimlet-core"]) {
        assert!(
            !NOT_IN_CORE.contains(&dependency.as_str()),
            "core must not know {dependency}"
        );
    }
}

#[test]
fn a_crate_has_some_twenty_direct_dependencies_at_most() {
    for (name, manifest) in manifests() {
        let direct = dependencies(&manifest).len();
        assert!(
            direct <= MAX_DIRECT_DEPENDENCIES,
            "{name} has {direct} direct dependencies; split it, or drop some"
        );
    }
}

#[test]
fn every_crate_keeps_the_workspace_lints() {
    for (name, manifest) in manifests() {
        let kept = manifest
            .get("lints")
            .and_then(|l| l.get("workspace")?.as_bool());
        assert_eq!(
            kept,
            Some(true),
            "{name} must have `[lints] workspace = true`"
        );
    }
}

#[test]
fn every_file_says_what_it_is_and_is_short_enough_to_read() {
    for (path, text) in sources() {
        let shown = path.display();
        assert!(
            text.starts_with("//!"),
            "{shown} must open with a `//!` line that says what it is"
        );
        let lines = text.lines().count();
        assert!(
            lines <= LONG || text.contains("//! Long because"),
            "{shown} has {lines} lines: split it, or say `//! Long because …`"
        );
    }
}

#[test]
fn unit_tests_of_a_file_are_in_it_or_in_a_file_named_tests() {
    for (path, _) in sources() {
        let shown = path.display().to_string();
        assert!(
            !shown.ends_with("_tests.rs"),
            "{shown}: the tests of x.rs belong in x.rs or in x/tests.rs"
        );
    }
}

#[test]
fn ids_are_made_from_wire_integers_only_where_the_wire_is_read() {
    for (path, text) in sources() {
        let shown = path.display().to_string();
        let reads_the_wire = [
            "transport/",
            "server/",
            "tests/",
            "core/src/id.rs",
            "core/src/seq.rs",
        ];
        if !reads_the_wire.iter().any(|place| shown.contains(place)) {
            assert!(
                !text.contains("::from_wire("),
                "{shown} must not read wire integers"
            );
        }
    }
}

/// Crates that translate between a protocol and the services of core.
const ENTRY_POINTS: &[&str] = &["server/grpc/src/", "server/web/src/", "transport/http/src/"];

/// A limit that one entry point enforced itself would be missing at the next one.
#[test]
fn entry_points_have_no_limits_of_callers_of_their_own() {
    let mut seen = 0;
    for file in rust_files() {
        if !ENTRY_POINTS.iter().any(|it| file.path.starts_with(it)) {
            continue;
        }
        seen += 1;
        let code = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        for limit in ["RateLimiter", "UploadQuota", "client_address("] {
            assert!(
                !code.contains(limit),
                "{} has {limit}: limits belong to a service of core or to gimlet-files, so that \
                 every entry point has them",
                file.path
            );
        }
    }
    assert!(seen > 20, "the search for entry points is broken");
}

/// A slice keeps the whole buffer that it was cut from alive.
#[test]
fn d9_content_enters_from_sockets_and_calls_by_a_copy_alone() {
    let made =
        |text: &str| text.contains(" MessageContent(") && !text.contains("struct MessageContent(");
    let mut copies = 0;
    for (path, text) in sources() {
        let shown = path.display().to_string();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let from_outside = [
            "transport/session/src/",
            "server/src/",
            "server/cluster/src/",
            "server/grpc/src/",
        ];
        let is_test = shown.ends_with("tests.rs") || shown.contains("/src/session/tests/");
        if from_outside.iter().any(|place| shown.contains(place)) && !is_test {
            assert!(!made(code), "{shown} must use Content::copied_from");
            assert!(
                !code.contains("::decode_shared("),
                "{shown} must copy what it decodes"
            );
            copies += code.matches("Content::copied_from(").count();
        }
    }
    assert!(
        copies >= 6,
        "{copies} places copy content; six places receive it"
    );
}

/// The test that provokes each close code.
const CLOSE_CODES: &[(&str, &str, &str)] = &[
    (
        "SHUTTING_DOWN",
        CLOSES,
        "a_server_that_stops_tells_its_clients_and_answers_what_is_under_way",
    ),
    (
        "IDLE",
        CLOSES,
        "any_packet_keeps_a_connection_and_silence_ends_it",
    ),
    (
        "SIGN_IN_TOO_LATE",
        CLOSES,
        "a_connection_without_a_sign_in_is_closed_after_ten_seconds",
    ),
    (
        "TOO_SLOW",
        CLOSES,
        "a11_who_takes_nothing_for_two_minutes_is_closed_and_loses_nothing",
    ),
    (
        "TOKEN_REVOKED",
        CLOSES,
        "a_disconnected_client_gets_the_reason_even_if_it_did_not_read",
    ),
    ("TOKEN_EXPIRED", CLOSES, "a_connection_ends_with_its_token"),
    (
        "DISCONNECTED",
        CLOSES,
        "nb8_a_client_disconnected_by_a_backend_gets_the_backends_reason",
    ),
    (
        "SUPERSEDED",
        CLOSES,
        "a_newer_connection_of_the_device_ends_the_older_one",
    ),
    (
        "FRAME_TOO_LARGE",
        CLOSES,
        "a_frame_over_the_limit_closes_and_says_so_to_who_can_hear_it",
    ),
    (
        "UNDECODABLE",
        CLOSES,
        "the_third_frame_that_is_no_packet_closes",
    ),
];
const CLOSES: &str = "transport/session/src/session/tests/close.rs";

#[test]
fn nb8_every_close_code_has_a_test_that_provokes_it() {
    let proto = root().join("proto/proto/pb/connect.ext.proto");
    let proto = fs::read_to_string(proto).unwrap();
    let names = proto.lines().filter_map(|line| {
        let (name, _) = line.trim().strip_prefix("CLOSE_CODE_")?.split_once(" = ")?;
        (name != "UNKNOWN").then_some(name)
    });
    let names: Vec<_> = names.collect();
    for name in &names {
        let row = CLOSE_CODES.iter().find(|(of, ..)| of == name);
        let (_, path, test) = row.unwrap_or_else(|| panic!("nothing provokes CLOSE_CODE_{name}"));
        let source = fs::read_to_string(root().join(path)).unwrap();
        assert!(
            source.contains(&format!("fn {test}(")),
            "{path} has no {test}"
        );
    }
    assert_eq!(names.len(), CLOSE_CODES.len(), "{names:?}");
}

#[test]
fn nothing_is_left_for_later() {
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["un", "implemented!("].concat(),
    ];
    let attributes = [["#[ig", "nore"].concat(), ["should_", "panic]"].concat()];
    for (path, text) in sources() {
        for word in words.iter().chain(&attributes) {
            assert!(
                !text.contains(word.as_str()),
                "{} has `{word}`",
                path.display()
            );
        }
    }
}
