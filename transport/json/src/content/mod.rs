//! Contents of messages as JSON objects, and in the form that gim's clients store.
//!
//! Known contents have fields. Any other content is shown as its bytes. So is a known one that would
//! lose bytes if it were converted to fields and back, for example a field of a newer client.

mod decode;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gimlet_core::message::MessageContent;
use gimlet_proto::pb::{self, MessageType};
use prost::Message as _;
use serde_json::{Value, json};

use crate::declaration::{
    JsonObject, JsonType, RequestFields, SchemaDefinitions, ValueSource, WrongValue,
};
use crate::object;
use crate::values::WholeNumber;

/// Bytes, written in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base64Bytes(
    /// The bytes.
    pub Vec<u8>,
);

impl JsonType for Base64Bytes {
    const EXPECTED: &'static str = "bytes in base64 (RFC 4648, with padding)";

    fn schema(_: &mut SchemaDefinitions) -> Value {
        json!({"type": "string", "contentEncoding": "base64"})
    }

    fn read(value: Value, _: ValueSource) -> Result<Self, WrongValue> {
        let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok());
        bytes
            .map(Self)
            .ok_or_else(|| WrongValue::value(&value, Self::EXPECTED))
    }

    fn write(&self) -> Option<Value> {
        Some(STANDARD.encode(&self.0).into())
    }
}

object! {
    /// A text.
    pub TextContent {
        /// The text.
        text: String,
    }
}

object! {
    /// A face of a collection.
    pub FaceContent {
        /// The face's id in its collection.
        face_id: Option<WholeNumber>,
        /// The URL of its picture.
        face_url: Option<String>,
    }
}

object! {
    /// A recording.
    pub VoiceContent {
        /// The recording's id.
        id: Option<String>,
        /// Its size in bytes.
        size: Option<i32>,
        /// Its length; the application sets the unit.
        duration: Option<i32>,
        /// Its URL.
        url: Option<String>,
    }
}

object! {
    /// A picture.
    pub ImageContent {
        /// The picture's id.
        id: Option<String>,
        /// Its width in pixels.
        width: Option<i32>,
        /// Its height in pixels.
        height: Option<i32>,
        /// Its URL.
        url: Option<String>,
        /// The URL of its thumbnail.
        thumbnail_url: Option<String>,
    }
}

object! {
    /// A file.
    pub FileContent {
        /// The file's id.
        id: Option<WholeNumber>,
        /// Its name.
        name: Option<String>,
        /// Its size in bytes.
        size: Option<WholeNumber>,
        /// Its URL.
        url: Option<String>,
    }
}

object! {
    /// A place.
    pub LocationContent {
        /// The name of the place.
        desc: Option<String>,
        /// Degrees, north positive.
        latitude: Option<f64>,
        /// Degrees, east positive.
        longitude: Option<f64>,
    }
}

object! {
    /// Data for the client program.
    pub CommandContent {
        /// The kind of command: from 1000 up the application's own.
        code: i32,
        /// The data of this kind.
        data: Option<Base64Bytes>,
    }
}

object! {
    /// Data in the application's own format.
    pub CustomContent {
        /// The data.
        data: String,
    }
}

object! {
    /// Content of any kind, as its bytes.
    pub BytesContent {
        /// gim's number of the kind of content.
        kind: i32,
        /// The bytes.
        data: Base64Bytes,
    }
}

object! {
    /// A friend request of another user; only the server sends it.
    pub FriendRequested {
        /// The user that asks.
        user_id: WholeNumber,
        /// Its name.
        nickname: String,
        /// Its picture.
        avatar_url: String,
        /// Its text.
        description: String,
    }
}

object! {
    /// A user accepted a friend request; only the server sends it.
    pub FriendAccepted {
        /// The user that accepted.
        user_id: WholeNumber,
        /// Its name.
        nickname: String,
        /// Its picture.
        avatar_url: String,
    }
}

object! {
    /// A group was changed; only the server sends it.
    pub GroupUpdated {
        /// The user that changed it.
        operator_id: WholeNumber,
        /// That user's name.
        operator_name: String,
        /// The group's name now.
        name: String,
        /// The group's picture now.
        avatar_url: String,
        /// The group's introduction now.
        introduction: String,
        /// The group's additional data now.
        extra: String,
    }
}

object! {
    /// Members were added to a group; only the server sends it.
    pub MembersAdded {
        /// The user that added them.
        operator_id: WholeNumber,
        /// That user's name.
        operator_name: String,
        /// The users that were added.
        user_ids: Vec<WholeNumber>,
    }
}

object! {
    /// A member was removed from a group; only the server sends it.
    pub MemberRemoved {
        /// The user that removed the member.
        operator_id: WholeNumber,
        /// That user's name.
        operator_name: String,
        /// The user that was removed.
        user_id: WholeNumber,
    }
}

macro_rules! contents {
    ($($variant:ident($kind:ident) = $word:literal,)+) => {
        /// The content of a message. The field `type` tells its kind.
        #[derive(Clone, Debug)]
        pub enum JsonContent {
            $(
                #[doc = concat!("`", $word, "`.")]
                $variant($kind),
            )+
        }

        impl JsonContent {
            fn of_type(word: &str, fields: RequestFields) -> Option<Result<Self, WrongValue>> {
                Some(match word {
                    $($word => fields.read().map(Self::$variant),)+
                    _ => return None,
                })
            }

            fn word(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $word,)+
                }
            }

            fn put(&self, into: &mut serde_json::Map<String, Value>) {
                match self {
                    $(Self::$variant(content) => content.put(into),)+
                }
            }

            fn schemas(definitions: &mut SchemaDefinitions) -> Vec<Value> {
                vec![$(with_type($word, <$kind as JsonType>::schema(definitions), definitions)),+]
            }
        }
    };
}

contents! {
    Text(TextContent) = "text",
    Face(FaceContent) = "face",
    Voice(VoiceContent) = "voice",
    Image(ImageContent) = "image",
    File(FileContent) = "file",
    Location(LocationContent) = "location",
    Command(CommandContent) = "command",
    Custom(CustomContent) = "custom",
    Bytes(BytesContent) = "bytes",
    FriendRequested(FriendRequested) = "friend_requested",
    FriendAccepted(FriendAccepted) = "friend_accepted",
    GroupUpdated(GroupUpdated) = "group_updated",
    MembersAdded(MembersAdded) = "group_members_added",
    MemberRemoved(MemberRemoved) = "group_member_removed",
}

/// Adds the field `type` to the schema of a content.
fn with_type(word: &str, reference: Value, definitions: &mut SchemaDefinitions) -> Value {
    let name = reference.get("$ref").and_then(Value::as_str);
    let name = name.and_then(|it| it.rsplit('/').next());
    let schema = name.and_then(|name| definitions.0.get_mut(name));
    if let Some(schema) = schema {
        if let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            fields.insert("type".into(), json!({"const": word}));
        }
        let required = schema.get("required").and_then(Value::as_array).cloned();
        let mut required = required.unwrap_or_default();
        if !required.contains(&"type".into()) {
            required.insert(0, "type".into());
        }
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("required".into(), required.into());
        }
    }
    reference
}

impl JsonType for JsonContent {
    const EXPECTED: &'static str = "an object such as {\"type\": \"text\", \"text\": \"hi\"}";

    fn schema(definitions: &mut SchemaDefinitions) -> Value {
        if !definitions.0.contains_key("Content") {
            let schemas = Self::schemas(definitions);
            let content = json!({
                "description": "The content of a message; `type` tells its kind.",
                "oneOf": schemas,
            });
            definitions.0.insert("Content".into(), content);
        }
        json!({"$ref": "#/components/schemas/Content"})
    }

    fn read(value: Value, _: ValueSource) -> Result<Self, WrongValue> {
        let Value::Object(mut fields) = value else {
            return Err(WrongValue::value(&value, Self::EXPECTED));
        };
        let word = fields.remove("type");
        let read = word.as_ref().and_then(Value::as_str).and_then(|word| {
            let fields = RequestFields::of_body(Value::Object(fields)).ok()?;
            Self::of_type(word, fields)
        });
        read.unwrap_or_else(|| {
            let words = format!("one of {}", SENT_WORDS.join(", "));
            let wrong = match &word {
                Some(word) => WrongValue::value(word, &words),
                None => WrongValue::missing(&words),
            };
            Err(wrong.inside("type"))
        })
    }

    fn write(&self) -> Option<Value> {
        let mut fields = serde_json::Map::new();
        self.put(&mut fields);
        fields.insert("type".into(), self.word().into());
        Some(Value::Object(fields))
    }
}

fn signed(number: Option<WholeNumber>, field: &str) -> Result<i64, WrongValue> {
    let number = number.unwrap_or_default().0;
    i64::try_from(number).map_err(|_| {
        WrongValue::new(format!("is {number}; it must be at most {}", i64::MAX)).inside(field)
    })
}

/// Kinds of content that clients and backends send.
const SENT_WORDS: [&str; 9] = [
    "text", "face", "voice", "image", "file", "location", "command", "custom", "bytes",
];

impl JsonContent {
    /// Converts into gim's kind of content and its bytes.
    pub fn encode(self) -> Result<(i32, MessageContent), WrongValue> {
        let (kind, bytes) = match self {
            Self::Text(it) => {
                let text = pb::Text { text: it.text };
                (MessageType::MtText, text.encode_to_vec())
            }
            Self::Face(it) => {
                let face = pb::Face {
                    face_id: signed(it.face_id, "face_id")?,
                    face_url: it.face_url.unwrap_or_default(),
                };
                (MessageType::MtFace, face.encode_to_vec())
            }
            Self::Voice(it) => {
                let voice = pb::Voice {
                    id: it.id.unwrap_or_default(),
                    size: it.size.unwrap_or_default(),
                    duration: it.duration.unwrap_or_default(),
                    url: it.url.unwrap_or_default(),
                };
                (MessageType::MtVoice, voice.encode_to_vec())
            }
            Self::Image(it) => {
                let image = pb::Image {
                    id: it.id.unwrap_or_default(),
                    width: it.width.unwrap_or_default(),
                    height: it.height.unwrap_or_default(),
                    url: it.url.unwrap_or_default(),
                    thumbnail_url: it.thumbnail_url.unwrap_or_default(),
                };
                (MessageType::MtImage, image.encode_to_vec())
            }
            Self::File(it) => {
                let file = pb::File {
                    id: signed(it.id, "id")?,
                    name: it.name.unwrap_or_default(),
                    size: signed(it.size, "size")?,
                    url: it.url.unwrap_or_default(),
                };
                (MessageType::MtFile, file.encode_to_vec())
            }
            Self::Location(it) => {
                let location = pb::Location {
                    desc: it.desc.unwrap_or_default(),
                    latitude: it.latitude.unwrap_or_default(),
                    longitude: it.longitude.unwrap_or_default(),
                };
                (MessageType::MtLocation, location.encode_to_vec())
            }
            Self::Command(it) => {
                let command = pb::Command {
                    code: it.code,
                    data: it.data.unwrap_or_default().0.into(),
                };
                (MessageType::MtCommand, command.encode_to_vec())
            }
            Self::Custom(it) => {
                let custom = pb::Custom { data: it.data };
                (MessageType::MtCustom, custom.encode_to_vec())
            }
            Self::Bytes(it) => {
                return Ok((it.kind, MessageContent::copied_from(&it.data.0)));
            }
            Self::FriendRequested(_)
            | Self::FriendAccepted(_)
            | Self::GroupUpdated(_)
            | Self::MembersAdded(_)
            | Self::MemberRemoved(_) => {
                let words = SENT_WORDS.join(", ");
                let text =
                    format!("is a kind that only the server sends; it must be one of {words}");
                return Err(WrongValue::new(text).inside("type"));
            }
        };
        Ok((kind.into(), MessageContent::copied_from(&bytes)))
    }
}
