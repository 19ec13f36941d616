//! Ids and scopes of API keys.

use gimlet_core::id::ApiKeyId;
use gimlet_core::scope::ApiScope;
use serde_json::{Value, json};

use crate::declaration::{JsonType, SchemaDefinitions, ValueSource, WrongValue};

impl JsonType for ApiKeyId {
    const EXPECTED: &'static str = "the id of an API key: 16 hexadecimal digits in lower case";

    fn schema(_: &mut SchemaDefinitions) -> Value {
        json!({"type": "string", "pattern": "^[0-9a-f]{16}$"})
    }

    fn read(value: Value, _: ValueSource) -> Result<Self, WrongValue> {
        let id = value.as_str().and_then(Self::parse);
        id.ok_or_else(|| WrongValue::value(&value, Self::EXPECTED))
    }

    fn write(&self) -> Option<Value> {
        Some(self.to_string().into())
    }
}

impl JsonType for ApiScope {
    const EXPECTED: &'static str = "the name of a scope";

    fn schema(_: &mut SchemaDefinitions) -> Value {
        let names: Vec<_> = Self::ALL.iter().map(|scope| scope.name()).collect();
        json!({"type": "string", "enum": names})
    }

    fn read(value: Value, _: ValueSource) -> Result<Self, WrongValue> {
        let scope = value.as_str().and_then(Self::named);
        scope.ok_or_else(|| {
            let expected = format!("one of {}", Self::names());
            WrongValue::value(&value, &expected)
        })
    }

    fn write(&self) -> Option<Value> {
        Some(self.name().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: JsonType>(value: Value) -> String {
        let wrong = T::read(value, ValueSource::Body).err().unwrap();
        wrong.describe("the body").1
    }

    #[test]
    fn a_scope_and_an_id_come_back_and_others_are_refused_with_what_is_right() {
        for scope in ApiScope::ALL {
            let written = scope.write().unwrap();
            assert_eq!(ApiScope::read(written, ValueSource::Body), Ok(*scope));
        }
        let id = ApiKeyId::new(0xab).unwrap();
        let written = id.write().unwrap();
        assert_eq!(written, "00000000000000ab");
        assert_eq!(ApiKeyId::read(written, ValueSource::Url), Ok(id));
        let text = refusal::<ApiScope>("users".into());
        assert!(
            text.contains("\"users\"; it must be one of admin, "),
            "{text}"
        );
        for wrong in [
            json!("ab"),
            json!(171),
            json!("00000000000000AB"),
            json!("0000000000000000"),
        ] {
            let text = refusal::<ApiKeyId>(wrong);
            assert!(text.contains("16 hexadecimal digits"), "{text}");
        }
    }
}
