//! Databases and rooms that earlier releases wrote.

use std::path::Path;

use bytes::Bytes;
use gimlet_core::id::RoomId;
use gimlet_core::page::PageLimit;
use gimlet_core::seq::Seq;
use gimlet_kit::backend::BackendAddresses;
use gimlet_storage_mysql::migrate;

use crate::said;
use crate::support::TestDatabase;

pub(super) async fn a_database_of_format_1_shows_what_was_stored(servers: BackendAddresses) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let dump = std::fs::read_to_string(root.join("tests/samples/format-1/mysql.sql")).unwrap();
    let place = TestDatabase::new(&servers).await;
    let (mut admin, name) = (place.admin().await, place.database.name.clone());
    // An empty database of that name: the dump makes the tables.
    admin.runs(&format!("DROP DATABASE {name}")).await;
    admin.runs(&format!("CREATE DATABASE {name}")).await;
    admin.runs(&format!("USE {name}")).await;
    admin.runs(&dump).await;
    let old = "SELECT COUNT(*) FROM (SELECT body FROM inbox UNION ALL SELECT body FROM message) all_bodies \
               WHERE LEFT(body, 1) = 0x01";
    let old: String = admin.value(&format!("SELECT CAST(({old}) AS CHAR)")).await;
    assert_eq!(old, "9", "records of format 1");
    migrate(&place.config.mysql).await.unwrap();
    let opened = place.open().await;
    said::check(&opened.stores).await;
}

/// A message that a node of format 1 kept in a room: "hi" of user 7 to room 5, sent by device 70.
const ROOM_ITEM_OF_FORMAT_1: &[u8] = b"\x01ABCDEFGHIJKLMNOP\
    \x01\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x46\x03\0\0\0\0\0\0\0\x05\
    \0\0\0\x01\0\0\x01\x81\x91\x4a\xb0\0\0\0\0\0\0\0\0\x02hi\
    \0\0\0\0\0\0\0\0\0\0\0\x04name\0\0\0\0\0\0\0\0";

pub(super) async fn a_room_shows_what_a_node_of_format_1_kept(servers: BackendAddresses) {
    let place = TestDatabase::new(&servers).await;
    let client = redis::Client::open(servers.redis.as_str()).unwrap();
    let mut conn = client.get_multiplexed_async_connection().await.unwrap();
    let key = |part: &str| format!("{}{{r:5}}:{part}", place.config.redis.prefix);
    let (seconds, _): (u64, u64) = redis::cmd("TIME").query_async(&mut conn).await.unwrap();
    let mut kept = redis::pipe();
    kept.hset_multiple(key("meta"), &[("stream", 9), ("head", 1), ("bytes", 200)])
        .rpush(key("marks"), format!("{}:200", seconds * 1_000));
    kept.cmd("XADD")
        .arg(key("kept"))
        .arg("1-0")
        .arg("m")
        .arg(ROOM_ITEM_OF_FORMAT_1);
    let (): () = kept.query_async(&mut conn).await.unwrap();
    let opened = place.open().await;
    let room = RoomId::new(5).unwrap();
    let page = opened
        .stores
        .room
        .history(room, Seq::ZERO, PageLimit::items(9));
    let page = page.await.unwrap();
    let [item] = page.items.as_slice() else {
        panic!("one message: {page:?}");
    };
    let (message, profile, _) = item.envelope.parts();
    assert_eq!(message.content.0, Bytes::from_static(b"hi"));
    assert_eq!((item.seq.get(), profile.nickname.as_str()), (1, "name"));
}
