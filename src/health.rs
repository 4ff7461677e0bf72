//! The platform watches itself and tells people. What is here is what SQL cannot say: the columns
//! that the shipped tables have, when a schedule is due, how a message gets out, and how a page looks.

mod aside;
mod blanks;
mod duplicate_hashes;
mod egress;
mod gathered;
mod group_means;
mod http_status;
mod message;
mod post;
mod report;
mod schedule;
mod shipped;
mod sql;

pub use sql::init;
