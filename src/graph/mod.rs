//! A static tensor graph, its derivatives, and its compilation to recordings.

pub(crate) mod template;
