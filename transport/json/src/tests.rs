//! Reading, refusing, and describing values.

use gimlet_core::id::{MAX_ID, UserId};
use serde_json::{Value, json};

use crate::declaration::{JsonType as _, RequestFields, SchemaDefinitions, WrongValue};
use crate::{object, parse};

object! {
    /// A sample.
    pub(crate) SampleObject {
        /// An id.
        user_id: UserId,
        /// A list.
        others: Option<Vec<UserId>>,
        /// A word of Rust.
        r#type: Option<i32>,
        /// Another object.
        inner: Option<InnerObject>,
    }
}

object! {
    /// An inner object.
    pub(crate) InnerObject {
        /// A text.
        text: String,
    }
}

fn read(body: Value) -> Result<SampleObject, WrongValue> {
    RequestFields::of_body(body)?.read()
}

fn refusal(body: Value) -> String {
    read(body).unwrap_err().describe("the body").1
}

#[test]
fn ids_are_strings_or_safe_numbers() {
    for (given, want) in [
        (json!("7"), 7),
        (json!(7), 7),
        (json!(9_007_199_254_740_991_u64), 9_007_199_254_740_991),
        (json!("9223372036854775807"), MAX_ID),
    ] {
        let sample = read(json!({ "user_id": given })).unwrap();
        assert_eq!(sample.user_id.get(), want);
        assert_eq!(sample.write().unwrap()["user_id"], want.to_string());
    }
    for wrong in [
        json!(0),
        json!("0"),
        json!(-1),
        json!(1.5),
        json!(1e30),
        json!("+1"),
        json!(" 1"),
        json!(""),
        json!("9223372036854775808"),
        json!("99999999999999999999999"),
        json!(true),
        json!(null),
        json!([1]),
        json!({}),
    ] {
        let text = refusal(json!({ "user_id": wrong }));
        assert!(text.contains("user_id is "), "{text}");
        assert!(text.contains("must be an id"), "{text}");
    }
    let large = refusal(json!({"user_id": 9_007_199_254_740_992_u64}));
    assert!(large.contains("send it as a string"), "{large}");
}

#[test]
fn a_wrong_field_is_named_with_the_nearest_right_one() {
    let text = refusal(json!({"user_di": "1"}));
    assert!(text.contains("user_di is not a field of this request; did you mean user_id?"));
    let text = refusal(json!({"user_id": "1", "colour": 1}));
    assert!(
        text.contains("the fields are user_id, others, type, inner"),
        "{text}"
    );
    let text = refusal(json!({}));
    assert!(
        text.contains("user_id is missing; it must be an id"),
        "{text}"
    );
    let text = refusal(json!({"user_id": "1", "others": ["2", 0]}));
    assert!(text.contains("others[1] is 0"), "{text}");
    let text = refusal(json!({"user_id": "1", "inner": {"text": 5}}));
    assert!(
        text.contains("inner.text is 5; it must be a string"),
        "{text}"
    );
    let text = refusal(json!({"user_id": "1", "inner": {"txt": "5"}}));
    assert!(text.contains("inner.txt is not a field"), "{text}");
    let text = refusal(json!([1]));
    assert!(
        text.contains("the body is an array; it must be a JSON object"),
        "{text}"
    );
    let long = "x".repeat(100_000);
    assert!(refusal(json!({ (long.as_str()): 1 })).len() < 1_000);
    assert!(refusal(json!({"user_id": long})).len() < 1_000);
}

#[test]
fn a_field_given_twice_and_broken_json_are_refused() {
    for broken in [
        &b"{\"user_id\":1,\"user_id\":2}"[..],
        b"",
        b"{",
        b"{}{}",
        b"\xff\xfe",
        b"{\"a\":\"\xff\"}",
        b"NaN",
        b"{'a':1}",
    ] {
        assert!(parse(broken).is_err(), "{broken:?}");
    }
    let deep = vec![b'['; 100_000];
    assert!(parse(&deep).is_err(), "nesting is bounded");
    let text = parse(b"{\"a\":{\"b\":1,\"b\":1}}").unwrap_err().to_string();
    assert!(text.contains("b is given twice"), "{text}");
}

#[test]
fn a_url_gives_numbers_as_texts() {
    let mut fields = RequestFields::default();
    fields.add("user_id", "7").unwrap();
    fields.add("type", "-3").unwrap();
    let sample: SampleObject = fields.read().unwrap();
    assert_eq!((sample.user_id.get(), sample.r#type), (7, Some(-3)));
    let mut fields = RequestFields::default();
    fields.add("user_id", "7").unwrap();
    let (_, twice) = fields.add("user_id", "8").unwrap_err().describe("");
    assert!(twice.contains("user_id is given twice"));
    let text = refusal(json!({"user_id": "1", "type": "3"}));
    assert!(
        text.contains("type is \"3\"; it must be an integer"),
        "{text}"
    );
}

#[test]
fn an_object_is_described_by_its_fields() {
    let mut definitions = SchemaDefinitions::default();
    let schema = SampleObject::schema(&mut definitions);
    assert_eq!(schema["$ref"], "#/components/schemas/SampleObject");
    let sample = &definitions.0["SampleObject"];
    assert_eq!(sample["required"], json!(["user_id"]));
    assert_eq!(
        sample["properties"]["type"]["description"],
        "A word of Rust."
    );
    assert_eq!(definitions.0["InnerObject"]["additionalProperties"], false);
}
