//! gim's wire and gimlet's own records, as types generated from `proto/proto`.
//!
//! Used by everything that encodes or decodes: transports, the gRPC API, the client library, the
//! embedded storage. It has no behaviour and depends on no other crate of the workspace; converters
//! give these types their meaning.
//!
//! The `.proto` files are the reference and carry the comments shown here. Enum values keep gim's
//! prefixes where gim has them (`PackageType::PtSignIn`); ours do not repeat the enum's name
//! (`CloseCode::Idle`).

/// gim's package `pb`, generation B, with gimlet's additive extension.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::clone_on_ref_ptr,
    reason = "generated code"
)]
pub mod pb {
    tonic::include_proto!("pb");
}

/// Records of the embedded storage (`gimlet.store.v1`).
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::clone_on_ref_ptr,
    reason = "generated code"
)]
pub mod store {
    tonic::include_proto!("gimlet.store.v1");
}

/// The protocol between nodes (`gimlet.node.v1`).
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::clone_on_ref_ptr,
    reason = "generated code"
)]
pub mod node {
    tonic::include_proto!("gimlet.node.v1");
}

/// Every `.proto` file of this crate as an encoded `FileDescriptorSet`, for gRPC
/// reflection.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
