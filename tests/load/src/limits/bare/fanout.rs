//! Fan-out server: sends the publisher's bytes to every member, unchanged.
//!
//! The first frame of a client gives its role: `P` publishes, anything else is a member's banner
//! and is echoed. Bytes that the publisher then sends in one write go to each member in one write.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::measured_limit::ProbeOutcome;

/// Bursts that may wait for one member.
const QUEUE: usize = 64;

/// Maximum bytes of a burst.
const BURST: usize = 256 * 1024;

/// Path of the frames to the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FanoutPath {
    /// Through a queue to the member's task.
    Queue,
    /// Written by the publisher's task, which waits until the socket takes all bytes.
    Direct,
}

/// Entry point of a member's frames.
enum FanoutMember {
    Queue(mpsc::Sender<Bytes>),
    Direct(Arc<TcpStream>),
}

type SharedMembers = Arc<Mutex<Vec<Arc<FanoutMember>>>>;

pub(super) async fn serve(listener: TcpListener, way: FanoutPath) -> ProbeOutcome<()> {
    let members = SharedMembers::default();
    let mut clients = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let members = Arc::clone(&members);
        clients.spawn(async move {
            // An error means that the client has left.
            drop(client(stream, &members, way).await);
        });
    }
}

async fn client(mut stream: TcpStream, members: &SharedMembers, way: FanoutPath) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut hello = vec![0; 2];
    stream.read_exact(&mut hello).await?;
    let length = hello.first_chunk().map_or(0, |it| u16::from_be_bytes(*it));
    let mut body = vec![0; length.into()];
    stream.read_exact(&mut body).await?;
    if body.starts_with(b"P") {
        return publisher(stream, members).await;
    }
    hello.append(&mut body);
    stream.write_all(&hello).await?;
    match way {
        FanoutPath::Queue => queued(stream, members).await,
        FanoutPath::Direct => direct(stream, members).await,
    }
}

async fn publisher(mut stream: TcpStream, members: &SharedMembers) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(BURST);
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let burst = buffer.split().freeze();
        let now: Vec<Arc<FanoutMember>> = members
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for member in now {
            match &*member {
                FanoutMember::Queue(queue) => drop(queue.send(burst.clone()).await),
                FanoutMember::Direct(stream) => write(stream, &burst).await?,
            }
        }
    }
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn queued(mut stream: TcpStream, members: &SharedMembers) -> io::Result<()> {
    let (queue, mut waiting) = mpsc::channel(QUEUE);
    join(members, FanoutMember::Queue(queue));
    while let Some(burst) = waiting.recv().await {
        // All bursts that wait by now leave together.
        if waiting.is_empty() {
            stream.write_all(&burst).await?;
            continue;
        }
        let mut all = BytesMut::from(&*burst);
        while let Ok(next) = waiting.try_recv() {
            all.extend_from_slice(&next);
        }
        stream.write_all(&all).await?;
    }
    Ok(())
}

async fn direct(stream: TcpStream, members: &SharedMembers) -> io::Result<()> {
    let stream = Arc::new(stream);
    join(members, FanoutMember::Direct(Arc::clone(&stream)));
    let mut scratch = [0; 64];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut scratch) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn join(members: &SharedMembers, member: FanoutMember) {
    let mut all = members.lock().unwrap_or_else(PoisonError::into_inner);
    all.push(Arc::new(member));
}
