//! TLS between nodes, from the certificate's files to a call that is answered.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use gimlet_cluster::{ClusterId, NodeCredentials, NodeFiles, NodeTls, ServerName};
use gimlet_listen::admission::ConnectionLimiter;
use gimlet_listen::pem::PemFile;
use gimlet_listen::tls::ServerFiles;
use gimlet_listen::{AlpnProtocols, ListenerEntrance, ServerTls, StopTokens};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;

use tokio_util::task::TaskTracker;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::accept;

/// Writes an authority, and a certificate that it has signed for this name.
fn write(folder: &Path, name: &str) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let cert = params.signed_by(&key, &issuer).unwrap();
    for (file, text) in [
        ("ca.pem", ca),
        ("cert.pem", cert.pem()),
        ("key.pem", key.serialize_pem()),
    ] {
        std::fs::write(folder.join(file), text).unwrap();
    }
}

fn files(folder: &Path) -> NodeFiles {
    let file = |setting, name: &str| PemFile {
        setting,
        path: folder.join(name),
    };
    NodeFiles {
        ca: file("cluster.tls_ca", "ca.pem"),
        cert: file("cluster.tls_cert", "cert.pem"),
        key: file("cluster.tls_key", "key.pem"),
    }
}

/// Serves gRPC's health service to callers with a certificate of this folder's authority.
async fn serve(folder: &Path, tasks: &TaskTracker, ends: &StopTokens) -> SocketAddr {
    let NodeFiles { ca, cert, key } = files(folder);
    let client_ca = Some(ca);
    let tls = ServerTls::load(ServerFiles {
        cert,
        key,
        client_ca,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let entrance = ListenerEntrance {
        tls: Some(tls.unwrap().listener(AlpnProtocols::Http2)),
        ..ListenerEntrance::plain(listener, ConnectionLimiter::new(10, 10))
    };
    let incoming = accept::incoming(entrance, tasks, ends.clone(), Arc::default());
    let (_reporter, health) = tonic_health::server::health_reporter();
    let served = tonic::transport::Server::builder()
        .add_service(health)
        .serve_with_incoming_shutdown(incoming, ends.stop.clone().cancelled_owned());
    tasks.spawn(async move { served.await.unwrap() });
    addr
}

async fn answers(tls: Option<NodeTls>, address: &str) -> bool {
    let caller = NodeCredentials::new(None, ClusterId::default()).unwrap();
    let channel = caller.with_tls(tls).channel(address).unwrap();
    let mut client = HealthClient::new(channel);
    client.check(HealthCheckRequest::default()).await.is_ok()
}

#[tokio::test]
async fn nodes_of_one_authority_reach_each_other_and_nobody_else_does() {
    let (here, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(here.path(), "nodes.gimlet.internal");
    write(other.path(), "nodes.gimlet.internal");
    let (tasks, ends) = (TaskTracker::new(), StopTokens::default());
    let addr = serve(here.path(), &tasks, &ends).await.to_string();
    let name = || ServerName::try_from("nodes.gimlet.internal").ok();
    let ours = NodeTls::load(files(here.path()), name()).unwrap();
    assert!(answers(Some(ours), &addr).await);
    // The name in the certificate is not the host of the address.
    let unnamed = NodeTls::load(files(here.path()), None).unwrap();
    assert!(!answers(Some(unnamed), &addr).await);
    let stranger = NodeTls::load(files(other.path()), name()).unwrap();
    assert!(!answers(Some(stranger), &addr).await);
    // It trusts the node, and has no certificate that the node trusts.
    let mut mixed = files(other.path());
    mixed.ca = files(here.path()).ca;
    let uninvited = NodeTls::load(mixed, name()).unwrap();
    assert!(!answers(Some(uninvited), &addr).await);
    assert!(!answers(None, &addr).await);
    ends.stop.cancel();
    ends.force_close.cancel();
    tasks.close();
    tasks.wait().await;
}
