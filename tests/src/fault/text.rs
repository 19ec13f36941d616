//! The texts of a load.

use gimlet_proto::pb;
use prost::Message as _;

/// Returns the content of a text message, as it is stored.
#[must_use]
pub fn text_bytes(text: &str) -> Vec<u8> {
    let text = text.to_owned();
    pb::Text { text }.encode_to_vec()
}
