//! The pages' functions: data in, one HTML document out.

use crate::health::report::{platform, storm};
use crate::postgres::raise::refuse;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde::de::DeserializeOwned;

fn read<T: DeserializeOwned>(data: JsonB) -> T {
    serde_json::from_value(data.0).unwrap_or_else(|_| {
        refuse(
            "this is not what the page's data function returns",
            "Pass stormops_internal.health_report_data(storm_id) or stormops_internal.platform_report_data().",
        )
    })
}

/// The page of one storm from `health_report_data()`.
#[pg_extern(sql = false)]
fn draw_health_report(data: JsonB) -> String {
    storm(&read(data))
}

/// The page of the installation from `platform_report_data()`.
#[pg_extern(sql = false)]
fn draw_platform_report(data: JsonB) -> String {
    platform(&read(data))
}
