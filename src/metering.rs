//! Usage, prices, invoices. What is here is what SQL cannot say: who is still writing, a document for people, a forecast.
//!
//! `invoice` and `forecast` are plain Rust, tested without a server; `sql` shows them to SQL.

mod forecast;
mod invoice;
mod sql;
