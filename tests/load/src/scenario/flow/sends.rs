//! Sends in flight, and their path: over the sender's connection, or by gRPC if there is a gateway.

use std::sync::Arc;

use gimlet_proto::pb::{self, PackageType};

use super::member::FlowMember;
use crate::judge::{MessageMark, StreamDestination, StreamId};
use crate::net::{ClientNet, SendBody};
use crate::scenario::grpc_sender::{GrpcSender, SendOrder, SendOutcome};
use crate::slots::{RequestSlots, request_of};

/// Send in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowSend {
    pub(super) member: u32,
    pub(super) stream: StreamId,
    pub(super) number: u32,
    /// Time at which it was due.
    pub(super) at: u64,
}

/// Sends in flight.
#[derive(Debug)]
pub(super) struct FlowSends {
    gateway: Option<GrpcSender>,
    in_flight: RequestSlots<FlowSend>,
    /// Bytes of a content, and the content of the current send.
    size: usize,
    content: Vec<u8>,
}

impl FlowSends {
    /// Creates an empty set; sends go by gRPC if there is a gateway, with contents of `size` bytes.
    pub(super) const fn new(gateway: Option<GrpcSender>, size: usize) -> Self {
        Self {
            gateway,
            in_flight: RequestSlots::new(),
            size,
            content: Vec::new(),
        }
    }

    /// Returns true if sends are gRPC calls.
    pub(super) const fn by_call(&self) -> bool {
        self.gateway.is_some()
    }

    /// Sends the message of this mark.
    pub(super) fn begin(
        &mut self,
        net: &mut ClientNet,
        member: &FlowMember,
        to: StreamDestination,
        (sent, mark): (FlowSend, MessageMark),
        today: i64,
    ) {
        mark.write(&mut self.content, self.size);
        let slot = self.in_flight.put(sent);
        if let Some(gateway) = &self.gateway {
            let order = SendOrder {
                slot,
                account: Arc::clone(&member.account),
                send: pb::SendMessageReq {
                    receiver_type: i32::from(to.kind()),
                    receiver_id: to.id(),
                    message_type: 1,
                    message_content: self.content.clone().into(),
                    send_time: today,
                    is_persist: true,
                    ..pb::SendMessageReq::default()
                },
            };
            gateway.send(order);
            return;
        }
        let body = SendBody {
            receiver_type: to.kind(),
            receiver: to.id(),
            at: today,
            content: &self.content,
            key: &mark.key(),
        };
        net.send(member.conn, PackageType::PtSend, request_of(slot), &body);
    }

    /// Ends a send; returns `None` if it was not in flight.
    pub(super) fn end(&mut self, slot: u32) -> Option<FlowSend> {
        self.in_flight.take(slot)
    }

    /// Takes the outcomes of the calls that ended since the last look.
    pub(super) fn outcomes(&self) -> Vec<SendOutcome> {
        let outcomes = self.gateway.as_ref().map(GrpcSender::outcomes);
        outcomes.unwrap_or_default()
    }
}
