//! The document in docs/ is the one of this code.

use serde_json::Value;

#[test]
fn the_document_in_docs_is_current() {
    let written: Value = serde_json::from_str(include_str!("../../../docs/asyncapi.json"))
        .expect("docs/asyncapi.json is JSON");
    assert!(
        written == gimlet_transport::asyncapi(),
        "docs/asyncapi.json is out of date: \
         cargo run -q -p gimlet-transport --example asyncapi > docs/asyncapi.json"
    );
}
