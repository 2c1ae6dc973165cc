//! Podman's pause process, which holds the user's namespaces.
//!
//! Without it `podman run` starts itself again in a child that tells systemd
//! it is ready and ends before systemd has looked at it: the message is lost,
//! and the unit fails by its timeout (measured: 21 of 40 starts).

use std::path::Path;

/// Tells whether the pause process lives; `runtime` is `$XDG_RUNTIME_DIR`.
pub fn is_alive(runtime: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(runtime.join("libpod/tmp/pause.pid")) else {
        return false;
    };
    let Ok(pid) = text.trim().parse::<u32>() else { return false };
    // The number may have gone to another program since.
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| {
        let name = name.trim();
        name == "catatonit" || name.starts_with("podman")
    })
}
