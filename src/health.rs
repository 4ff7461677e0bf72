//! The platform watches itself. What is here is what SQL cannot say: the columns that the shipped
//! tables have, and when a schedule is due.

mod functions;
mod schedule;
mod shipped;
