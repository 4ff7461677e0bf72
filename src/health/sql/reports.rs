//! The pages' functions: data in, one HTML document out.

use crate::health::report::{platform, storm};
use crate::postgres::json::Document;
use crate::postgres::raise::refuse;
use pgrx::prelude::*;
use serde::de::DeserializeOwned;

fn read<T: DeserializeOwned>(data: Document) -> T {
    data.read().unwrap_or_else(|| {
        refuse(
            "this is not what the page's data function returns",
            "Pass stormops_internal.health_report_data(storm_id) or stormops_internal.platform_report_data().",
        )
    })
}

/// The page of one storm from `health_report_data()`.
#[pg_extern(sql = false)]
fn draw_health_report(data: Document) -> String {
    storm(&read(data))
}

/// The page of the installation from `platform_report_data()`.
#[pg_extern(sql = false)]
fn draw_platform_report(data: Document) -> String {
    platform(&read(data))
}
