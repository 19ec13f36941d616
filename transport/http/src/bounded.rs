//! Integers with bounds of their own, which are named when a value is outside.

use gimlet_json::ValueSource;
use serde_json::{Value, json};

use crate::json::{JsonType, SchemaDefinitions, WrongValue};

macro_rules! bounded {
    ($(#[doc = $about:literal])+ $name:ident($kind:ty), $from:literal ..= $to:literal, $expected:literal) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) $kind);

        impl JsonType for $name {
            const EXPECTED: &'static str = $expected;

            fn schema(_: &mut SchemaDefinitions) -> Value {
                json!({"type": "integer", "minimum": $from, "maximum": $to})
            }

            fn read(value: Value, source: ValueSource) -> Result<Self, WrongValue> {
                // A value of another kind, or outside of the kind's range, has the same answer.
                let number = <$kind>::read(value.clone(), source).ok();
                let number = number.filter(|number| ($from..=$to).contains(number));
                number
                    .map(Self)
                    .ok_or_else(|| WrongValue::value(&value, Self::EXPECTED))
            }

            fn write(&self) -> Option<Value> {
                Some(self.0.into())
            }
        }
    };
}

bounded! {
    /// Seconds to wait for an entry.
    WaitSeconds(u32), 0..=30, "an integer from 0 to 30"
}

bounded! {
    /// A sex, as profiles have it.
    SexCode(i32), 0..=2, "0 (unknown), 1 (male) or 2 (female)"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::MAX_WAIT_SECONDS;

    #[test]
    fn a_value_outside_gets_the_bounds() {
        let read = |value| WaitSeconds::read(value, ValueSource::Url);
        assert_eq!(read(json!("30")), Ok(WaitSeconds(MAX_WAIT_SECONDS)));
        for wrong in ["31", "-1", "4294967296", "x", ""] {
            let wrong = read(json!(wrong)).unwrap_err().inside("wait");
            let (_, detail) = wrong.describe("the query");
            assert!(
                detail.contains("it must be an integer from 0 to 30"),
                "{detail}"
            );
        }
        let sex = SexCode::read(json!("1"), ValueSource::Body).unwrap_err();
        assert!(format!("{sex:?}").contains("0 (unknown), 1 (male) or 2 (female)"));
    }
}
