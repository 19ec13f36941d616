//! Strict JSON: each value of the API is described once, and read, written and documented from that
//! description.
//!
//! Unknown fields are refused with the nearest known name, and a value of the wrong type with the one
//! that would be right. Ids are strings, because JavaScript's numbers lose digits above 2^53−1;
//! smaller numbers are accepted in requests.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Largest number of characters of a wrong value that an error repeats.
const MAX_SHOWN_CHARS: usize = 40;

/// Origin of a value. In a URL every value is a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// The body.
    Body,
    /// The path or the query.
    Url,
}

/// A value that is not the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongValue {
    field: String,
    text: String,
}

impl WrongValue {
    /// Reports a wrong value; `text` continues a sentence that begins with the field's name.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            field: String::new(),
            text: text.into(),
        }
    }

    /// Reports `given` where `expected` is needed.
    #[must_use]
    pub fn value(given: &Value, expected: &str) -> Self {
        Self::new(format!("is {}; it must be {expected}", shown(given)))
    }

    /// Reports that a value is missing where `expected` is needed.
    #[must_use]
    pub fn missing(expected: &str) -> Self {
        Self::new(format!("is missing; it must be {expected}"))
    }

    /// Names the field that the value is in.
    #[must_use]
    pub fn inside(mut self, outer: &str) -> Self {
        self.field = match self.field.as_str() {
            "" => outer.to_owned(),
            inner if inner.starts_with('[') => format!("{outer}{inner}"),
            inner => format!("{outer}.{inner}"),
        };
        self
    }

    /// Returns the field, empty for the value as a whole, and the sentence about it. `whole` names the
    /// value as a whole.
    #[must_use]
    pub fn describe(self, whole: &str) -> (String, String) {
        let Self { field, text } = self;
        let name = if field.is_empty() { whole } else { &field };
        let detail = format!("{name} {text}");
        (field, detail)
    }
}

/// Describes a value in an error.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
        Value::String(text) => quoted(text),
        value => value.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let mut head: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    if head.len() < text.len() {
        head.push('…');
    }
    format!("{head:?}")
}

/// A type of the API.
pub trait JsonType: Sized {
    /// Description of a right value, for errors.
    const EXPECTED: &'static str;
    /// True if the value may be left out.
    const IS_OPTIONAL: bool = false;

    /// Returns the JSON schema; objects are added to `definitions`.
    fn schema(definitions: &mut SchemaDefinitions) -> Value;

    /// Reads the value of a request.
    fn read(value: Value, source: ValueSource) -> Result<Self, WrongValue>;

    /// Returns the value of a field that was left out.
    fn absent() -> Result<Self, WrongValue> {
        Err(WrongValue::missing(Self::EXPECTED))
    }

    /// Writes the value; `None` leaves it out.
    fn write(&self) -> Option<Value>;
}

/// A JSON object with named fields; made by `object!`.
pub trait JsonObject: Sized {
    /// Describes the fields.
    fn fields(definitions: &mut SchemaDefinitions) -> Vec<FieldDescription>;
    /// Returns the names of the fields.
    fn names() -> &'static [&'static str];
    /// Takes every field out of `fields`.
    fn take(fields: &mut RequestFields) -> Result<Self, WrongValue>;
    /// Writes every field.
    fn put(&self, into: &mut Map<String, Value>);
}

/// Schemas of the objects, by name.
#[derive(Debug, Default)]
pub struct SchemaDefinitions(
    /// The schemas.
    pub BTreeMap<String, Value>,
);

impl SchemaDefinitions {
    /// Adds an object unless it is there; returns a reference to it.
    pub fn object<T: JsonObject>(&mut self, name: &str, about: &str) -> Value {
        if !self.0.contains_key(name) {
            // Entered first, so that an object that contains itself ends.
            self.0.insert(name.to_owned(), Value::Null);
            let fields = T::fields(self);
            let schema = object_schema(about, fields.iter());
            self.0.insert(name.to_owned(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }
}

/// Description of a field.
#[derive(Clone, Debug)]
pub struct FieldDescription {
    /// The name, as JSON has it.
    pub name: &'static str,
    /// The description.
    pub about: String,
    /// True if the field may be left out.
    pub is_optional: bool,
    /// The JSON schema.
    pub schema: Value,
}

impl FieldDescription {
    /// Describes a field of this type.
    #[must_use]
    pub fn of<T: JsonType>(
        name: &'static str,
        about: &str,
        definitions: &mut SchemaDefinitions,
    ) -> Self {
        Self {
            name: plain(name),
            about: about.trim().to_owned(),
            is_optional: T::IS_OPTIONAL,
            schema: T::schema(definitions),
        }
    }
}

/// Returns the name of a field as JSON has it: without the prefix of Rust's keywords.
#[must_use]
pub fn plain(name: &'static str) -> &'static str {
    name.strip_prefix("r#").unwrap_or(name)
}

/// Returns the schema of an object with these fields.
#[must_use]
pub fn object_schema<'a>(about: &str, fields: impl Iterator<Item = &'a FieldDescription>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for field in fields {
        // A reference has no room for a description of its own in older readers, so the description is
        // put beside it.
        let mut schema = field.schema.clone();
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".into(), field.about.clone().into());
        }
        properties.insert(field.name.into(), schema);
        if !field.is_optional {
            required.push(Value::from(field.name));
        }
    }
    let mut schema = Map::new();
    schema.insert("type".into(), "object".into());
    schema.insert("description".into(), about.trim().into());
    schema.insert("properties".into(), properties.into());
    schema.insert("additionalProperties".into(), false.into());
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    Value::Object(schema)
}

/// The fields that a request gave, each with its origin.
#[derive(Debug, Default)]
pub struct RequestFields(BTreeMap<String, (Value, ValueSource)>);

impl RequestFields {
    /// Takes the fields of a JSON object.
    pub fn of_body(body: Value) -> Result<Self, WrongValue> {
        Self::of_value(body, ValueSource::Body)
    }

    fn of_value(value: Value, source: ValueSource) -> Result<Self, WrongValue> {
        match value {
            Value::Object(fields) => {
                let fields = fields.into_iter();
                Ok(Self(
                    fields.map(|(name, it)| (name, (it, source))).collect(),
                ))
            }
            other => Err(WrongValue::value(&other, "a JSON object")),
        }
    }

    /// Adds a value of the path or the query.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), WrongValue> {
        let value = (Value::from(text), ValueSource::Url);
        if self.0.insert(name.to_owned(), value).is_some() {
            return Err(WrongValue::new("is given twice; give it once").inside(&short(name)));
        }
        Ok(())
    }

    /// Returns a field as text, without a check: a text as it is, another value as JSON.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        let (value, _) = self.0.get(name)?;
        match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// Reads an object that has no other fields than its own.
    pub fn read<T: JsonObject>(mut self) -> Result<T, WrongValue> {
        // Before the fields are read: of a misspelt field, the right name is more useful than the
        // news that it is missing.
        let names = T::names();
        let is_known = |name: &String| names.iter().any(|it| plain(it) == name);
        if let Some(unknown) = self.0.keys().find(|name| !is_known(name)) {
            return Err(unknown_field(unknown, names));
        }
        T::take(&mut self)
    }

    /// Takes one field.
    pub fn take<T: JsonType>(&mut self, name: &'static str) -> Result<T, WrongValue> {
        let name = plain(name);
        let read = match self.0.remove(name) {
            Some((value, source)) => T::read(value, source),
            None => T::absent(),
        };
        read.map_err(|wrong| wrong.inside(name))
    }
}

fn unknown_field(name: &str, names: &'static [&'static str]) -> WrongValue {
    let nearest = names
        .iter()
        .map(|known| plain(known))
        .map(|known| (strsim::osa_distance(&short(name), known), known))
        .min()
        .filter(|(edits, known)| *edits <= (known.len() / 3).max(1));
    let remedy = match nearest {
        Some((_, known)) => format!("did you mean {known}?"),
        None if names.is_empty() => "this request has no fields".into(),
        None => {
            let all: Vec<_> = names.iter().map(|it| plain(it)).collect();
            format!("the fields are {}", all.join(", "))
        }
    };
    WrongValue::new(format!("is not a field of this request; {remedy}")).inside(&short(name))
}

/// Shortens a name that a client made up.
pub(crate) fn short(name: &str) -> String {
    name.chars().take(MAX_SHOWN_CHARS).collect()
}

/// Declares an object of the API: its struct, its schema, and its reading and writing.
#[macro_export]
macro_rules! object {
    (
        $(#[doc = $about:literal])+
        $vis:vis $name:ident {
            $($(#[doc = $doc:literal])+ $field:ident: $kind:ty,)*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        $vis struct $name {
            $($(#[doc = $doc])+ $vis $field: $kind,)*
        }

        impl $crate::JsonObject for $name {
            fn fields(
                definitions: &mut $crate::SchemaDefinitions,
            ) -> Vec<$crate::FieldDescription> {
                let _ = &definitions;
                vec![$($crate::FieldDescription::of::<$kind>(
                    stringify!($field),
                    concat!($($doc),+),
                    definitions,
                ),)*]
            }

            fn names() -> &'static [&'static str] {
                &[$(stringify!($field),)*]
            }

            fn take(
                fields: &mut $crate::RequestFields,
            ) -> Result<Self, $crate::WrongValue> {
                let _ = &fields;
                Ok(Self {
                    $($field: fields.take(stringify!($field))?,)*
                })
            }

            fn put(&self, into: &mut serde_json::Map<String, serde_json::Value>) {
                let _ = &into;
                $(if let Some(value) = $crate::JsonType::write(&self.$field) {
                    into.insert($crate::plain(stringify!($field)).to_owned(), value);
                })*
            }
        }

        impl $crate::JsonType for $name {
            const EXPECTED: &'static str = "an object";

            fn schema(definitions: &mut $crate::SchemaDefinitions) -> serde_json::Value {
                definitions.object::<Self>(stringify!($name), concat!($($about),+))
            }

            fn read(
                value: serde_json::Value,
                _: $crate::ValueSource,
            ) -> Result<Self, $crate::WrongValue> {
                $crate::RequestFields::of_body(value)?.read()
            }

            fn write(&self) -> Option<serde_json::Value> {
                let mut fields = serde_json::Map::new();
                $crate::JsonObject::put(self, &mut fields);
                Some(serde_json::Value::Object(fields))
            }
        }
    };
}

/// Declares an enum that JSON writes as one of several words.
#[macro_export]
macro_rules! choice {
    (
        $(#[doc = $about:literal])+
        $vis:vis $name:ident {
            $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+
        }
        expected $expected:literal
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $crate::JsonType for $name {
            const EXPECTED: &'static str = $expected;

            fn schema(_: &mut $crate::SchemaDefinitions) -> serde_json::Value {
                serde_json::json!({"type": "string", "enum": [$($word),+]})
            }

            fn read(
                value: serde_json::Value,
                _: $crate::ValueSource,
            ) -> Result<Self, $crate::WrongValue> {
                match value.as_str() {
                    $(Some($word) => Ok(Self::$variant),)+
                    _ => Err($crate::WrongValue::value(&value, Self::EXPECTED)),
                }
            }

            fn write(&self) -> Option<serde_json::Value> {
                Some(match self { $(Self::$variant => $word,)+ }.into())
            }
        }
    };
}
