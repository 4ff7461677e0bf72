//! Invoices as people read them, and the forecast of usage. Quantities and amounts are SQL, in `sql/metering_*.sql`.
//!
//! The modules are plain Rust, tested without a server; `functions` shows them to SQL.

mod forecast;
mod functions;
mod invoice;
mod invoice_html;
mod invoice_text;
