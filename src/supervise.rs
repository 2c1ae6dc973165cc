//! Long-running tasks: named, owned, and ended together.
