//! The systemd user manager over D-Bus, and the journal.
