//! A tenant's data as lines of text: how a value is written, and how a file is read that nobody vouches for.

mod file;
mod sql;
mod values;
