//! Registration of a device for a caller that names none.

use std::time::Duration;

use bytes::Bytes;
use gimlet_core::error::RequestRefusal;
use gimlet_core::id::DeviceId;
use gimlet_core::store::DeviceInfo;
use http::{Method, StatusCode};
use serde_json::Value;

use crate::call::{ApiCall, ApiCaller};
use crate::forward::{ForwardedRequest, MAX_HOPS, exchange};
use crate::nodes::ApiRole;
use crate::problem::ApiProblem;

/// gim's type of a device that is a web page or a program.
pub(crate) const WEB_DEVICE: i32 = 5;

/// Registers a device of which nothing is known, here or at a node with the logic role.
pub(crate) async fn register(call: &ApiCall) -> Result<DeviceId, ApiProblem> {
    let unknown = || String::from("unknown");
    let info = DeviceInfo {
        kind: WEB_DEVICE,
        brand: unknown(),
        model: unknown(),
        system_version: unknown(),
        sdk_version: "http".into(),
    };
    let api = &call.shared.api;
    let nodes = api.nodes.as_ref();
    if api.service.is_none() && nodes.is_some_and(|nodes| nodes.has(ApiRole::Logic)) {
        let registered = register_elsewhere(call).await?;
        let device = registered.get("device_id").and_then(Value::as_str);
        let device = device
            .and_then(|it| it.parse().ok())
            .and_then(DeviceId::new);
        return device.ok_or_else(|| RequestRefusal::Internal.into());
    }
    let service = call.service()?;
    let registered = match call.caller {
        ApiCaller::Backend { .. } => service.register_for_backend(&info).await,
        ApiCaller::Stranger | ApiCaller::User(_) => service.register(call.client, &info).await,
    };
    Ok(registered?)
}

/// Registers a device at a node with the logic role, and returns the content of the answer.
async fn register_elsewhere(call: &ApiCall) -> Result<Value, ApiProblem> {
    let request = ForwardedRequest {
        method: Method::POST,
        path: "/devices".into(),
        headers: Vec::new(),
        body: Bytes::new(),
        wait: Duration::ZERO,
        space: None,
    };
    let reply = exchange(call, MAX_HOPS, ApiRole::Logic, request).await?;
    if reply.status != u32::from(StatusCode::OK.as_u16()) {
        return Err(RequestRefusal::Unavailable.into());
    }
    serde_json::from_slice(&reply.body).map_err(|_| RequestRefusal::Internal.into())
}
