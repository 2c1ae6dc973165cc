//! In-process tests of the whole: one binary.

#[cfg(test)]
mod commands;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod nixos;
#[cfg(test)]
mod sources;
