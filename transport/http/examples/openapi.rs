//! Prints the OpenAPI document:
//! `cargo run -q -p gimlet-http --example openapi > docs/openapi.json`.

fn main() {
    println!("{:#}", gimlet_http::openapi());
}
