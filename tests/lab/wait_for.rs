//! `mcp wait`: until services are ready or stopped.

use crate::definitions::{LONE, with};
use crate::fixture::machine;
use crate::wait::until;

/// Ready only when somebody makes a file on the node.
const LATE: &str = r#"name = "late"

[[components]]
name = "late"
image = "localhost/lab/web:v1"
volumes = ["/srv/mcq:/gate"]
health = { cmd = "test -e /gate/open", interval = "2s", start_period = "2m" }
"#;
