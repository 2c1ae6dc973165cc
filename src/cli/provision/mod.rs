//! `mcp node provision`: a bare Debian machine becomes a node, over ssh.
//!
//! ```text
//!  facts --> packages --> install --> configure --> agent --> certificate --> token --> reach --> doctor --> config
//!            \_______________ as root, on the machine _______________/         \_______ from here _______/
//! ```
//!
//! Each step looks first and does nothing where nothing is to be done, so a
//! run that was interrupted is finished by running it again. [`facts`],
//! [`scripts`] and [`agent_config`] are pure; [`ssh`] is the only way to the
//! machine; [`run`] goes through the steps.

pub mod agent_config;
pub mod facts;
pub mod packages;
pub mod run;
pub mod scripts;
pub mod ssh;
