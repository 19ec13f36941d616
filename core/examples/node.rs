//! Embeds a node in a program, without sockets: Alice sends a message, and Bob receives it.

use std::sync::Arc;

use gimlet_core::{
    business::OpenBusiness,
    id::{DeviceId, UserId},
    memory,
    message::{MessageDraft, MessageSender},
    node::NodeBuilder,
};
use gimlet_core::{page::PageLimit, seq::Seq};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stores = memory::stores();
    let node = NodeBuilder::new(stores.clone(), Arc::new(OpenBusiness)).start();
    let (alice, bob) = (
        UserId::new(1).ok_or("not an id")?,
        UserId::new(2).ok_or("not an id")?,
    );
    let phone = MessageSender::User {
        user: alice,
        device: DeviceId::new(1),
    };
    node.service()
        .send(phone, MessageDraft::text(bob, "hi"))
        .await?;
    let page = stores
        .inbox
        .after(bob, Seq::ZERO, PageLimit::items(10))
        .await?;
    println!("Bob's inbox:");
    for entry in page.items {
        let text = String::from_utf8_lossy(&entry.message.content.0);
        println!("  {}. {text}", entry.seq);
    }
    node.stop().await;
    Ok(())
}
