//! Strict JSON of the API: the types of `gimlet-json`, and its errors as problem details.

use serde_json::Value;

pub(crate) use gimlet_json::{
    FieldDescription, JsonObject, JsonType, RequestFields, SchemaDefinitions, WholeNumber,
    WrongValue, object_schema,
};

use crate::problem::ApiProblem;

impl From<WrongValue> for ApiProblem {
    fn from(wrong: WrongValue) -> Self {
        let (field, detail) = wrong.describe("the body");
        Self::field(field, detail)
    }
}

/// Parses the body of a request.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, ApiProblem> {
    gimlet_json::parse(bytes)
        .map_err(|error| ApiProblem::bad(format!("the body is not JSON: {error}")))
}

/// Declares an object of the API.
macro_rules! object {
    ($(#[doc = $about:literal])+ $name:ident { $($fields:tt)* }) => {
        gimlet_json::object! { $(#[doc = $about])+ pub(crate) $name { $($fields)* } }
    };
}
pub(crate) use object;

/// Declares an enum of the API that JSON writes as one of several words.
macro_rules! choice {
    ($(#[doc = $about:literal])+ $name:ident { $($words:tt)* } expected $expected:literal) => {
        gimlet_json::choice! {
            $(#[doc = $about])+ pub(crate) $name { $($words)* } expected $expected
        }
    };
}
pub(crate) use choice;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_a_problem_that_names_its_field() {
        let wrong = WrongValue::new("is 5; it must be a string").inside("text");
        let problem = format!("{:?}", ApiProblem::from(wrong.inside("content")));
        for part in [
            "content.text is 5; it must be",
            "field: Some(\"content.text\")",
        ] {
            assert!(problem.contains(part), "{problem}");
        }
        let problem = format!("{:?}", parse(b"{").unwrap_err());
        assert!(problem.contains("the body is not JSON: "), "{problem}");
    }
}
