//! The settings of who may be written to, and the function that writes.

#![expect(unsafe_code, reason = "signals are held back while the request is under way")]

use crate::health::egress::Egress;
use crate::health::http_status::Outcome;
use crate::health::message::{Alert, Kind, PAGERDUTY, message};
use crate::health::post::{Answer, post};
use crate::postgres::json::Document;
use crate::postgres::raise::refuse;
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::CString;
use std::time::{Duration, SystemTime};

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
    with_signals_held(|| post(&egress, &url, &message, timeout))
}

/// A signal that arrives meanwhile, a cancel say, is delivered after: at most the timeout later.
/// The library underneath is not written for handlers that run in the middle of its system calls.
fn with_signals_held<T>(work: impl FnOnce() -> T) -> T {
    /// Gives the signals back, however the work ends.
    struct Held(libc::sigset_t);
    impl Drop for Held {
        fn drop(&mut self) {
            // SAFETY: restores the mask that was there.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
        }
    }
    // SAFETY: plain calls on two signal sets of this frame. Faults of the processor stay deliverable.
    let _held = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT, libc::SIGQUIT] {
            libc::sigdelset(&raw mut all, fault);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut before);
        Held(before)
    };
    work()
}
