//! Conversion between core's types and the stored records. Apart from `verify`, ids are made from
//! stored integers only here. Messages are converted by `gimlet-record`.

use gimlet_core::id::{ApiKeyId, DeviceId, GroupId, MessageId, UserId};
use gimlet_core::time::UnixTimestamp;

use crate::error::EngineError;
use crate::key;

/// Converts a stored user id.
pub(crate) fn user(raw: u64) -> Result<UserId, EngineError> {
    UserId::new(raw).ok_or(EngineError::Corrupt("a user id is zero or too large"))
}

/// Converts a stored group id.
pub(crate) fn group(raw: u64) -> Result<GroupId, EngineError> {
    GroupId::new(raw).ok_or(EngineError::Corrupt("a group id is zero or too large"))
}

/// Converts a stored device id.
pub(crate) fn device(raw: u64) -> Result<DeviceId, EngineError> {
    DeviceId::new(raw).ok_or(EngineError::Corrupt("a device id is zero or too large"))
}

fn last(row: &[u8]) -> Result<u64, EngineError> {
    key::last_number(row).ok_or(EngineError::Corrupt("a key is too short"))
}

/// Returns the user that a key ends with.
pub(crate) fn key_user(row: &[u8]) -> Result<UserId, EngineError> {
    user(last(row)?)
}

/// Returns the group that a key ends with.
pub(crate) fn key_group(row: &[u8]) -> Result<GroupId, EngineError> {
    group(last(row)?)
}

/// Returns the device that a key ends with.
pub(crate) fn key_device(row: &[u8]) -> Result<DeviceId, EngineError> {
    device(last(row)?)
}

/// Returns the API key that a key ends with.
pub(crate) fn key_api_key(row: &[u8]) -> Result<ApiKeyId, EngineError> {
    ApiKeyId::new(last(row)?).ok_or(EngineError::Corrupt("an API key's id is zero or too large"))
}

/// Returns the number that a key ends with.
pub(crate) fn key_number(row: &[u8]) -> Result<u64, EngineError> {
    last(row)
}

/// Converts a stored message id.
pub(crate) fn message_id(raw: &[u8]) -> Result<MessageId, EngineError> {
    let raw = raw.try_into();
    raw.map(MessageId::from_bytes)
        .map_err(|_| EngineError::Corrupt("a message id is not 16 bytes"))
}

/// Converts a time to milliseconds since 1970.
pub(crate) const fn ms(time: UnixTimestamp) -> i64 {
    time.0
}
