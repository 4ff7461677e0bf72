//! All that two arms' counts say of each other. Every case has an answer and a status: no arm, no conversions, three
//! leads. An estimate that is not there is None, never a made-up zero.

use super::proportions::{Arm, SMALL, fisher, lift, newcombe, pooled_z};
use super::{bayes, bernoulli, boschloo, one_sided, power, relative, score, sequential};
use crate::statistics::halving::Halving;
use crate::statistics::normal;

/// What a comparison is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Level of every test, and one less the coverage of every interval.
    pub alpha: f64,
    /// The lift that the programme promises, a difference of rates.
    pub promised: f64,
    /// The number of leads, both arms, at which the always-valid interval is to be narrowest.
    pub planned_n: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    NoControl,
    NoTreatment,
    NoOutcomes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The lift is shown to exceed the promise.
    Ok,
    Inconclusive,
    /// The lift is shown to fall short of it.
    Anomaly,
}

pub type Interval = (f64, f64);

/// The comparison of two arms that both have leads.
#[derive(Clone, Copy, Debug)]
pub struct Contrast {
    pub lift: f64,
    pub newcombe: Interval,
    pub score: Interval,
    pub relative: Option<f64>,
    pub relative_interval: Option<Interval>,
    pub p: f64,
    pub method: &'static str,
    /// Boschloo's p-value, of arms in which Fisher's test judges.
    pub boschloo_p: Option<f64>,
    pub always_valid: Interval,
    pub always_valid_p: f64,
    pub always_valid_method: &'static str,
    /// The chance of so low a lift if the programme kept its promise.
    pub p_short: f64,
    pub verdict: Verdict,
    pub always_valid_anomaly: bool,
    pub more_leads: Option<u64>,
    pub detectable: Option<f64>,
    pub probability_better: f64,
    pub expected_loss: f64,
}

#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    pub status: Status,
    pub small_sample: bool,
    pub contrast: Option<Contrast>,
}

pub fn compare(treated: Arm, control: Arm, plan: Plan) -> Comparison {
    let status = match (treated.n, control.n) {
        (0, 0) => Status::NoOutcomes,
        (0, _) => Status::NoTreatment,
        (_, 0) => Status::NoControl,
        _ => Status::Ok,
    };
    let contrast = (status == Status::Ok).then(|| contrast(treated, control, plan));
    Comparison { status, small_sample: treated.n.min(control.n) < SMALL, contrast }
}

fn contrast(treated: Arm, control: Arm, plan: Plan) -> Contrast {
    let critical = normal::upper(plan.alpha / 2.0);
    let lift = lift(treated, control);
    let large = treated.is_large() && control.is_large();
    let (p, method) = match pooled_z(treated, control).filter(|_| large) {
        Some(z) => (normal::two_sided(z), "z"),
        None => (fisher(treated, control), "fisher"),
    };
    let looks = if large && treated.n + control.n >= 100 { asymptotic } else { exact };
    let looks = looks(treated, control, plan);
    let tails = one_sided::tails(treated, control, plan.promised);
    let verdict = verdict(tails, plan.alpha);
    let more_leads = match verdict {
        Verdict::Inconclusive => more_leads(treated, control, plan),
        _ => Some(0),
    };
    Contrast {
        lift,
        newcombe: newcombe(treated, control, critical),
        score: score::interval(treated, control, critical),
        relative: relative::delta_method(treated, control).map(|(relative, _)| relative),
        relative_interval: relative::log_interval(treated, control, critical),
        p,
        method,
        boschloo_p: (method == "fisher").then(|| boschloo::boschloo(treated, control)).flatten(),
        always_valid: looks.interval,
        always_valid_p: looks.p,
        always_valid_method: looks.method,
        p_short: tails.as_low,
        verdict,
        always_valid_anomaly: looks.highest < plan.promised,
        more_leads,
        detectable: power::detectable_lift(treated.n, control, plan.alpha),
        probability_better: bayes::probability_better(treated, control),
        expected_loss: bayes::expected_loss(treated, control),
    }
}

fn verdict(tails: one_sided::Tails, alpha: f64) -> Verdict {
    match (tails.as_low < alpha, tails.as_high < alpha) {
        (true, _) => Verdict::Anomaly,
        (_, true) => Verdict::Ok,
        _ => Verdict::Inconclusive,
    }
}

/// How often the present leads are put together to find a number that decides.
const MOST_TIMES: u64 = 20;

/// How many more leads decide. Where the normal distribution says that there are enough already and the exact test has
/// just said that there are not: as many as bring it to decide, in whole multiples of the present ones.
fn more_leads(treated: Arm, control: Arm, plan: Plan) -> Option<u64> {
    let more = power::more_leads(treated, control, plan.promised, plan.alpha)?;
    if more > 0 {
        return Some(more);
    }
    let times = |arm: Arm, k: u64| Arm { converted: arm.converted * k, n: arm.n * k };
    let decides = |k: u64| {
        let tails = one_sided::tails(times(treated, k), times(control, k), plan.promised);
        verdict(tails, plan.alpha) != Verdict::Inconclusive
    };
    let enough = (2..MOST_TIMES + 1).first_where(decides)?;
    Some((enough - 1) * (treated.n + control.n))
}

/// What holds at every look: the interval, a bound on one side, a p-value.
struct Looks {
    interval: Interval,
    highest: f64,
    p: f64,
    method: &'static str,
}

fn asymptotic(treated: Arm, control: Arm, plan: Plan) -> Looks {
    let lift = lift(treated, control);
    let (se, n) = ((treated.variance() + control.variance()).sqrt(), (treated.n + control.n) as f64);
    let rho = sequential::rho(plan.planned_n, plan.alpha);
    let half = sequential::half_width(se, n, rho, plan.alpha);
    Looks {
        interval: ((lift - half).max(-1.0), (lift + half).min(1.0)),
        highest: lift + sequential::one_sided_width(se, n, rho, plan.alpha),
        p: sequential::p_value(lift, se, n, rho),
        method: "asymptotic",
    }
}

fn exact(treated: Arm, control: Arm, plan: Plan) -> Looks {
    let interval = bernoulli::difference(treated, control, plan.planned_n, plan.alpha, plan.alpha);
    Looks {
        interval,
        // The evidence against a rate does not part its two sides: what lies beyond one of them may be all of alpha.
        highest: interval.1,
        p: bernoulli::p_value(treated, control, plan.planned_n, plan.alpha),
        method: "beta_binomial",
    }
}
