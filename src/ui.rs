//! The one way to the terminal: data to stdout, the rest to stderr.
