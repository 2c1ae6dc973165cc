//! The registry: SQLite, the memory of the agent. All SQL is here.
