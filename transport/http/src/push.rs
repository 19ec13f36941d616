//! Push addresses: where a device is notified of messages while it is not connected.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use gimlet_core::error::RequestRefusal;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::push_registry::PushRequest;
use gimlet_core::scope::ApiScope;
use gimlet_core::store::PushAddress;
use http::Method;

use crate::call::{ApiCall, ApiCaller};
use crate::json::{choice, object};
use crate::operation::{ApiOperation, NoContent, NoFields, OperationAccess};
use crate::problem::ApiProblem;

/// base64url, as browsers write keys: with or without padding.
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

choice! {
    /// A push service.
    PushServiceName {
        /// Apple Push Notification service.
        Apns = "apns",
        /// Firebase Cloud Messaging.
        Fcm = "fcm",
        /// The push service of a browser.
        WebPush = "webpush",
    }
    expected "apns, fcm or webpush"
}

object! {
    /// The push address of a device.
    RegisterPush {
        /// The device.
        device_id: DeviceId,
        /// The push service.
        provider: PushServiceName,
        /// APNs: the device token in hexadecimal digits. FCM: the registration token.
        token: Option<String>,
        /// APNs: the app's bundle id; by default the first one that the server is configured with.
        topic: Option<String>,
        /// APNs: true for an app that was signed for development.
        sandbox: Option<bool>,
        /// Web Push: the endpoint of the browser's `PushSubscription`.
        endpoint: Option<String>,
        /// Web Push: its `keys.p256dh`, in base64url.
        p256dh: Option<String>,
        /// Web Push: its `keys.auth`, in base64url.
        auth: Option<String>,
        /// True to show the sender's name and the text in notifications; by default they only tell
        /// that there is a message.
        show_content: Option<bool>,
        /// The language of the notifications, for example `pt-BR`.
        locale: Option<String>,
    }
}

object! {
    /// The device that is meant.
    NamedDevice {
        /// The device.
        device_id: DeviceId,
    }
}

object! {
    /// The server's key for Web Push.
    WebPushKey {
        /// The `applicationServerKey` of `PushManager.subscribe`, in base64url.
        public_key: String,
    }
}

/// The fields of an address; each is taken once, and what is left belongs to another provider.
struct AddressFields {
    provider: &'static str,
    fields: [(&'static str, Option<String>); 5],
    sandbox: Option<bool>,
}

impl AddressFields {
    fn take(&mut self, name: &str) -> Option<String> {
        let mut fields = self.fields.iter_mut();
        let (_, value) = fields.find(|(of, _)| *of == name)?;
        value.take()
    }

    fn needed(&mut self, name: &'static str) -> Result<String, ApiProblem> {
        let provider = self.provider;
        self.take(name).ok_or_else(|| {
            let text = format!("{name} is missing; provider {provider} needs it");
            ApiProblem::field(name, text)
        })
    }

    fn bytes(&mut self, name: &'static str) -> Result<Vec<u8>, ApiProblem> {
        let text = self.needed(name)?;
        BASE64_URL.decode(text).map_err(|_| {
            let text = format!(
                "{name} is not base64url; send keys.{name} of the browser's PushSubscription"
            );
            ApiProblem::field(name, text)
        })
    }

    /// Refuses fields that were not taken.
    fn end(self) -> Result<(), ApiProblem> {
        let left = self.fields.iter().find(|(_, value)| value.is_some());
        let left = left.map(|(name, _)| *name);
        match left.or(self.sandbox.map(|_| "sandbox")) {
            Some(name) => {
                let provider = self.provider;
                let text = format!("{name} is not a field of provider {provider}; leave it out");
                Err(ApiProblem::field(name, text))
            }
            None => Ok(()),
        }
    }
}

impl RegisterPush {
    fn request(self) -> Result<PushRequest, ApiProblem> {
        let mut given = AddressFields {
            provider: match self.provider {
                PushServiceName::Apns => "apns",
                PushServiceName::Fcm => "fcm",
                PushServiceName::WebPush => "webpush",
            },
            fields: [
                ("token", self.token),
                ("topic", self.topic),
                ("endpoint", self.endpoint),
                ("p256dh", self.p256dh),
                ("auth", self.auth),
            ],
            sandbox: self.sandbox,
        };
        let address = match self.provider {
            PushServiceName::Apns => PushAddress::Apns {
                token: given.needed("token")?,
                topic: given.take("topic").unwrap_or_default(),
                is_sandbox: given.sandbox.take().unwrap_or_default(),
            },
            PushServiceName::Fcm => PushAddress::Fcm {
                token: given.needed("token")?,
            },
            PushServiceName::WebPush => PushAddress::WebPush {
                endpoint: given.needed("endpoint")?,
                public_key: given.bytes("p256dh")?,
                auth_secret: given.bytes("auth")?,
            },
        };
        given.end()?;
        Ok(PushRequest {
            address,
            shows_content: self.show_content.unwrap_or_default(),
            locale: self.locale.unwrap_or_default(),
        })
    }
}

/// Returns the user whose address on the device may be changed.
fn owner(call: &ApiCall, device: DeviceId) -> Result<UserId, ApiProblem> {
    match &call.caller {
        ApiCaller::User(token) if token.device.is_some_and(|it| it != device) => {
            Err(RequestRefusal::Forbidden(
                "this is not the device of the token; a push address is set by its own device",
            )
            .into())
        }
        _ => call.user(),
    }
}

async fn register(call: ApiCall, input: RegisterPush) -> Result<NoContent, ApiProblem> {
    let device = input.device_id;
    let user = owner(&call, device)?;
    let request = input.request()?;
    call.pushes()?.register(user, device, request).await?;
    Ok(NoContent)
}

async fn remove(call: ApiCall, input: NamedDevice) -> Result<NoContent, ApiProblem> {
    let user = owner(&call, input.device_id)?;
    call.pushes()?.remove(user, input.device_id).await?;
    Ok(NoContent)
}

async fn webpush_key(call: ApiCall, _: NoFields) -> Result<WebPushKey, ApiProblem> {
    let public_key = call.pushes()?.webpush_key()?.to_owned();
    Ok(WebPushKey { public_key })
}

/// Returns the operations of this module.
pub(crate) fn operations() -> Vec<ApiOperation> {
    vec![
        ApiOperation::new(
            Method::PUT,
            "/devices/{device_id}/push",
            OperationAccess::User(ApiScope::DevicesWrite),
            "registerPush",
            "Registers where the device is notified while it is not connected; an earlier address \
             is replaced.",
            register,
        ),
        ApiOperation::new(
            Method::DELETE,
            "/devices/{device_id}/push",
            OperationAccess::User(ApiScope::DevicesWrite),
            "removePush",
            "Ends the notifications of the device. A sign-out does the same.",
            remove,
        ),
        ApiOperation::new(
            Method::GET,
            "/push/webpush-key",
            OperationAccess::Open,
            "getWebPushKey",
            "Returns the server's public key, which a browser needs to subscribe to Web Push.",
            webpush_key,
        ),
    ]
}
