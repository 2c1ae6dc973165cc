//! Programs to upgrade to: agents of other versions, and stand-ins that do
//! not come up.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture::programs;
use crate::run::Answer;

/// The version of the programs under test.
pub const OWN: &str = env!("CARGO_PKG_VERSION");

fn place(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).unwrap();
    directory
}

fn write(path: &Path, bytes: &[u8]) {
    mcp::atomic_file::write(path, bytes, 0o755).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Returns a copy of the agent under test that says it is another version:
/// the text is exchanged in its file, so the length has to be the same.
pub fn agent_of_version(version: &str) -> PathBuf {
    assert_eq!(version.len(), OWN.len());
    let path = place(&format!("agent-{version}")).join("mcp-agent");
    let mut bytes = fs::read(programs().join("mcp-agent")).unwrap();
    let own = OWN.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(own.len()).position(|window| window == own) {
        at += found;
        bytes[at..at + own.len()].copy_from_slice(version.as_bytes());
    }
    write(&path, &bytes);
    let says = Answer::of(Command::new(&path).arg("version"), "").ok();
    assert_eq!(says.text(), format!("mcp-agent {version}"));
    path
}

/// Returns a stand-in that answers as an agent of this version and schema,
/// and behaves in this way as a server; see `programs/stub.rs`.
pub fn stub(version: &str, schema: u32, server: &str) -> PathBuf {
    let path = place(&format!("stub-{server}-{schema}")).join("mcp-agent");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/programs/stub.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--edition", "2021", "-C", "strip=symbols", "-o"]).arg(&path).arg(source);
    command.env("STUB_VERSION", version).env("STUB_SCHEMA", schema.to_string());
    Answer::of(command.env("STUB_SERVER", server), "").ok();
    path
}
