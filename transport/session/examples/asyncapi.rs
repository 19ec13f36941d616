//! Prints the `AsyncAPI` document:
//! `cargo run -q -p gimlet-transport --example asyncapi > docs/asyncapi.json`.

fn main() {
    println!("{:#}", gimlet_transport::asyncapi());
}
