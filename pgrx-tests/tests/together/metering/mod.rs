//! Usage, quotas, prices and invoices.

mod clocks;
mod evasion;
mod finalization;
mod ingest;
mod invoice_proof;
mod invoices;
mod overview;
mod partitions;
mod prices;
mod quotas;
mod rollup_plans;
mod rollups;
mod whole_rows;
