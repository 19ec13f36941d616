//! Backups are made while sends run, restored under a new epoch, and checked. The check finds each
//! planted damage.
//!
//! Long because each damage is planted in the data of one fixture.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test should panic, its helpers too"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gimlet_core::events::{EventBody, EventHooks, HookName, HookTarget};
use gimlet_core::id::{DeviceId, GroupId, UserId};
use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_core::store::{
    AckMark, ApiKeyCreateOutcome, AppendOutcome, AppendRequest, DeviceInfo, IdScope,
    IdempotencyKey, MemberRole, NewAccount, NewGroup, OutboxRow, PushAddress, PushRegistration,
    StoreSet,
};
use gimlet_core::testkit::helpers::{self, API_KEY_BOUNDS, api_key, user};
use gimlet_core::time::{SystemClock, UnixTimestamp};
use gimlet_core::verify::{VerifyReport, VerifyRule};
use gimlet_storage_sled::{
    BackupError, BackupWriter, Config, OpenError, OpenStorage, RestoreSummary, export_closed, open,
    restore, verify,
};

fn config(dir: &Path) -> Config {
    Config {
        min_free: 0,
        ..Config::new(dir)
    }
}

fn opened(dir: &Path) -> OpenStorage {
    open(&config(dir), Arc::new(SystemClock)).unwrap()
}

fn send(to: &[u64], content: &str, key: Option<String>) -> AppendRequest {
    let recipients: Vec<UserId> = to.iter().map(|n| user(*n)).collect();
    AppendRequest {
        key: key.map(|id| IdempotencyKey {
            id: id.into_bytes(),
            digest: [1; 16],
            window: std::time::Duration::from_hours(1),
        }),
        hooks: EventHooks::new(vec![HookTarget::new(hook(), false)]),
        ..helpers::send(&recipients, content.to_owned())
    }
}

fn hook() -> HookName {
    HookName::new("hook").unwrap()
}

/// Returns the content of each event that waits.
async fn events(s: &StoreSet) -> Vec<String> {
    let page = s
        .outbox
        .read(&hook(), &[], PageLimit::items(usize::MAX))
        .await;
    let rows = page.unwrap().items.into_iter();
    let content = |row: OutboxRow| match row.event.unwrap().body {
        EventBody::Message { message, .. } => String::from_utf8(message.content.0.to_vec()),
        other => panic!("{other:?}"),
    };
    rows.map(|row| content(row).unwrap()).collect()
}

async fn put(s: &StoreSet, to: &[u64], content: &str) -> u64 {
    let batch = [send(to, content, Some(content.chars().take(60).collect()))];
    match &s.inbox.append(&batch).await.unwrap()[0] {
        AppendOutcome::Stored { seqs, .. } => seqs[0].1.get(),
        other => panic!("{other:?}"),
    }
}

async fn contents(s: &StoreSet, of: u64) -> Vec<String> {
    helpers::contents(s, user(of)).await
}

/// Stores a few rows of every kind that belongs to messages and devices.
async fn fill(s: &StoreSet) {
    for n in 0..20 {
        put(s, &[1, 2], &format!("pair {n}")).await;
        put(
            s,
            &[1, 2, 3, 4, 5],
            &format!("five {n} {}", "x".repeat(9_000)),
        )
        .await;
    }
    s.inbox.trim(user(5), Seq::new(7)).await.unwrap();
    let info = DeviceInfo {
        kind: 1,
        brand: "b".into(),
        model: "m".into(),
        system_version: "s".into(),
        sdk_version: "v".into(),
    };
    let device = DeviceId::new(s.seq.reserve(IdScope::Device, 1).await.unwrap());
    let device = device.unwrap();
    s.device
        .register(device, &info, UnixTimestamp(1))
        .await
        .unwrap();
    s.device
        .raise(&[(device, user(1))], UnixTimestamp(1))
        .await
        .unwrap();
    let ack = AckMark {
        user: user(1),
        device,
        upto: Seq::new(30),
    };
    s.device.ack(&[ack]).await.unwrap();
}

async fn close(opened: OpenStorage) {
    let health = opened.health.clone();
    drop(opened);
    health.closed().await;
}

/// Runs a tool, which blocks, on a thread of its own.
fn apart<T: Send>(tool: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(tool).join().unwrap())
}

/// Makes a backup of a directory that no process has open.
fn closed_backup(dir: &Path) -> Vec<u8> {
    apart(|| {
        let mut writer = BackupWriter::new(Vec::new()).unwrap();
        export_closed(&config(dir), &mut writer, |_| Ok(())).unwrap();
        writer.finish().unwrap()
    })
}

fn put_back(dir: &Path, backup: &[u8]) -> Result<RestoreSummary, BackupError> {
    apart(|| restore(&config(dir), backup, |_| Ok(())))
}

async fn check(dir: &Path) -> VerifyReport {
    let config = config(dir);
    let checked = tokio::task::spawn_blocking(move || verify(&config, |_| Ok(())));
    checked.await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_storage_in_use_is_one_moment_of_it() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    let storage = opened(&from);
    let s = storage.stores.clone();
    fill(&s).await;
    // Enough rows that the walk takes several steps.
    for n in 0..40 {
        put(&s, &[3], &format!("large {n} {}", "x".repeat(60_000))).await;
    }
    let before = contents(&s, 1).await.len();
    let stored = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    // These senders write all the time, both behind and ahead of the walk.
    let senders: Vec<_> = (0..4_u64)
        .map(|n| {
            let (s, stop, stored) = (s.clone(), Arc::clone(&stop), Arc::clone(&stored));
            #[expect(clippy::disallowed_methods, reason = "a test's own task")]
            tokio::spawn(async move {
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    sent += 1;
                    put(&s, &[1, 2, 10 + n], &format!("{n}: {sent}")).await;
                    stored.fetch_add(1, Ordering::Relaxed);
                    if sent % 10 == 0 {
                        s.inbox
                            .trim(user(10 + n), Seq::new(sent / 2))
                            .await
                            .unwrap();
                    }
                }
                sent
            })
        })
        .collect();
    let exporter = storage.exporter();
    let (mut backups, mut meanwhile) = (Vec::new(), 0);
    for _ in 0..3 {
        let (exporter, stored) = (exporter.clone(), Arc::clone(&stored));
        let backup = tokio::task::spawn_blocking(move || {
            let mut writer = BackupWriter::new(Vec::new()).unwrap();
            let counts = exporter.export(&mut writer, |_| {
                // Wait until the senders have stored something between two steps.
                let enough = stored.load(Ordering::Relaxed) + 20;
                while stored.load(Ordering::Relaxed) < enough {
                    std::thread::yield_now();
                }
                Ok(())
            });
            let counts = counts.unwrap();
            (writer.finish().unwrap(), counts.commits)
        });
        let (backup, commits) = backup.await.unwrap();
        backups.push(backup);
        meanwhile += commits;
    }
    stop.store(true, Ordering::Relaxed);
    let mut sent = BTreeMap::new();
    for (n, sender) in senders.into_iter().enumerate() {
        sent.insert(n as u64, sender.await.unwrap());
    }
    let epoch = storage.epoch;
    drop(s);
    close(storage).await;
    assert!(meanwhile > 0, "nothing was stored while it was backed up");
    assert!(check(&from).await.is_sound());
    for (at, backup) in backups.iter().enumerate() {
        let _ = std::fs::remove_dir_all(&to);
        let restored = put_back(&to, backup).unwrap();
        assert_ne!(
            restored.epoch, epoch,
            "a restored history has a name of its own"
        );
        let report = check(&to).await;
        assert!(report.is_sound(), "backup {at}: {:?}", report.findings);
        let again = opened(&to);
        assert_eq!(again.epoch, restored.epoch);
        let got = contents(&again.stores, 1).await;
        assert!(got.len() >= before, "what was answered before is in it");
        // One moment: the sends of each sender are a prefix, without a hole.
        let mut next: BTreeMap<u64, u64> = BTreeMap::new();
        for text in got.iter().skip(before) {
            let (n, k) = text.split_once(": ").unwrap();
            let last = next.entry(n.parse().unwrap()).or_default();
            *last += 1;
            assert_eq!(k.parse::<u64>().unwrap(), *last, "backup {at}");
        }
        assert!(next.iter().all(|(n, last)| last <= &sent[n]));
        assert_eq!(
            got,
            contents(&again.stores, 2).await,
            "both inboxes are of the same moment"
        );
        let mut events = events(&again.stores).await;
        events.retain(|it| !it.starts_with("large"));
        assert_eq!(events, got, "and so are the events");
        close(again).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_complete_or_absent_and_needs_an_empty_directory() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    let storage = opened(&from);
    fill(&storage.stores).await;
    close(storage).await;
    let backup = closed_backup(&from);
    for length in [0, 10, backup.len() / 2, backup.len() - 1] {
        let cut = put_back(&to, &backup[..length]).unwrap_err();
        assert!(matches!(cut, BackupError::Damaged(_)), "{cut}");
        assert_eq!(
            std::fs::read_dir(&to).unwrap().count(),
            0,
            "nothing is left of it"
        );
    }
    let mut flipped = backup.clone();
    flipped[backup.len() / 3] ^= 4;
    assert!(put_back(&to, &flipped).is_err());
    let given_up = apart(|| {
        restore(&config(&to), backup.as_slice(), |_| {
            Err(std::io::Error::other("enough"))
        })
    });
    assert!(given_up.unwrap_err().to_string().contains("enough"));
    put_back(&to, &backup).unwrap();
    let twice = put_back(&to, &backup).unwrap_err();
    assert!(matches!(twice, BackupError::NotEmpty { .. }), "{twice}");
    let again = opened(&to);
    assert_eq!(contents(&again.stores, 1).await.len(), 40);
    // It continues like any other storage.
    assert_eq!(put(&again.stores, &[1], "on").await, 41);
    close(again).await;
}

/// A restore that was killed at any step leaves a directory that does not open.
///
/// Regression: before `db` was moved, the directory passed for a new one, and the server started
/// with an empty storage.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_cut_short_does_not_open() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    let storage = opened(&from);
    fill(&storage.stores).await;
    close(storage).await;
    let backup = closed_backup(&from);
    put_back(&to, &backup).unwrap();
    // What the last opening of the restore adds is not there yet.
    for name in ["FORMAT", "LOCK", "STAMP", "RESERVE"] {
        let _ = std::fs::remove_file(to.join(name));
    }
    // The state before the last step: everything has moved except that `FORMAT` is missing.
    let refused = open(&config(&to), Arc::new(SystemClock)).unwrap_err();
    assert!(refused.to_string().contains("FORMAT"), "{refused}");
    // The states before it, backwards: one entry after the other is still in the draft. The order
    // of the moves is that of the file system, so `db` comes last here, and first below.
    let mut names: Vec<_> = std::fs::read_dir(&to).unwrap().collect();
    names.retain(|it| it.as_ref().unwrap().file_name() != "LOCK");
    let mut names: Vec<_> = names
        .into_iter()
        .map(|it| it.unwrap().file_name())
        .collect();
    names.sort_by_key(|it| it == "db");
    let draft = to.join("restoring");
    std::fs::create_dir(&draft).unwrap();
    let refused = || {
        let refused = open(&config(&to), Arc::new(SystemClock)).unwrap_err();
        assert!(matches!(refused, OpenError::Unfinished { .. }), "{refused}");
        let text = refused.to_string();
        assert!(
            text.contains("remove the directory and run it again"),
            "{text}"
        );
    };
    refused();
    for name in &names {
        std::fs::rename(to.join(name), draft.join(name)).unwrap();
        refused();
    }
    // Now all is in the draft: the state in which nothing has moved. Then `db` moves first.
    names.reverse();
    for name in &names {
        std::fs::rename(draft.join(name), to.join(name)).unwrap();
        refused();
    }
}

/// Changes rows of the closed directory by hand.
fn plant(dir: &Path, damage: impl FnOnce(&sled::Db)) {
    let db = sled::Config::new()
        .path(dir)
        .flush_every_ms(None)
        .open()
        .unwrap();
    damage(&db);
    db.flush().unwrap();
}

fn key(prefix: u8, numbers: &[u64]) -> Vec<u8> {
    let mut key = vec![prefix];
    for number in numbers {
        key.extend_from_slice(&number.to_be_bytes());
    }
    key
}

/// Builds a row of one number in the encoding of `gimlet.store.v1`: field 1, a varint below 128.
fn number(value: u8) -> Vec<u8> {
    vec![0, 8, value]
}

/// A damage: its description, the rule that must find it, and the function that plants it.
type PlantedDamage = (&'static str, VerifyRule, fn(&sled::Db));
const DAMAGES: &[PlantedDamage] = &[
    ("a hole in an inbox", VerifyRule::Contiguous, |db| {
        db.remove(key(b'E', &[1, 9])).unwrap().unwrap();
    }),
    (
        "a floor above its first entry",
        VerifyRule::Contiguous,
        |db| {
            db.insert(key(b'H', &[1]), number(3)).unwrap();
        },
    ),
    ("an entry that cannot be read", VerifyRule::Readable, |db| {
        db.insert(key(b'E', &[1, 9]), vec![0, 0xff, 0xff]).unwrap();
    }),
    ("a body that is missing", VerifyRule::Bodies, |db| {
        let row = db.scan_prefix(b"B").next().unwrap().unwrap();
        db.remove(row.0).unwrap();
    }),
    ("references that are wrong", VerifyRule::Bodies, |db| {
        let row = db.scan_prefix(b"R").next().unwrap().unwrap();
        db.insert(row.0, number(99)).unwrap();
    }),
    ("an event that cannot be read", VerifyRule::Readable, |db| {
        let row = db.scan_prefix(b"e").next().unwrap().unwrap();
        db.insert(row.0, vec![0, 0xff, 0xff]).unwrap();
    }),
    (
        "a counter of events that went back",
        VerifyRule::Counters,
        |db| {
            db.insert([b'C', 6], vec![0]).unwrap();
        },
    ),
    ("a value that is cut off", VerifyRule::Readable, |db| {
        let row = db.scan_prefix(b"Z").next().unwrap().unwrap();
        db.remove(row.0).unwrap();
    }),
    ("a chunk without its value", VerifyRule::Readable, |db| {
        let of = [key(b'Z', &[]), key(b'E', &[1, 1]), vec![0, 0, 0, 7]].concat();
        db.insert(of, vec![1]).unwrap();
    }),
    ("an ack above its head", VerifyRule::Acks, |db| {
        db.insert(key(b'S', &[1, 77]), number(99)).unwrap();
    }),
    ("a key without a complete answer", VerifyRule::Keys, |db| {
        db.insert(b"Kclient".as_slice(), vec![0]).unwrap();
    }),
    (
        "a member that is not in the index",
        VerifyRule::Rosters,
        |db| {
            let row = db.scan_prefix(b"U").next().unwrap().unwrap();
            db.remove(row.0).unwrap();
        },
    ),
    ("a member too few", VerifyRule::Rosters, |db| {
        let row = db.scan_prefix(b"M").next().unwrap().unwrap();
        db.remove(row.0).unwrap();
    }),
    ("a friendship of one side", VerifyRule::Friends, |db| {
        let row = db.scan_prefix(b"F").next().unwrap().unwrap();
        db.remove(row.0).unwrap();
    }),
    (
        "a push address of another owner",
        VerifyRule::PushTokens,
        |db| {
            let row = db.scan_prefix(b"q").next().unwrap().unwrap();
            db.insert(row.0, number(2)).unwrap();
        },
    ),
    (
        "an owner without a push address",
        VerifyRule::PushTokens,
        |db| {
            let row = db.scan_prefix(b"p").next().unwrap().unwrap();
            db.remove(row.0).unwrap();
        },
    ),
    (
        "a phone number that leads elsewhere",
        VerifyRule::Accounts,
        |db| {
            let row = db.scan_prefix(b"P").next().unwrap().unwrap();
            db.insert(row.0, number(99)).unwrap();
        },
    ),
    (
        "a nickname without an account",
        VerifyRule::Accounts,
        |db| {
            let row = db.scan_prefix(b"A").next().unwrap().unwrap();
            db.remove(row.0).unwrap();
        },
    ),
    (
        "a counter of users that went back",
        VerifyRule::Counters,
        |db| {
            db.insert([b'C', 1], vec![0]).unwrap();
        },
    ),
    (
        "a counter of groups that went back",
        VerifyRule::Counters,
        |db| {
            db.insert([b'C', 3], vec![0]).unwrap();
        },
    ),
    (
        "a counter of bodies that went back",
        VerifyRule::Counters,
        |db| {
            db.insert([b'C', 4], vec![0]).unwrap();
        },
    ),
    (
        "a counter of jobs that went back",
        VerifyRule::Counters,
        |db| {
            db.insert(key(b'J', &[8]), vec![0]).unwrap();
            db.insert([b'C', 5], number(7)).unwrap();
        },
    ),
    (
        "a body above its counter that is missing",
        VerifyRule::Bodies,
        |db| {
            db.insert([b'C', 4], vec![0]).unwrap();
            let row = db.scan_prefix(b"B").next_back().unwrap().unwrap();
            db.remove(row.0).unwrap();
        },
    ),
    (
        "a body that is missing with its references",
        VerifyRule::Bodies,
        |db| {
            for prefix in [b"B", b"R"] {
                let row = db.scan_prefix(prefix).next_back().unwrap().unwrap();
                db.remove(row.0).unwrap();
            }
        },
    ),
    (
        "a device that signed in without a generation",
        VerifyRule::Generations,
        |db| {
            // Field 7 is the user.
            db.insert(key(b'D', &[500]), vec![0, 0x38, 1]).unwrap();
        },
    ),
    ("a job that is listed and missing", VerifyRule::Jobs, |db| {
        db.insert(key(b'O', &[1, 8]), vec![0]).unwrap();
    }),
    ("recipients without a job", VerifyRule::Jobs, |db| {
        let of = [key(b'L', &[8]), vec![0, 0, 0, 0]].concat();
        db.insert(of, vec![0]).unwrap();
    }),
    ("a store without an epoch", VerifyRule::Epoch, |db| {
        // Field 1 is the format; field 2, the epoch, is missing.
        db.insert(b"V".as_slice(), vec![0, 8, 2]).unwrap();
    }),
    ("an API key without its hash", VerifyRule::Readable, |db| {
        db.insert(key(b'k', &[7]), vec![0]).unwrap();
    }),
    ("a row of an unknown kind", VerifyRule::Readable, |db| {
        db.insert(b"!what".as_slice(), vec![0]).unwrap();
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_each_planted_damage() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("from");
    let storage = opened(&from);
    fill(&storage.stores).await;
    fill_people(&storage.stores).await;
    close(storage).await;
    assert!(
        check(&from).await.is_sound(),
        "{:?}",
        check(&from).await.findings
    );
    let backup = closed_backup(&from);
    for (what, rule, damage) in DAMAGES {
        let dir = place.path().join("damaged");
        let _ = std::fs::remove_dir_all(&dir);
        put_back(&dir, &backup).unwrap();
        plant(&dir, damage);
        let report = check(&dir).await;
        assert!(
            report.findings.iter().any(|it| it.rule == *rule),
            "{what}: {:?}",
            report.findings
        );
    }
}

/// A check reads what is stored, however far a counter has gone: numbers may be skipped.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_ends_if_a_counter_is_far_ahead() {
    let place = tempfile::tempdir().unwrap();
    let storage = opened(place.path());
    fill(&storage.stores).await;
    close(storage).await;
    plant(place.path(), |db| {
        // A varint of 62 bits.
        let far = [&[0, 8][..], &[0xff; 8], &[0x3f]].concat();
        db.insert([b'C', 4], far).unwrap();
    });
    let report = check(place.path()).await;
    assert!(report.is_sound(), "{:?}", report.findings);
}

/// Stores groups, friends, accounts, API keys and a push address.
async fn fill_people(s: &StoreSet) {
    let created = s.api_key.create(&api_key(5), API_KEY_BOUNDS).await;
    assert_eq!(created.unwrap(), ApiKeyCreateOutcome::Created);
    for n in 1..=3 {
        let reserved = s.seq.reserve(IdScope::User, 1).await.unwrap();
        let new = NewAccount {
            user: user(reserved),
            phone: format!("1380000000{n}"),
            at: UnixTimestamp(1),
        };
        s.account.find_or_create(&new).await.unwrap();
    }
    let group = GroupId::new(s.seq.reserve(IdScope::Group, 1).await.unwrap());
    let new = NewGroup {
        id: group.unwrap(),
        name: "g".into(),
        avatar_url: String::new(),
        introduction: String::new(),
        extra: String::new(),
        members: vec![(user(1), MemberRole::Admin), (user(2), MemberRole::Member)],
        at: UnixTimestamp(1),
    };
    s.group.create(&new, &[]).await.unwrap();
    let at = UnixTimestamp(1);
    s.friend
        .request(user(1), user(2), "hi", &[], &[], at)
        .await
        .unwrap();
    s.friend
        .agree(user(2), user(1), "ho", &[], &[], at)
        .await
        .unwrap();
    s.friend
        .request(user(1), user(3), "hi", &[], &[], at)
        .await
        .unwrap();
    let registration = PushRegistration {
        device: DeviceId::new(77).unwrap(),
        address: PushAddress::Fcm {
            token: "token".into(),
        },
        shows_content: false,
        locale: String::new(),
        registered_at: at,
    };
    s.push_token.put(user(1), &registration, 9).await.unwrap();
}
