//! A person's drop-in breaks the start: a command that it adds fails, or the
//! program that it names is not there (`systemd.exec(5)`, "Process Exit Codes").

use crate::agent::explain::journal::End;
use crate::agent::explain::{Cause, Evidence, Explanation};
use crate::agent::finding::shell_word;

/// Explains a start that a drop-in breaks.
pub fn judge(evidence: &Evidence) -> Option<Explanation> {
    let path = evidence.unit.drop_ins.first()?;
    let word = shell_word(path);
    let broken = if let Some((program, status)) = &evidence.unit.failed_command {
        format!("{program} fails with exit status {status}")
    } else if let Some(End::Exited(status @ 200..=243)) = evidence.end() {
        format!("systemd could not run the command (exit status {status}, {})", setup(status))
    } else {
        return None;
    };
    let reason = format!("A drop-in changes its unit, and breaks it: {broken}.");
    Some(
        Explanation::failed(Cause::DropIn, reason)
            .shown_by(path.as_str())
            .mend(format!("cat {word}"))
            .mend(format!("sudo rm {word}"))
            .mend(evidence.owner.systemctl("daemon-reload"))
            .mend(evidence.restart()),
    )
}

/// Says what systemd was at when it could not run a command.
fn setup(status: i32) -> &'static str {
    match status {
        200 => "changing the directory",
        203 => "executing the program",
        205 => "a resource limit",
        216 => "changing the group",
        217 => "changing the user",
        218 => "capabilities",
        219 => "the control group",
        226 => "the mount namespace",
        _ => "setting the process up",
    }
}
