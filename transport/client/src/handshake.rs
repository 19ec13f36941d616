//! Connects to an address and signs in.

use bytes::Bytes;
use futures_util::StreamExt as _;
use gimlet_proto::pb;
use prost::Message as _;
use tokio::time::timeout;

use crate::link::{ConnectionError, FrameStream, OutgoingFrames, connect};
use crate::options::{ClientOptions, DeviceCredentials};
use crate::reconnect_decision::ConnectionEnd;

/// The version of gimlet's extension that this client speaks.
const PROTOCOL_VERSION: u32 = 1;
/// The request id of the sign-in; a session continues from it.
pub(crate) const SIGN_IN_ID: i64 = 1;

/// A signed-in connection.
pub(crate) struct SignedInLink {
    pub(crate) frames: FrameStream,
    pub(crate) out: OutgoingFrames,
    pub(crate) answer: pb::SignInOutput,
}

/// Connects and signs in, within `connect_timeout`.
pub(crate) async fn connect_and_sign_in(
    options: &ClientOptions,
) -> Result<SignedInLink, ConnectionEnd> {
    let work = sign_in(options);
    timeout(options.connect_timeout, work)
        .await
        .unwrap_or_else(|_| {
            let endpoint = &options.endpoint;
            let wait = options.connect_timeout;
            Err(ConnectionEnd::Lost(format!(
                "{endpoint} did not answer within {wait:?}"
            )))
        })
}

async fn sign_in(options: &ClientOptions) -> Result<SignedInLink, ConnectionEnd> {
    let (mut frames, mut out) = connect(options).await.map_err(|error| {
        ConnectionEnd::Lost(format!("cannot connect to {}: {error}", options.endpoint))
    })?;
    out.put(request(&options.credentials));
    out.pump().await?;
    loop {
        let frame = frames.next().await.unwrap_or(Err(ConnectionError::Ended))?;
        let output = read(frame)?;
        if output.r#type() == pb::PackageType::PtClose {
            return Err(closed(output));
        }
        if output.request_id != SIGN_IN_ID {
            continue;
        }
        if output.code != 0 {
            return Err(ConnectionEnd::NotSignedIn {
                code: output.code,
                message: output.message,
            });
        }
        let answer = pb::SignInOutput::decode(output.data).map_err(|_| unreadable())?;
        return Ok(SignedInLink {
            frames,
            out,
            answer,
        });
    }
}

fn request(who: &DeviceCredentials) -> Bytes {
    let data = pb::SignInInput {
        device_id: who.device_id,
        user_id: who.user_id,
        token: who.token.clone(),
        protocol: PROTOCOL_VERSION,
    };
    let data = data.encode_to_vec().into();
    input(pb::PackageType::PtSignIn, SIGN_IN_ID, data)
}

/// A packet to the server.
pub(crate) fn input(kind: pb::PackageType, request_id: i64, data: Bytes) -> Bytes {
    let packet = pb::Input {
        r#type: kind.into(),
        request_id,
        data,
    };
    packet.encode_to_vec().into()
}

/// A packet from the server.
pub(crate) fn read(frame: Bytes) -> Result<pb::Output, ConnectionEnd> {
    pb::Output::decode(frame).map_err(|_| unreadable())
}

/// Converts a `PT_CLOSE` into the end of the connection.
pub(crate) fn closed(output: pb::Output) -> ConnectionEnd {
    ConnectionEnd::ClosedByServer(pb::CloseOutput::decode(output.data).unwrap_or_default())
}

/// Returns the end of a connection whose server sent an invalid packet.
pub(crate) fn unreadable() -> ConnectionEnd {
    ConnectionEnd::Lost("the server sent something that is not gim's protocol".to_owned())
}
