//! docs/authorization.md is the truth about who may call what: it has a row for every operation of
//! every entry point, and a real server answers every kind of caller as its cell says.
#![expect(
    clippy::indexing_slicing,
    reason = "a failed test should panic, its helpers too"
)]

mod callers;
mod grpc;
mod http;
mod socket;
mod table;

use callers::TestedServer;
use table::{AccessTable, WrongCell};

const PAGE: &str = include_str!("../../../docs/authorization.md");
const HTTP: &str = "HTTP operations";
const SOCKET: &str = "Socket packets";
const CLIENTS: &str = "gRPC methods of clients";
const BACKENDS: &str = "gRPC methods of backends";

#[track_caller]
fn assert_none(wrong: &[WrongCell]) {
    let lines = wrong.iter().map(|cell| {
        let WrongCell {
            row,
            column,
            page,
            server,
        } = cell;
        format!("{row}, {column}: the page says {page}, the server {server}")
    });
    let lines: Vec<_> = lines.collect();
    assert!(
        lines.is_empty(),
        "docs/authorization.md:\n{}",
        lines.join("\n")
    );
}

#[test]
fn every_operation_has_a_row() {
    AccessTable::read(PAGE, HTTP).compare_operations(&http::operations());
    AccessTable::read(PAGE, SOCKET).compare_operations(&socket::packets());
    AccessTable::read(PAGE, CLIENTS).compare_operations(&grpc::methods("Ext"));
    AccessTable::read(PAGE, BACKENDS).compare_operations(&grpc::methods("Int"));
}

#[tokio::test]
async fn http_operations_are_for_the_callers_of_the_page() {
    let server = TestedServer::start().await;
    let table = AccessTable::read(PAGE, HTTP);
    assert_none(&http::wrong_cells(&server, &table).await);
    server.stop().await;
}

#[tokio::test]
async fn packets_are_for_the_callers_of_the_page() {
    let server = TestedServer::start().await;
    let table = AccessTable::read(PAGE, SOCKET);
    assert_none(&socket::wrong_cells(&server, &table).await);
    server.stop().await;
}

#[tokio::test]
async fn grpc_methods_are_for_the_callers_of_the_page() {
    let server = TestedServer::start().await;
    let table = AccessTable::read(PAGE, CLIENTS);
    assert_none(&grpc::wrong_client_cells(&server, &table).await);
    let table = AccessTable::read(PAGE, BACKENDS);
    assert_none(&grpc::wrong_backend_cells(&server, &table).await);
    server.stop().await;
}

/// A wrong cell of the page is found, and no other.
#[tokio::test]
async fn a_planted_error_is_found() {
    let server = TestedServer::start().await;
    let mut table = AccessTable::read(PAGE, HTTP);
    table.rows.retain(|row, _| row == "getGroup");
    let at = table.columns.iter().position(|it| it == "removed");
    table.rows.get_mut("getGroup").expect("a row")[at.expect("a column")] = "yes".into();
    let wrong = http::wrong_cells(&server, &table).await;
    let found = WrongCell {
        row: "getGroup".into(),
        column: "removed".into(),
        page: "yes".into(),
        server: "403 member".into(),
    };
    assert_eq!(wrong, [found]);
    server.stop().await;
}
