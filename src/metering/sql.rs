//! The documents and the forecast as SQL functions. They read nothing: what they need is handed to them.

#![expect(clippy::type_complexity, reason = "the columns of a row")]

use pgrx::prelude::*;

use super::forecast;
use super::invoice::{Invoice, html, text};
use crate::postgres::json::Document;
use crate::postgres::memory::{collected, need_for_each};
use crate::postgres::raise::refuse;

mod batch;
mod writers;

fn invoice(document: Document) -> Invoice {
    document.read().unwrap_or_else(|| refuse("this is no invoice", "SELECT stormops.invoice_json(invoice_id);"))
}

#[pg_extern(sql = false)]
fn print_invoice(document: Document) -> String {
    text::text(&invoice(document))
}

#[pg_extern(sql = false)]
fn print_invoice_html(document: Document) -> String {
    html::html(&invoice(document))
}

#[pg_extern(sql = false)]
fn forecast_days(
    daily: Array<f64>,
    days_left: i32,
    confidence: default!(f64, 0.9),
) -> TableIterator<
    'static,
    (
        name!(expected, Option<f64>),
        name!(low, Option<f64>),
        name!(high, Option<f64>),
        name!(n, i32),
        name!(method, Option<&'static str>),
    ),
> {
    need_for_each(daily.len(), size_of::<f64>());
    let daily = collected(daily.iter().flatten(), daily.len());
    let days_left = usize::try_from(days_left).ok().filter(|days| *days <= 366);
    let valid = confidence > 0.0 && confidence < 1.0 && daily.len() <= 3660 && daily.iter().all(|x| x.is_finite());
    let Some(days_left) = days_left.filter(|_| valid) else {
        refuse(
            "a forecast takes up to 3660 finite daily totals, 0 to 366 days left, a confidence between 0 and 1",
            "SELECT * FROM stormops_internal.forecast_days('{10,12,9}', 5, 0.9);",
        )
    };
    let found = forecast::forecast(&daily, days_left, confidence);
    let interval = found.as_ref().and_then(|f| f.interval);
    TableIterator::once((
        found.as_ref().map(|f| f.expected),
        interval.map(|i| i.0),
        interval.map(|i| i.1),
        daily.len() as i32,
        found.map(|f| f.method),
    ))
}
