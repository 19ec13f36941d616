//! Writes server/gimlet.toml and the tables of docs/configuration.md from the declaration of the
//! settings (`server/src/config/sections.rs`). Run it after a change there:
//!
//! ```sh
//! cargo run -p gimlet-server --example settings
//! ```

use std::path::Path;

use gimlet_server::config::{TABLES_START, page_tables, template};

fn main() -> std::io::Result<()> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::write(crate_folder.join("gimlet.toml"), template())?;
    let page = crate_folder.join("../docs/configuration.md");
    let text = std::fs::read_to_string(&page)?;
    let introduction = text
        .split_once(TABLES_START)
        .map_or(text.as_str(), |(before, _)| before);
    std::fs::write(page, format!("{introduction}{}", page_tables()))
}
