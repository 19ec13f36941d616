//! Devices, sign-in and sign-out of the built-in users, and the user's own profile.

use gimlet_core::accounts::AccountSignIn;
use gimlet_core::business::UserInfo;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::scope::ApiScope;
use gimlet_core::store::{AccountChange, DeviceInfo};
use http::Method;

use crate::bounded::SexCode;
use crate::call::ApiCall;
use crate::credentials::{ApiKeys, RequestCredentials, bearer_of, credentials};
use crate::device::{self, WEB_DEVICE};
use crate::json::object;
use crate::message::rfc3339;
use crate::nodes::ApiRole;
use crate::operation::{ApiOperation, NoContent, NoFields, OperationAccess};
use crate::problem::ApiProblem;

object! {
    /// A device to register.
    RegisterDevice {
        /// The type: 1 Android, 2 iOS, 3 Windows, 4 macOS, 5 Web (the default).
        r#type: Option<i32>,
        /// The manufacturer.
        brand: Option<String>,
        /// The model.
        model: Option<String>,
        /// The version of the operating system.
        system_version: Option<String>,
        /// The version of the client library.
        sdk_version: Option<String>,
    }
}

object! {
    /// A registered device.
    RegisteredDevice {
        /// The device's id.
        device_id: DeviceId,
    }
}

object! {
    /// A sign-in with a verification code.
    SignInWithCode {
        /// The phone number: 3 to 20 digits, optionally after a leading +.
        phone_number: String,
        /// The verification code.
        code: String,
        /// The device; by default a new one is registered.
        device_id: Option<DeviceId>,
    }
}

object! {
    /// A signed-in device.
    SignedInDevice {
        /// The user.
        user_id: UserId,
        /// The device.
        device_id: DeviceId,
        /// The token, for the header `Authorization: Bearer`.
        token: String,
        /// True if the user was created by this sign-in.
        is_new: bool,
    }
}

object! {
    /// A user.
    AccountInfo {
        /// The user's id.
        user_id: UserId,
        /// The name.
        nickname: String,
        /// 0 unknown, 1 male, 2 female.
        sex: i32,
        /// The picture.
        avatar_url: String,
        /// The application's data.
        extra: String,
        /// The time of creation (RFC 3339, UTC).
        created_at: String,
        /// The time of the last change (RFC 3339, UTC).
        updated_at: String,
    }
}

object! {
    /// New values of a profile; a field that is left out stays as it is.
    ChangeUser {
        /// The name.
        nickname: Option<String>,
        /// 0 unknown, 1 male, 2 female.
        sex: Option<SexCode>,
        /// The picture.
        avatar_url: Option<String>,
        /// The application's data.
        extra: Option<String>,
    }
}

object! {
    /// A search for users.
    SearchUsers {
        /// A phone number, a whole name, or the beginning of a name.
        key: String,
    }
}

object! {
    /// Users.
    AccountList {
        /// The users.
        users: Vec<AccountInfo>,
    }
}

impl AccountInfo {
    pub(crate) fn of(info: UserInfo) -> Self {
        Self {
            user_id: info.user,
            nickname: info.profile.nickname,
            sex: info.sex,
            avatar_url: info.profile.avatar_url,
            extra: info.profile.extra,
            created_at: rfc3339(info.created_at),
            updated_at: rfc3339(info.updated_at),
        }
    }
}

impl RegisterDevice {
    fn info(self) -> DeviceInfo {
        let given = |text: Option<String>| text.unwrap_or_else(|| "unknown".into());
        DeviceInfo {
            kind: self.r#type.unwrap_or(WEB_DEVICE),
            brand: given(self.brand),
            model: given(self.model),
            system_version: given(self.system_version),
            sdk_version: self.sdk_version.unwrap_or_else(|| "http".into()),
        }
    }
}

async fn register(call: ApiCall, input: RegisterDevice) -> Result<RegisteredDevice, ApiProblem> {
    let service = call.service()?;
    let device_id = service.register(call.client, &input.info()).await?;
    Ok(RegisteredDevice { device_id })
}

/// Returns the device that a caller names, or a new one.
pub(crate) async fn device_of(
    call: &ApiCall,
    known: Option<DeviceId>,
) -> Result<DeviceId, ApiProblem> {
    match known {
        Some(device) => Ok(device),
        None => device::register(call).await,
    }
}

async fn sign_in(call: ApiCall, input: SignInWithCode) -> Result<SignedInDevice, ApiProblem> {
    let accounts = call.accounts()?;
    let device = device_of(&call, input.device_id).await?;
    // A token proves that the caller holds the device: other users' sign-ins on it then end.
    let presented = match credentials(&call.headers, None, &ApiKeys::default()) {
        Ok(RequestCredentials::User(token)) => token.of_device(),
        _ => None,
    };
    let request = AccountSignIn {
        phone: input.phone_number,
        code: input.code,
        device,
        presented,
    };
    let done = accounts.sign_in(call.client, request).await?;
    Ok(SignedInDevice {
        user_id: done.user,
        device_id: device,
        token: bearer_of(done.user, device, &done.token),
        is_new: done.is_new,
    })
}

async fn sign_out(call: ApiCall, _: NoFields) -> Result<NoContent, ApiProblem> {
    let token = call.token()?;
    let accounts = call.accounts()?;
    accounts.sign_out_caller(&token).await?;
    Ok(NoContent)
}

async fn me(call: ApiCall, _: NoFields) -> Result<AccountInfo, ApiProblem> {
    let user = call.user()?;
    Ok(AccountInfo::of(call.accounts()?.user(user).await?))
}

async fn change_me(call: ApiCall, input: ChangeUser) -> Result<AccountInfo, ApiProblem> {
    let (user, accounts) = (call.user()?, call.accounts()?);
    let change = AccountChange {
        nickname: input.nickname,
        sex: input.sex.map(|SexCode(sex)| sex),
        avatar_url: input.avatar_url,
        extra: input.extra,
    };
    accounts.update(user, change).await?;
    Ok(AccountInfo::of(accounts.user(user).await?))
}

async fn search(call: ApiCall, input: SearchUsers) -> Result<AccountList, ApiProblem> {
    let user = call.user()?;
    let found = call.accounts()?.search(user, &input.key).await?;
    Ok(AccountList {
        users: found.into_iter().map(AccountInfo::of).collect(),
    })
}

/// Returns the operations of this module.
pub(crate) fn operations() -> Vec<ApiOperation> {
    vec![
        ApiOperation::new(
            Method::POST,
            "/devices",
            OperationAccess::Open,
            "registerDevice",
            "Registers a device: one installation of a client.",
            register,
        ),
        ApiOperation::new(
            Method::POST,
            "/sign-in",
            OperationAccess::Open,
            "signIn",
            "Signs a user in with a phone number and a verification code; a new number creates the \
             user.",
            sign_in,
        )
        .by(ApiRole::Business)
        .may_register(),
        ApiOperation::new(
            Method::POST,
            "/sign-out",
            OperationAccess::Device,
            "signOut",
            "Revokes the token of the device, also a JWT, and closes its connection.",
            sign_out,
        )
        .by(ApiRole::Business),
        ApiOperation::new(
            Method::GET,
            "/me",
            OperationAccess::User(ApiScope::UsersRead),
            "getMe",
            "Returns the user's own profile.",
            me,
        )
        .by(ApiRole::Business)
        .cacheable(),
        ApiOperation::new(
            Method::PATCH,
            "/me",
            OperationAccess::User(ApiScope::UsersWrite),
            "changeMe",
            "Changes the user's own profile.",
            change_me,
        )
        .by(ApiRole::Business),
        ApiOperation::new(
            Method::GET,
            "/users",
            OperationAccess::User(ApiScope::UsersRead),
            "searchUsers",
            "Finds users by phone number or name.",
            search,
        )
        .by(ApiRole::Business),
    ]
}
