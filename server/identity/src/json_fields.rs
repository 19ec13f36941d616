//! Fields of JSON objects that others write: ids as texts or whole numbers, times in seconds.

use gimlet_core::time::UnixTimestamp;
use serde_json::{Map, Value};

/// A JSON object.
pub(crate) type JsonFields = Map<String, Value>;

/// Reads an object that has each field once: of two values, nobody could say which one is meant.
pub(crate) fn parse(text: &[u8]) -> Result<JsonFields, &'static str> {
    match gimlet_json::parse(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err("an object in JSON that has each field once"),
    }
}

/// Reads an id: a text of digits, or a whole number.
pub(crate) fn id(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    }
}

/// Reads a text; `Err` if the field is something else.
pub(crate) fn text<'a>(fields: &'a JsonFields, name: &str) -> Result<Option<&'a str>, ()> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(()),
    }
}

/// Reads a time in seconds since 1970, which may have a fraction; `Err` if the field is something
/// else.
pub(crate) fn time(fields: &JsonFields, name: &str) -> Result<Option<UnixTimestamp>, ()> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            let secs = number.as_i64().or_else(|| whole(number.as_f64()?));
            let secs = secs.ok_or(())?;
            Ok(Some(UnixTimestamp(secs.saturating_mul(1_000))))
        }
        Some(_) => Err(()),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast of a float saturates, and a fraction of a second does not count"
)]
fn whole(secs: f64) -> Option<i64> {
    secs.is_finite().then_some(secs as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_has_each_field_once() {
        assert!(parse(br#"{"accepted": true, "expires_in": 5}"#).is_ok());
        for wrong in [
            r#"{"accepted": false, "accepted": true}"#,
            r#"{"a": {"b": 1, "b": 1}}"#,
            "[]",
            "{",
        ] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids_are_texts_or_whole_numbers() {
        for (value, want) in [
            (json!("9007199254740993"), Some(9_007_199_254_740_993)),
            (json!(7), Some(7)),
            (json!(7.5), None),
            (json!(-7), None),
            (json!("-7"), None),
            (json!("+7"), None),
            (json!(""), None),
            (json!(" 7"), None),
            (json!("99999999999999999999"), None),
            (json!(true), None),
            (json!(null), None),
        ] {
            assert_eq!(id(&value), want, "{value}");
        }
    }

    #[test]
    fn times_are_seconds() {
        let read = |value| {
            let fields = JsonFields::from_iter([("exp".to_owned(), value)]);
            time(&fields, "exp").map(|it| it.map(|it| it.0))
        };
        assert_eq!(read(json!(5)), Ok(Some(5_000)));
        assert_eq!(read(json!(5.9)), Ok(Some(5_000)));
        assert_eq!(read(json!(1e300)), Ok(Some(i64::MAX)));
        assert_eq!(read(json!(u64::MAX)), Ok(Some(i64::MAX)));
        assert_eq!(read(json!(i64::MIN)), Ok(Some(i64::MIN)));
        assert_eq!(read(json!("5")), Err(()));
        assert_eq!(time(&JsonFields::new(), "exp"), Ok(None));
    }
}
