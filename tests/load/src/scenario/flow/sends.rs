//! Sends in flight, and their path: over the sender's connection, or by gRPC if there is a gateway.

use std::sync::Arc;

use gimlet_proto::pb::{self, PackageType};

use super::member::Member;
use crate::judge::{Mark, StreamId, To};
use crate::net::{Net, Send};
use crate::scenario::gateway::{Gateway, Order, Outcome};
use crate::scenario::slots::{Slots, request_of};

/// Send in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) member: u32,
    pub(super) stream: StreamId,
    pub(super) number: u32,
    /// Time at which it was due.
    pub(super) at: u64,
}

/// Sends in flight.
#[derive(Debug)]
pub(super) struct Sends {
    gateway: Option<Gateway>,
    under_way: Slots<Sent>,
    /// Bytes of a content, and the content of the current send.
    size: usize,
    content: Vec<u8>,
}

impl Sends {
    /// Creates an empty set; sends go by gRPC if there is a gateway, with contents of `size` bytes.
    pub(super) const fn new(gateway: Option<Gateway>, size: usize) -> Self {
        Self {
            gateway,
            under_way: Slots::new(),
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
        net: &mut Net,
        member: &Member,
        to: To,
        (sent, mark): (Sent, Mark),
        today: i64,
    ) {
        mark.write(&mut self.content, self.size);
        let slot = self.under_way.put(sent);
        if let Some(gateway) = &self.gateway {
            let order = Order {
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
        let body = Send {
            receiver_type: to.kind(),
            receiver: to.id(),
            at: today,
            content: &self.content,
            key: &mark.key(),
        };
        net.send(member.conn, PackageType::PtSend, request_of(slot), &body);
    }

    /// Ends a send; returns `None` if it was not in flight.
    pub(super) fn end(&mut self, slot: u32) -> Option<Sent> {
        self.under_way.take(slot)
    }

    /// Takes the outcomes of the calls that ended since the last look.
    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        let outcomes = self.gateway.as_ref().map(Gateway::outcomes);
        outcomes.unwrap_or_default()
    }
}
