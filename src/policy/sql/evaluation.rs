//! Off-policy evaluation as Postgres calls it: the log as a state of rows, and targets valued on it.

#![expect(unsafe_code, reason = "aggregate support functions on the hot path")]

use crate::policy::evaluation::logged::Logged;
use crate::policy::evaluation::target::{Parameters, Prices, Target};
use crate::policy::evaluation::{BYTES_A_ROW, Estimate, Log, Valuation, gain};
use crate::postgres::call::{self, argument, boolean, double, uuid};
use crate::postgres::json::Document;
use crate::postgres::memory::need;
use crate::postgres::raise::{raise, refuse};
use crate::uplift::sql::aggregates::{collect, combine, deserialize, finish, read};
use pgrx::pg_sys::{Datum, FunctionCallInfo};
use pgrx::prelude::*;
use serde::Deserialize;

/// More modes than anybody has.
const MOST_TARGETS: usize = 100;
/// Amounts are told for so many properties.
const PROPERTIES: f64 = 1000.0;

/// `(state, property_id, treated, propensity, score, score_sd, converted, job_margin, contact_cost)`. The last three may
/// be NULL: no outcome, no number of the property's own.
unsafe fn take(call: FunctionCallInfo) -> Datum {
    unsafe {
        let given = [1, 2, 3, 4, 5].map(|i| argument(call, i));
        let row = match given {
            [Some(property), Some(treated), Some(propensity), Some(score), Some(sd)] => Some(Logged::new(
                uuid(property),
                (boolean(treated), double(propensity)),
                (double(score), double(sd)),
                argument(call, 6).is_some_and(boolean),
                (argument(call, 7).map(double), argument(call, 8).map(double)),
            )),
            _ => None,
        };
        collect(call, row)
    }
}

call::functions! {
    stormops_evaluation_take = take;
    stormops_evaluation_combine = combine::<Logged>;
    stormops_evaluation_serialize = finish::<Logged>;
    stormops_evaluation_deserialize = deserialize::<Logged>;
    stormops_evaluation_finish = finish::<Logged>;
}

/// A target as `value_policies()` is given it: `treat` for everybody or nobody, else the parameters of a rule.
#[derive(Deserialize)]
struct Named {
    policy: String,
    treat: Option<bool>,
    parameters: Option<Parameters>,
}

fn targets(document: &Document) -> Vec<(String, Target)> {
    let hint = "parameters are those of stormops.policy_parameters(policy_mode): confidence, exploration, holdout, breakeven_uplift, margin, contact_cost, capacity, budget.";
    let Some(named) = document.read::<Vec<Named>>() else {
        refuse("these are not the parameters of a policy", hint);
    };
    if named.len() > MOST_TARGETS {
        raise(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            "more than 100 policies cannot be compared at once",
            "DELETE FROM stormops.policy_modes ... what nobody uses, or ask evaluate_policy() for one.",
        );
    }
    let target = |named: Named| match (named.treat, named.parameters) {
        (Some(treat), _) => (named.policy, Target::Always(treat)),
        (None, Some(parameters)) => {
            if let Some(fault) = parameters.fault() {
                refuse(fault, hint);
            }
            (named.policy, Target::Rule(Box::new(parameters)))
        }
        (None, None) => refuse("these are not the parameters of a policy", hint),
    };
    named.into_iter().map(target).collect()
}

fn prices(document: &Document) -> Prices {
    let read = document.read::<Parameters>().filter(|parameters| parameters.fault().is_none());
    read.map(|parameters| parameters.prices()).unwrap_or_else(|| {
        refuse(
            "prices are the parameters of a run",
            "SELECT parameters FROM stormops.policy_runs WHERE superseded_at IS NULL;",
        )
    })
}

/// Value, standard error, both ends of the interval, for a thousand properties.
type Told = (Option<f64>, Option<f64>, Option<f64>, Option<f64>);

fn told(estimate: Option<Estimate>) -> Told {
    let interval = estimate.and_then(|e| e.interval());
    let thousand = |x: f64| x * PROPERTIES;
    (
        estimate.map(|e| thousand(e.value)),
        estimate.and_then(|e| e.se).map(thousand),
        interval.map(|(low, _)| thousand(low)),
        interval.map(|(_, high)| thousand(high)),
    )
}

#[expect(clippy::type_complexity, reason = "a row of SQL")]
#[pg_extern(sql = false)]
fn value_policies(
    log: &[u8],
    prices_of: Document,
    targets_of: Document,
) -> TableIterator<
    'static,
    (
        name!(policy, String),
        name!(status, &'static str),
        name!(n, i64),
        name!(unit, &'static str),
        name!(treat_share, Option<f64>),
        name!(ips, Option<f64>),
        name!(ips_se, Option<f64>),
        name!(ips_low, Option<f64>),
        name!(ips_high, Option<f64>),
        name!(snips, Option<f64>),
        name!(snips_se, Option<f64>),
        name!(snips_low, Option<f64>),
        name!(snips_high, Option<f64>),
        name!(direct, Option<f64>),
        name!(direct_se, Option<f64>),
        name!(direct_low, Option<f64>),
        name!(direct_high, Option<f64>),
        name!(doubly_robust, Option<f64>),
        name!(doubly_robust_se, Option<f64>),
        name!(doubly_robust_low, Option<f64>),
        name!(doubly_robust_high, Option<f64>),
        name!(gain, Option<f64>),
        name!(gain_low, Option<f64>),
        name!(gain_high, Option<f64>),
        name!(effective_n, Option<f64>),
        name!(largest_weight, Option<f64>),
        name!(largest_share, Option<f64>),
        name!(mean_weight, Option<f64>),
        name!(weights_suspect, bool),
        name!(unsupported_share, Option<f64>),
    ),
> {
    let (prices, targets) = (prices(&prices_of), targets(&targets_of));
    need(log.len() / size_of::<Logged>() * BYTES_A_ROW);
    let rows = read::<Logged>(log).rows;
    let log = Log::new(&rows, prices);
    let unit = if log.in_money() { "currency" } else { "jobs" };
    let nobody = log.value(&Target::Always(false));
    let row = |(policy, target): (String, Target)| {
        // Each takes a moment for a million rows, and there may be many.
        pgrx::check_for_interrupts!();
        let Valuation { status, treat_share, unsupported_share, estimates, weights_suspect, parts } =
            log.value(&target);
        let (ips, ips_se, ips_low, ips_high) = told(estimates.as_ref().map(|e| e.ips));
        let (snips, snips_se, snips_low, snips_high) = told(estimates.as_ref().and_then(|e| e.snips));
        let (direct, direct_se, direct_low, direct_high) = told(estimates.as_ref().map(|e| e.direct));
        let (robust, robust_se, robust_low, robust_high) = told(estimates.as_ref().map(|e| e.doubly_robust));
        let (gained, _, gain_low, gain_high) = told(gain(&parts, &nobody.parts));
        let estimates = estimates.as_ref();
        (
            policy,
            status,
            rows.len() as i64,
            unit,
            treat_share,
            ips,
            ips_se,
            ips_low,
            ips_high,
            snips,
            snips_se,
            snips_low,
            snips_high,
            direct,
            direct_se,
            direct_low,
            direct_high,
            robust,
            robust_se,
            robust_low,
            robust_high,
            gained,
            gain_low,
            gain_high,
            estimates.map(|e| e.effective),
            estimates.map(|e| e.largest_weight),
            estimates.and_then(|e| e.largest_share),
            estimates.map(|e| e.mean_weight.value),
            weights_suspect,
            unsupported_share,
        )
    };
    TableIterator::new(targets.into_iter().map(row).collect::<Vec<_>>())
}
