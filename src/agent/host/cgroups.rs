//! Whether the user's systemd may limit memory, processors and processes
//! (`cgroups(7)`, `systemd.resource-control(5)`, `Delegate=`).

use std::fs;
use std::path::Path;

use crate::agent::finding::Finding;

const ROOT: &str = "/sys/fs/cgroup";
const WANTED: [&str; 3] = ["cpu", "memory", "pids"];

/// The controllers of the kernel, and those that the user's systemd has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Controllers {
    /// Those that the kernel offers; none: this is not cgroup v2.
    pub kernel: Option<String>,
    /// Those that are delegated; none: the user's systemd does not run.
    pub delegated: Option<String>,
}

/// Reads both.
pub fn look(uid: u32) -> Controllers {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let root = Path::new(ROOT);
    let own = format!("user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers");
    Controllers { kernel: read(&root.join("cgroup.controllers")), delegated: read(&root.join(own)) }
}

/// Returns the controllers that are needed to say what a container uses, and
/// that the user's systemd does not have.
pub fn missing(controllers: &Controllers) -> Vec<&'static str> {
    let delegated = controllers.delegated.as_deref().unwrap_or_default();
    let has = |name: &&str| delegated.split_whitespace().any(|word| word == *name);
    ["memory", "io", "pids"].into_iter().filter(|name| !has(name)).collect()
}

/// Judges what a user's systemd may do.
pub fn judge(user: &str, uid: u32, controllers: &Controllers) -> Finding {
    let check = "cgroups";
    let Some(kernel) = &controllers.kernel else {
        let text = "This node does not use cgroup v2 alone: limits of containers have no effect. \
            Take systemd.unified_cgroup_hierarchy=0 out of the kernel's command line, and reboot.";
        // On Debian; other boot loaders have other files.
        return Finding::failed(check, "", text).mend(
            "sudo sed -i 's/ *systemd.unified_cgroup_hierarchy=0//' /etc/default/grub && sudo update-grub && sudo reboot",
        );
    };
    let has = |list: &str, name: &str| list.split_whitespace().any(|word| word == name);
    let absent: Vec<&str> = WANTED.into_iter().filter(|name| !has(kernel, name)).collect();
    if !absent.is_empty() {
        let text = format!(
            "This kernel has no controller for {}: such limits of containers have no effect.",
            absent.join(", ")
        );
        return Finding::warning(check, "", text);
    }
    let Some(delegated) = &controllers.delegated else {
        let text =
            format!("The systemd of user {user} does not run, so nothing is delegated to it.");
        return Finding::warning(check, user, text)
            .mend(format!("sudo systemctl start user@{uid}"));
    };
    let missing: Vec<&str> = WANTED.into_iter().filter(|name| !has(delegated, name)).collect();
    if missing.is_empty() {
        return Finding::fine(
            check,
            user,
            format!("Delegated to user {user}: {}.", delegated.trim()),
        );
    }
    Finding::failed(
        check,
        user,
        format!(
            "Not delegated to the systemd of user {user}: {}. Such limits of containers have no effect.",
            missing.join(", ")
        ),
    )
    .mend(
        "sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::finding::Level;

    #[test]
    fn what_is_not_delegated_fails_and_what_the_kernel_lacks_warns() {
        let judged = |kernel: Option<&str>, delegated: Option<&str>| {
            let controllers = Controllers {
                kernel: kernel.map(str::to_owned),
                delegated: delegated.map(str::to_owned),
            };
            judge("mcp", 850, &controllers)
        };
        let all = Some("cpuset cpu io memory pids\n");
        assert_eq!(judged(all, all).level, Level::Fine);
        let some = judged(all, Some("memory pids\n"));
        assert_eq!(some.level, Level::Failed);
        assert!(some.message.contains("mcp: cpu."), "{some:?}");
        assert!(judged(all, None).mend.contains("start user@850"));
        let first_version = judged(None, None);
        assert_eq!(first_version.level, Level::Failed);
        assert!(first_version.mend.contains("unified_cgroup_hierarchy"), "{first_version:?}");
        assert_eq!(judged(Some("cpu\n"), Some("cpu\n")).level, Level::Warning);
    }
}
