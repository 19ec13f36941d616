//! The plain types of the API: texts, numbers, ids, lists.

use gimlet_core::id::{DeviceId, GroupId, MAX_ID, RoomId, UserId};
use gimlet_core::seq::Seq;
use serde_json::{Value, json};

use crate::declaration::{JsonType, SchemaDefinitions, ValueSource, WrongValue};

/// The largest integer that a JavaScript number represents exactly.
pub const MAX_SAFE_NUMBER: u64 = (1 << 53) - 1;

impl<T: JsonType> JsonType for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const IS_OPTIONAL: bool = true;

    fn schema(definitions: &mut SchemaDefinitions) -> Value {
        T::schema(definitions)
    }

    fn read(value: Value, source: ValueSource) -> Result<Self, WrongValue> {
        if value.is_null() {
            return Ok(None);
        }
        T::read(value, source).map(Some)
    }

    fn absent() -> Result<Self, WrongValue> {
        Ok(None)
    }

    fn write(&self) -> Option<Value> {
        self.as_ref().and_then(T::write)
    }
}

impl<T: JsonType> JsonType for Vec<T> {
    const EXPECTED: &'static str = "an array";

    fn schema(definitions: &mut SchemaDefinitions) -> Value {
        json!({"type": "array", "items": T::schema(definitions)})
    }

    fn read(value: Value, source: ValueSource) -> Result<Self, WrongValue> {
        let Value::Array(items) = value else {
            return Err(WrongValue::value(&value, Self::EXPECTED));
        };
        let items = items.into_iter().enumerate();
        items
            .map(|(at, item)| {
                T::read(item, source).map_err(|wrong| wrong.inside(&format!("[{at}]")))
            })
            .collect()
    }

    fn write(&self) -> Option<Value> {
        Some(self.iter().filter_map(T::write).collect())
    }
}

impl JsonType for String {
    const EXPECTED: &'static str = "a string";

    fn schema(_: &mut SchemaDefinitions) -> Value {
        json!({"type": "string"})
    }

    fn read(value: Value, _: ValueSource) -> Result<Self, WrongValue> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(WrongValue::value(&other, Self::EXPECTED)),
        }
    }

    fn write(&self) -> Option<Value> {
        Some(self.as_str().into())
    }
}

impl JsonType for bool {
    const EXPECTED: &'static str = "true or false";

    fn schema(_: &mut SchemaDefinitions) -> Value {
        json!({"type": "boolean"})
    }

    fn read(value: Value, source: ValueSource) -> Result<Self, WrongValue> {
        match &value {
            Value::Bool(value) => Ok(*value),
            Value::String(text) if source == ValueSource::Url && text == "true" => Ok(true),
            Value::String(text) if source == ValueSource::Url && text == "false" => Ok(false),
            other => Err(WrongValue::value(other, Self::EXPECTED)),
        }
    }

    fn write(&self) -> Option<Value> {
        Some((*self).into())
    }
}

macro_rules! integers {
    ($($kind:ty: $expected:literal, $format:literal;)+) => {$(
        impl JsonType for $kind {
            const EXPECTED: &'static str = $expected;

            fn schema(_: &mut SchemaDefinitions) -> Value {
                json!({"type": "integer", "format": $format})
            }

            fn read(value: Value, source: ValueSource) -> Result<Self, WrongValue> {
                let number = match &value {
                    Value::Number(number) => {
                        number.as_i64().and_then(|it| <$kind>::try_from(it).ok())
                    }
                    Value::String(text) if source == ValueSource::Url => text.parse().ok(),
                    _ => None,
                };
                number.ok_or_else(|| WrongValue::value(&value, Self::EXPECTED))
            }

            fn write(&self) -> Option<Value> {
                Some((*self).into())
            }
        }
    )+};
}

integers! {
    i32: "an integer from -2147483648 to 2147483647", "int32";
    u32: "an integer from 0 to 4294967295", "uint32";
}

impl JsonType for i64 {
    const EXPECTED: &'static str = "an integer from -9007199254740991 to 9007199254740991";

    fn schema(_: &mut SchemaDefinitions) -> Value {
        json!({"type": "integer", "format": "int64"})
    }

    fn read(value: Value, source: ValueSource) -> Result<Self, WrongValue> {
        let number = match &value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) if source == ValueSource::Url => text.parse().ok(),
            _ => None,
        };
        number
            .filter(|number| number.unsigned_abs() <= MAX_SAFE_NUMBER)
            .ok_or_else(|| WrongValue::value(&value, Self::EXPECTED))
    }

    fn write(&self) -> Option<Value> {
        Some((*self).into())
    }
}

impl JsonType for f64 {
    const EXPECTED: &'static str = "a number";

    fn schema(_: &mut SchemaDefinitions) -> Value {
        json!({"type": "number", "format": "double"})
    }

    fn read(value: Value, _: ValueSource) -> Result<Self, WrongValue> {
        value
            .as_f64()
            .ok_or_else(|| WrongValue::value(&value, Self::EXPECTED))
    }

    fn write(&self) -> Option<Value> {
        // JSON has no infinity; a peer's protobuf may carry one.
        Some(serde_json::Number::from_f64(*self).map_or(Value::Null, Value::Number))
    }
}

/// A whole number of 64 bits, written as a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WholeNumber(
    /// The number.
    pub u64,
);

impl JsonType for WholeNumber {
    const EXPECTED: &'static str = "a string of digits, or a number from 0 to 9007199254740991";

    fn schema(_: &mut SchemaDefinitions) -> Value {
        json!({"type": "string", "pattern": "^[0-9]{1,20}$"})
    }

    fn read(value: Value, _: ValueSource) -> Result<Self, WrongValue> {
        digits(&value, Self::EXPECTED).map(Self)
    }

    fn write(&self) -> Option<Value> {
        Some(self.0.to_string().into())
    }
}

/// Reads a whole number: a string of digits, or a number that JavaScript represents exactly.
fn digits(value: &Value, expected: &str) -> Result<u64, WrongValue> {
    let number = match value {
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Value::Number(number) => match number.as_u64() {
            Some(number) if number > MAX_SAFE_NUMBER => {
                return Err(WrongValue::new(format!(
                    "is the number {number}, above 9007199254740991; send it as a string, because \
                     JavaScript's numbers lose its last digits"
                )));
            }
            number => number,
        },
        _ => None,
    };
    number.ok_or_else(|| WrongValue::value(value, expected))
}

macro_rules! ids {
    ($($kind:ty),+) => {$(
        impl JsonType for $kind {
            const EXPECTED: &'static str = "an id: a string of digits from 1 to \
                9223372036854775807, or a number up to 9007199254740991";

            fn schema(_: &mut SchemaDefinitions) -> Value {
                json!({"type": "string", "pattern": "^[1-9][0-9]{0,18}$"})
            }

            fn read(value: Value, _: ValueSource) -> Result<Self, WrongValue> {
                let number = digits(&value, Self::EXPECTED)?;
                Self::new(number).ok_or_else(|| WrongValue::value(&value, Self::EXPECTED))
            }

            fn write(&self) -> Option<Value> {
                Some(self.get().to_string().into())
            }
        }
    )+};
}

ids!(UserId, DeviceId, GroupId, RoomId);

impl JsonType for Seq {
    const EXPECTED: &'static str =
        "a seq: a string of digits, or a number from 0 to 9007199254740991";

    fn schema(definitions: &mut SchemaDefinitions) -> Value {
        WholeNumber::schema(definitions)
    }

    fn read(value: Value, _: ValueSource) -> Result<Self, WrongValue> {
        let number = digits(&value, Self::EXPECTED)?;
        // The wire carries seqs as signed numbers.
        if number > MAX_ID {
            return Err(WrongValue::value(&value, Self::EXPECTED));
        }
        Ok(Self::new(number))
    }

    fn write(&self) -> Option<Value> {
        Some(self.get().to_string().into())
    }
}
