//! The document in docs/ is the one of this code.

use serde_json::Value;

#[test]
fn the_document_in_docs_is_current() {
    let written: Value = serde_json::from_str(include_str!("../../../docs/openapi.json"))
        .expect("docs/openapi.json is JSON");
    assert!(
        written == gimlet_http::openapi(),
        "docs/openapi.json is out of date: \
         cargo run -q -p gimlet-http --example openapi > docs/openapi.json"
    );
}
