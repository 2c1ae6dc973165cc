//! In-process tests of the whole: one binary.
