//! The OpenAPI 3.1 document, made from the operations.

use gimlet_core::scope::ApiScope;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::json::{FieldDescription, SchemaDefinitions, object_schema};
use crate::operation::{ApiOperation, BodyKind};
use crate::problem;
use crate::request_rules::TOKEN_PARAMETER;

/// Returns the document of these operations.
pub(crate) fn document(operations: &[ApiOperation]) -> Value {
    let mut definitions = SchemaDefinitions::default();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let described = describe(operation, &mut definitions);
        let path = paths
            .entry(format!("/v1{}", operation.path))
            .or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(operation.method.as_str().to_lowercase(), described);
        }
    }
    definitions.0.insert("Problem".into(), problem::schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "gimlet",
            "description": "The HTTP/JSON API of gimlet, an instant messaging server.",
            "version": "1",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": definitions.0,
            "securitySchemes": {
                "userToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "USER.DEVICE.TOKEN, as signIn and issueToken return it.",
                },
                "queryToken": {
                    "type": "apiKey",
                    "in": "query",
                    "name": TOKEN_PARAMETER,
                    "description": "The same token, for programs that cannot set headers.",
                },
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": key_description(),
                },
            },
        },
    })
}

/// Returns the description of API keys, with all scopes.
fn key_description() -> String {
    let scopes = ApiScope::ALL.iter();
    let scopes: Vec<_> = scopes
        .map(|scope| format!("- `{scope}`: {}", scope.about()))
        .collect();
    format!(
        "A key for backends: one of http.api_keys, which has every scope, or one that createKey made. \
         The header Gimlet-User names the user that the backend acts for. The scopes:\n\n{}",
        scopes.join("\n")
    )
}

fn describe(operation: &ApiOperation, definitions: &mut SchemaDefinitions) -> Value {
    let fields = (operation.fields)(definitions);
    let (in_path, others): (Vec<_>, Vec<_>) = fields
        .into_iter()
        .partition(|field| operation.is_in_path(field.name));
    let mut parameters: Vec<Value> = in_path.iter().map(|it| parameter("path", it)).collect();
    for (name, about) in &operation.headers {
        parameters.push(json!({
            "in": "header",
            "name": name,
            "description": about,
            "schema": {"type": "string"},
        }));
    }
    if operation.access.acts_for_users() {
        parameters.push(json!({
            "in": "header",
            "name": "gimlet-user",
            "description": "With an API key: the id of the user that the backend acts for.",
            "schema": {"type": "string"},
        }));
    }
    let mut described = Map::new();
    described.insert("operationId".into(), operation.id.into());
    described.insert("tags".into(), json!([operation.topic]));
    described.insert("summary".into(), operation.about.into());
    if let Some(scope) = operation.access.scope() {
        let text = format!("An API key needs the scope `{scope}`.");
        described.insert("description".into(), text.into());
    }
    described.insert("security".into(), security(operation));
    described.insert("responses".into(), responses(operation, definitions));
    if operation.has_body() {
        if !others.is_empty() {
            let schema = object_schema(operation.about, others.iter());
            let body = json!({
                "required": others.iter().any(|field| !field.is_optional),
                "content": {"application/json": {"schema": schema}},
            });
            described.insert("requestBody".into(), body);
        }
    } else {
        if operation.body == BodyKind::File {
            described.insert("requestBody".into(), file_body());
        }
        parameters.extend(others.iter().map(|it| parameter("query", it)));
    }
    if !parameters.is_empty() {
        described.insert("parameters".into(), parameters.into());
    }
    Value::Object(described)
}

/// Describes a body that is a file, or a form with one.
fn file_body() -> Value {
    let file = json!({"type": "string", "format": "binary", "description": "The file."});
    json!({
        "required": true,
        "content": {
            "*/*": {"schema": {"description": "The content of the file."}},
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["file"], "properties": {"file": file}},
            },
        },
    })
}

fn parameter(place: &str, field: &FieldDescription) -> Value {
    json!({
        "in": place,
        "name": field.name,
        "description": field.about,
        "required": !field.is_optional,
        "schema": field.schema,
    })
}

fn security(operation: &ApiOperation) -> Value {
    let mut schemes = Vec::new();
    if operation.access.takes_token() {
        schemes.push(json!({"userToken": []}));
    }
    if operation.takes_query_token {
        schemes.push(json!({"queryToken": []}));
    }
    if let Some(scope) = operation.access.scope() {
        schemes.push(json!({"apiKey": [scope.name()]}));
    }
    schemes.into()
}

fn responses(operation: &ApiOperation, definitions: &mut SchemaDefinitions) -> Value {
    let schema = (operation.schema)(definitions);
    let described = |about: &str, has_body: bool| match operation.media_type {
        Some(media_type) if has_body => json!({
            "description": about,
            "content": { (media_type): {"schema": schema} },
        }),
        _ => json!({"description": about}),
    };
    let mut responses = Map::new();
    responses.insert(
        operation.status.as_str().into(),
        described("Success.", true),
    );
    for (status, about) in &operation.other_statuses {
        let has_body = *status != StatusCode::NOT_MODIFIED;
        responses.insert(status.as_str().into(), described(about, has_body));
    }
    let refusal = json!({
        "description": "The request was refused.",
        "content": {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"},
            },
        },
    });
    responses.insert("default".into(), refusal);
    responses.into()
}
