//! A service resolved for one node and one generation. Pure: imports
//! [`crate::definition`] and [`crate::names`].
