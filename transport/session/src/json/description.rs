//! The `AsyncAPI` 3 document, made from the declared packets.

use gimlet_json::{EntryInfo, JsonType, LiveMessageInfo, RoomMessageInfo, SchemaDefinitions};
use serde_json::{Map, Value, json};

use super::packets::{
    AckPacket, CLOSE_WORD, ClosePacket, ERROR_WORD, HeartbeatAnswer, HeartbeatPacket, InboxPage,
    LIVE_WORD, MESSAGE_WORD, REQUEST_WORDS, ROOM_WORD, RefusalPacket, SendAnswer, SendPacket,
    SignInAnswer, SignInPacket, SubscribeRoomAnswer, SubscribeRoomPacket, SyncPacket,
};

/// The place of all packets in the document.
const CHANNEL: &str = "#/channels/socket";
/// Name of the refusal among the messages of the document.
const REFUSAL_NAME: &str = "refusal";

/// The document while it is made.
#[derive(Default)]
struct PacketDocument {
    definitions: SchemaDefinitions,
    messages: Map<String, Value>,
    operations: Map<String, Value>,
}

/// Returns the document.
pub(crate) fn document() -> Value {
    let mut document = PacketDocument::default();
    document.request::<SignInPacket>("sign_in", Some(payload::<SignInAnswer>));
    document.request::<SyncPacket>("sync", Some(payload::<InboxPage>));
    document.request::<HeartbeatPacket>("heartbeat", Some(payload::<HeartbeatAnswer>));
    document.request::<AckPacket>("ack", None);
    document.request::<SubscribeRoomPacket>("subscribe_room", Some(payload::<SubscribeRoomAnswer>));
    document.request::<SendPacket>("send", Some(payload::<SendAnswer>));
    document.push::<EntryInfo>(MESSAGE_WORD);
    document.push::<LiveMessageInfo>(LIVE_WORD);
    document.push::<RoomMessageInfo>(ROOM_WORD);
    document.push::<ClosePacket>(CLOSE_WORD);
    document.refusal();
    let PacketDocument {
        definitions,
        messages,
        operations,
    } = document;
    let names = messages.keys().map(|name| {
        let reference = json!({"$ref": format!("#/components/messages/{name}")});
        (name.clone(), reference)
    });
    let names: Map<String, Value> = names.collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "gimlet",
            "description": "JSON over WebSocket (subprotocol gimlet.json.v1) of gimlet, an instant \
                messaging server. The document is written from the server's side: it receives the \
                packets of clients.",
            "version": "1",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": "/ws",
                "description": "One WebSocket message, a text, is one packet.",
                "messages": names,
            },
        },
        "operations": operations,
        "components": {"messages": messages, "schemas": definitions.0},
    })
}

impl PacketDocument {
    /// Adds a packet of clients, and its answer if it has one.
    fn request<T: JsonType>(
        &mut self,
        word: &'static str,
        answer: Option<fn(&mut SchemaDefinitions, &[&str]) -> Value>,
    ) {
        let asked = payload::<T>(&mut self.definitions, &[word]);
        self.message(word, &asked);
        let mut replies = vec![reference(REFUSAL_NAME)];
        if let Some(answer) = answer {
            let name = format!("{word}_answer");
            let answered = answer(&mut self.definitions, &[word]);
            self.message(&name, &answered);
            replies.insert(0, reference(&name));
        }
        let operation = json!({
            "action": "receive",
            "channel": {"$ref": CHANNEL},
            "messages": [reference(word)],
            "reply": {"channel": {"$ref": CHANNEL}, "messages": replies},
        });
        self.operations.insert(word.to_owned(), operation);
    }

    /// Adds a packet that the server sends by itself.
    fn push<T: JsonType>(&mut self, word: &'static str) {
        let pushed = payload::<T>(&mut self.definitions, &[word]);
        self.message(word, &pushed);
        let operation = json!({
            "action": "send",
            "channel": {"$ref": CHANNEL},
            "messages": [reference(word)],
        });
        self.operations.insert(word.to_owned(), operation);
    }

    fn refusal(&mut self) {
        let words = REQUEST_WORDS.iter().map(|(word, _)| *word);
        let mut words: Vec<_> = words.filter(|word| *word != "ack").collect();
        words.push(ERROR_WORD);
        let refused = payload::<RefusalPacket>(&mut self.definitions, &words);
        self.message(REFUSAL_NAME, &refused);
    }

    fn message(&mut self, name: &str, payload: &Value) {
        let message = json!({"name": name, "payload": payload});
        self.messages.insert(name.to_owned(), message);
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("{CHANNEL}/messages/{name}")})
}

/// Returns the schema of a packet: the declared object, with `type` and `request_id`.
fn payload<T: JsonType>(definitions: &mut SchemaDefinitions, words: &[&str]) -> Value {
    let mut own = SchemaDefinitions::default();
    let named = T::schema(&mut own);
    let name = named.get("$ref").and_then(Value::as_str);
    let name = name
        .and_then(|it| it.rsplit('/').next())
        .unwrap_or_default();
    let mut schema = own.0.remove(name).unwrap_or_default();
    definitions.0.extend(own.0);
    let Some(fields) = schema.as_object_mut() else {
        return schema;
    };
    let word = match words {
        [word] => json!({"const": word}),
        words => json!({"enum": words}),
    };
    let id = json!({
        "type": "integer",
        "minimum": 1,
        "maximum": gimlet_json::MAX_SAFE_NUMBER,
        "description": "The client's number of a packet, which its answer repeats. It may be left \
            out.",
    });
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("type".into(), word);
        properties.insert("request_id".into(), id);
    }
    let mut required = vec![Value::from("type")];
    if let Some(Value::Array(others)) = fields.remove("required") {
        required.extend(others);
    }
    fields.insert("required".into(), required.into());
    schema
}
