//! The policy's draws, rule, decisions and seals as SQL functions.

mod contacts;
mod counts;
mod decide;
mod evaluation;
mod near;
mod rows;
mod seal_blocks;
mod seal_rows;
mod source;
mod unpack;
mod write;

use super::fault::Fault;
use super::{draw, rule};
use crate::postgres::memory::out_of_memory;
use crate::postgres::raise::raise;
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn draw_sql(tenant_id: pgrx::Uuid, storm_id: pgrx::Uuid, property_id: pgrx::Uuid, purpose: &str) -> f64 {
    draw::draw(tenant_id.as_bytes(), storm_id.as_bytes(), property_id.as_bytes(), purpose.as_bytes())
}

#[pg_extern(sql = false)]
fn attitude_sql(confidence: f64) -> Option<f64> {
    rule::attitude(confidence)
}

/// What is sound; an error of the statement otherwise, as a table's checks would raise it.
fn sound<T>(result: Result<T, Fault>) -> T {
    match result {
        Ok(sound) => sound,
        Err(Fault::Memory) => out_of_memory(),
        Err(Fault::Order) => raise(
            PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION,
            "decisions must come in the order of property_id, each property once",
            "An index of the server is damaged: pg_amcheck, then REINDEX TABLE stormops.lead_uplift;",
        ),
        Err(Fault::Range(what)) => raise(
            PgSqlErrorCode::ERRCODE_CHECK_VIOLATION,
            format!("a decision's {what} is out of its range"),
            "SELECT * FROM stormops.policy_modes; a propensity of 0 comes of a holdout or exploration too near to 0 or 1.",
        ),
        Err(Fault::Reasons) => raise(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            "too many different decisions and reasons",
            "A run may have 64 of them.",
        ),
        Err(Fault::Size) => raise(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            "too many decisions for one run",
            "A run holds at most 500 million decisions.",
        ),
    }
}
