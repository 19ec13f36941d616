//! Fields of JSON objects.

use std::io;

use serde_json::Value;

use super::frames::untranslatable;

/// Returns a text of an object; an absent one is empty.
pub(super) fn text(object: &Value, name: &str) -> String {
    let text = object.get(name).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// Returns a part of an object; an absent one is null.
pub(super) fn part<'a>(object: &'a Value, name: &str) -> &'a Value {
    object.get(name).unwrap_or(&Value::Null)
}

/// Returns a number of an object; an absent one is 0.
pub(super) fn integer(object: &Value, name: &str) -> i64 {
    part(object, name).as_i64().unwrap_or_default()
}

/// Returns a truth value of an object; an absent one is false.
pub(super) fn flag(object: &Value, name: &str) -> bool {
    part(object, name).as_bool().unwrap_or_default()
}

/// Returns a number of 64 bits, which JSON has as a string; an absent one is 0.
pub(super) fn number(object: &Value, name: &str) -> io::Result<i64> {
    match object.get(name) {
        None => Ok(0),
        Some(value) => {
            let number = value.as_str().and_then(|it| it.parse::<u64>().ok());
            // Epochs have all 64 bits.
            number
                .map(u64::cast_signed)
                .ok_or_else(|| untranslatable(value))
        }
    }
}
