//! Compiles every `.proto` file under `proto/` without a system `protoc`, and stores the
//! descriptors for gRPC reflection. New files are found automatically.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use prost::Message as _;

const ROOT: &str = "proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let out = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run this through cargo")?;

    let mut files = Vec::new();
    collect(Path::new(ROOT), &mut files)?;
    files.sort();

    let descriptors = protox::compile(files, [ROOT])?;
    fs::write(
        Path::new(&out).join("descriptors.bin"),
        descriptors.encode_to_vec(),
    )?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}

/// Adds the `.proto` files below `dir` to `files`.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|ext| ext == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
