//! Usage, prices, invoices. What is here is what SQL cannot say: who is still writing, a document for people, a forecast.
//!
//! `invoice*` and `forecast` are plain Rust, tested without a server; `functions` shows them to SQL.

mod forecast;
mod functions;
mod invoice;
mod invoice_html;
mod invoice_text;
mod writers;
