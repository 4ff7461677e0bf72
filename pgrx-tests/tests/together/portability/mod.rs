//! Dump and restore.

mod dump;
