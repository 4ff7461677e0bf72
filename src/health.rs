//! The platform watches itself and tells people. What is here is what SQL cannot say: the columns
//! that the shipped tables have, when a schedule is due, how a message gets out, and how a page looks.

mod aggregate;
mod egress;
mod functions;
mod message;
mod outcome;
mod outside;
mod post;
mod post_alert;
mod repeats;
mod report;
mod report_html;
mod schedule;
mod shipped;

pub use post_alert::init;
