//! Compiles the protocol buffers in Rust alone: no `protoc` is needed.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const PROTOS: &[&str] = &["mcp/agent/v1/agent.proto"];
    println!("cargo::rerun-if-changed=proto");
    let set = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    File::create(out.join("descriptors.bin"))?.write_all(&set.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(set)?;
    Ok(())
}
