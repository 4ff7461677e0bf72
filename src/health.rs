//! Health: what the platform tells people, and how the message gets out.

mod egress;
mod message;
mod outcome;
mod post;
mod post_alert;
mod report;
mod report_html;

pub use post_alert::init;
