//! Service definitions: TOML text to a checked service, with every mistake
//! told at once. Pure: imports [`crate::names`] and nothing else of ours.
