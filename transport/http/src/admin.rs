//! Operations for administrators: imports, bans, connections, devices, statistics.

use gimlet_core::account_import::AccountImport;
use gimlet_core::gateway::ConnectGateway;
use gimlet_core::id::{DeviceId, UserId};
use gimlet_core::scope::ApiScope;
use gimlet_core::store::{AccountChange, Route};
use http::Method;

use crate::backend::NamedUser;
use crate::bounded::SexCode;
use crate::call::ApiCall;
use crate::json::{WholeNumber, object};
use crate::message::rfc3339;
use crate::nodes::ApiRole;
use crate::operation::{ApiOperation, NoContent, NoFields, OperationAccess};
use crate::problem::ApiProblem;

/// Largest number of users that one request imports.
const MAX_IMPORTED: usize = 500;

object! {
    /// A user to import.
    ImportUser {
        /// The phone number: 3 to 20 digits, optionally after a leading +. It identifies the user.
        phone_number: String,
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
    /// Users to import.
    ImportUsers {
        /// The users, up to 500.
        users: Vec<ImportUser>,
    }
}

object! {
    /// An imported user.
    ImportedUser {
        /// The user's id.
        user_id: UserId,
        /// False if there was a user with this phone number.
        is_new: bool,
    }
}

object! {
    /// The imported users.
    ImportedUsers {
        /// The users, in the order of the request.
        users: Vec<ImportedUser>,
    }
}

object! {
    /// A ban.
    BanUser {
        /// The user.
        user_id: UserId,
        /// The reason, for operators; the user is not told.
        reason: String,
    }
}

object! {
    /// The ban of a user.
    BanInfo {
        /// True if the user is banned.
        is_banned: bool,
        /// The reason.
        reason: Option<String>,
        /// The time of the ban (RFC 3339, UTC).
        banned_at: Option<String>,
    }
}

object! {
    /// The connection of a device.
    ConnectionInfo {
        /// The user.
        user_id: UserId,
        /// The device.
        device_id: DeviceId,
        /// The node that has the connection.
        node: String,
        /// The client's address, if the node knows it.
        client: Option<String>,
    }
}

object! {
    /// Connections of a user.
    ConnectionList {
        /// The connections, by device.
        connections: Vec<ConnectionInfo>,
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
    /// A registered device.
    DeviceDetails {
        /// The device's id.
        device_id: DeviceId,
        /// The type: 1 Android, 2 iOS, 3 Windows, 4 macOS, 5 Web.
        r#type: i32,
        /// The manufacturer.
        brand: String,
        /// The model.
        model: String,
        /// The version of the operating system.
        system_version: String,
        /// The version of the client library.
        sdk_version: String,
        /// The user that signed in on it last.
        user_id: Option<UserId>,
        /// The time of registration (RFC 3339, UTC).
        created_at: String,
        /// The time of the last sign-in (RFC 3339, UTC).
        updated_at: String,
        /// Its connection, if it is connected.
        connection: Option<ConnectionInfo>,
    }
}

object! {
    /// Counts of the node that answers.
    NodeStatistics {
        /// Signed-in connections of this node: sockets and event streams.
        connections: WholeNumber,
        /// Messages pushed to connections of this node since its start.
        pushed: WholeNumber,
        /// Sends that wait for the storage.
        queued_sends: WholeNumber,
        /// Bytes of sends that are not answered yet.
        queued_bytes: WholeNumber,
        /// Entries of accepted group sends that are not delivered yet.
        group_backlog: WholeNumber,
    }
}

impl ConnectionInfo {
    fn of(route: Route) -> Self {
        Self {
            user_id: route.user,
            device_id: route.device,
            node: route.node.name,
            client: route.client.map(|it| it.to_string()),
        }
    }
}

/// Converts a count to a number of the API.
fn count(number: usize) -> WholeNumber {
    WholeNumber(number.try_into().unwrap_or(u64::MAX))
}

async fn import(call: ApiCall, input: ImportUsers) -> Result<ImportedUsers, ApiProblem> {
    if input.users.len() > MAX_IMPORTED {
        let detail = format!(
            "users has {} users; it must have at most {MAX_IMPORTED}",
            input.users.len()
        );
        return Err(ApiProblem::field("users", detail));
    }
    let users = input.users.into_iter().map(|user| AccountImport {
        phone: user.phone_number,
        profile: AccountChange {
            nickname: user.nickname,
            sex: user.sex.map(|SexCode(sex)| sex),
            avatar_url: user.avatar_url,
            extra: user.extra,
        },
    });
    let imported = call.accounts()?.import(users.collect()).await;
    let imported = imported
        .map_err(|wrong| ApiProblem::from(wrong.refusal).inside(format!("users[{}]", wrong.at)))?;
    let users = imported.into_iter().map(|it| ImportedUser {
        user_id: it.user,
        is_new: it.is_new,
    });
    Ok(ImportedUsers {
        users: users.collect(),
    })
}

async fn ban(call: ApiCall, input: BanUser) -> Result<NoContent, ApiProblem> {
    call.accounts()?.ban(input.user_id, input.reason).await?;
    Ok(NoContent)
}

async fn lift_ban(call: ApiCall, input: NamedUser) -> Result<NoContent, ApiProblem> {
    call.accounts()?.lift_ban(input.user_id).await?;
    Ok(NoContent)
}

async fn get_ban(call: ApiCall, input: NamedUser) -> Result<BanInfo, ApiProblem> {
    let ban = call.accounts()?.ban_of(input.user_id).await?;
    Ok(BanInfo {
        is_banned: ban.is_some(),
        banned_at: ban.as_ref().map(|ban| rfc3339(ban.at)),
        reason: ban.map(|ban| ban.reason),
    })
}

async fn connections(call: ApiCall, input: NamedUser) -> Result<ConnectionList, ApiProblem> {
    let routes = call.service()?.connections_of(input.user_id).await?;
    Ok(ConnectionList {
        connections: routes.into_iter().map(ConnectionInfo::of).collect(),
    })
}

async fn get_device(call: ApiCall, input: NamedDevice) -> Result<DeviceDetails, ApiProblem> {
    let (device, route) = call.service()?.device(input.device_id).await?;
    Ok(DeviceDetails {
        device_id: device.id,
        r#type: device.info.kind,
        brand: device.info.brand,
        model: device.info.model,
        system_version: device.info.system_version,
        sdk_version: device.info.sdk_version,
        user_id: device.user,
        created_at: rfc3339(device.created_at),
        updated_at: rfc3339(device.updated_at),
        connection: route.map(ConnectionInfo::of),
    })
}

async fn statistics(call: ApiCall, _: NoFields) -> Result<NodeStatistics, ApiProblem> {
    let service = call.service()?;
    let (sends, bytes) = service.send_queue();
    let (entries, _) = service.job_backlog();
    let gateway = call.shared.api.gateway.as_ref();
    let hub = gateway.map(ConnectGateway::hub);
    Ok(NodeStatistics {
        connections: count(hub.map_or(0, |hub| hub.connections())),
        pushed: WholeNumber(hub.map_or(0, |hub| hub.pushed())),
        queued_sends: count(sends),
        queued_bytes: count(bytes),
        group_backlog: WholeNumber(entries),
    })
}

/// Returns the operations of this module.
pub(crate) fn operations() -> Vec<ApiOperation> {
    vec![
        ApiOperation::new(
            Method::POST,
            "/users/import",
            OperationAccess::Backend(ApiScope::UsersWrite),
            "importUsers",
            "Creates users that are not there yet, and sets their profiles. A request that failed halfway \
             may be repeated.",
            import,
        )
        .by(ApiRole::Business),
        ApiOperation::new(
            Method::PUT,
            "/users/{user_id}/ban",
            OperationAccess::Backend(ApiScope::UsersWrite),
            "banUser",
            "Bans a user: its tokens are not valid any more, and its connections are closed.",
            ban,
        )
        .by(ApiRole::Business),
        ApiOperation::new(
            Method::GET,
            "/users/{user_id}/ban",
            OperationAccess::Backend(ApiScope::UsersRead),
            "getBan",
            "Returns whether a user is banned.",
            get_ban,
        )
        .by(ApiRole::Business),
        ApiOperation::new(
            Method::DELETE,
            "/users/{user_id}/ban",
            OperationAccess::Backend(ApiScope::UsersWrite),
            "liftBan",
            "Lifts the ban of a user: its tokens are valid again.",
            lift_ban,
        )
        .by(ApiRole::Business),
        ApiOperation::new(
            Method::GET,
            "/users/{user_id}/connections",
            OperationAccess::Backend(ApiScope::DevicesRead),
            "listConnections",
            "Returns the connections of a user, on all nodes.",
            connections,
        ),
        ApiOperation::new(
            Method::GET,
            "/devices/{device_id}",
            OperationAccess::Backend(ApiScope::DevicesRead),
            "getDevice",
            "Returns a device, and its connection.",
            get_device,
        ),
        ApiOperation::new(
            Method::GET,
            "/statistics",
            OperationAccess::Backend(ApiScope::StatsRead),
            "getStatistics",
            "Returns counts of the node that answers; /metrics of listen.ops has more.",
            statistics,
        ),
    ]
}
