//! The unit directories: install, scan, and podman's generator.
