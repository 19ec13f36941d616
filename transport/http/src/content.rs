//! Contents of messages; see `gimlet-json`.

pub(crate) use gimlet_json::JsonContent;
