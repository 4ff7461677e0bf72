//! The settings of who may be written to, and the function that writes.

use crate::health::aside::Errand;
use crate::health::egress::Egress;
use crate::health::http_status::Outcome;
use crate::health::message::{Alert, Kind, PAGERDUTY, message};
use crate::health::post::{Answer, post};
use crate::postgres::json::Document;
use crate::postgres::raise::refuse;
use crate::postgres::wait::until_readable;
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::CString;
use std::time::{Duration, Instant, SystemTime};

static HOSTS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static NETWORKS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// Defines the settings. Called once, when the library loads.
pub fn init() {
    GucRegistry::define_string_guc(
        c"stormops.egress_hosts",
        c"The hosts that alerts may be sent to.",
        c"Names separated by commas, *.example.com for all below one. Empty: any public host.",
        &HOSTS,
        GucContext::Suset,
        GucFlags::SUPERUSER_ONLY,
    );
    GucRegistry::define_string_guc(
        c"stormops.egress_networks",
        c"The networks that alerts may be sent to beside the public internet.",
        c"In CIDR notation, separated by commas, for example 10.1.0.0/16. Within them also without TLS.",
        &NETWORKS,
        GucContext::Suset,
        GucFlags::SUPERUSER_ONLY,
    );
}

fn egress() -> Egress {
    let text = |setting: &GucSetting<Option<CString>>| {
        setting.get().and_then(|value| value.into_string().ok()).unwrap_or_default()
    };
    Egress::parse(&text(&HOSTS), &text(&NETWORKS)).unwrap_or_else(|_| {
        refuse(
            "stormops.egress_networks is not a list of networks",
            "Networks in CIDR notation, separated by commas: 10.1.0.0/16, fd00:1::/64.",
        )
    })
}

/// Why alerts cannot be sent to an address; NULL if they can, as far as its text tells.
#[pg_extern(sql = false)]
fn egress_refusal(address: &str) -> Option<&'static str> {
    egress().url(address).err()
}

/// Sends one alert and tells what became of it. Empty address: PagerDuty's own.
#[pg_extern(sql = false)]
fn post_alert(
    kind: &str,
    address: &str,
    secret: &str,
    alert: Document,
    timeout_ms: i32,
) -> TableIterator<
    'static,
    (name!(outcome, &'static str), name!(status, Option<i32>), name!(retry_after, Option<i64>), name!(detail, String)),
> {
    let answer = send(kind, address, secret, alert, timeout_ms);
    let retry_after = match answer.outcome {
        Outcome::Retry { after } => after.and_then(|after| i64::try_from(after.as_secs()).ok()),
        _ => None,
    };
    TableIterator::once((answer.outcome.name(), answer.status.map(i32::from), retry_after, answer.detail))
}

fn send(kind: &str, address: &str, secret: &str, alert: Document, timeout_ms: i32) -> Answer {
    let dead = |detail: &str| Answer { outcome: Outcome::Dead, status: None, detail: detail.to_owned() };
    let Some(kind) = Kind::parse(kind) else { return dead("unknown kind of route") };
    let Some(alert) = alert.read::<Alert>() else { return dead("not an alert") };
    let address = if kind == Kind::PagerDuty && address.is_empty() { PAGERDUTY } else { address };
    let egress = egress();
    let url = match egress.url(address) {
        Ok(url) => url,
        Err(refusal) => return dead(refusal),
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let message = message(kind, secret, &alert, now.as_secs());
    let timeout = Duration::from_millis(u64::try_from(timeout_ms.clamp(1, 60_000)).unwrap_or(5000));
    let deadline = Instant::now() + timeout;
    let Some(errand) = Errand::begin(move || post(&egress, &url, &message, timeout)) else {
        return Answer { outcome: Outcome::Busy, status: None, detail: "earlier requests have not ended".to_owned() };
    };
    let retry =
        |detail: &str| Answer { outcome: Outcome::Retry { after: None }, status: None, detail: detail.to_owned() };
    // Who is interrupted here, or has waited long enough, leaves the request to itself.
    if !until_readable(errand.bell(), deadline) {
        return retry("no answer in time");
    }
    errand.answer().unwrap_or_else(|| retry("no HTTP answer"))
}
