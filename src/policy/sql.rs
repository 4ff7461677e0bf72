//! The policy's draws and rule as SQL functions.

mod counts;
mod evaluation;
mod seal;

use super::{draw, rule};
use pgrx::prelude::*;

#[pg_extern(sql = false)]
fn draw_sql(tenant_id: pgrx::Uuid, storm_id: pgrx::Uuid, property_id: pgrx::Uuid, purpose: &str) -> f64 {
    draw::draw(tenant_id.as_bytes(), storm_id.as_bytes(), property_id.as_bytes(), purpose.as_bytes())
}

#[pg_extern(sql = false)]
fn attitude_sql(confidence: f64) -> Option<f64> {
    rule::attitude(confidence)
}
