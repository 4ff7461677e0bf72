//! What other policies would have earned on the same log, side by side.

use super::chart::{p, range};
use super::mark;
use super::storm_data::Policy;
use super::text::{count, percent, short};
use maud::{Markup, html};

const WIDTH: f64 = 300.0;
const MIDDLE: f64 = 10.0;
/// So much of the width stays free at either end.
const MARGIN: f64 = 6.0;

pub fn policies(policies: &[Policy]) -> Markup {
    let known: Vec<&Policy> = policies.iter().filter(|policy| policy.net_value.is_some()).collect();
    let ends = known.iter().flat_map(|policy| [policy.net_value, policy.net_value_low, policy.net_value_high]);
    let (low, high) = range(ends.flatten(), true);
    let at = |value: f64| MARGIN + (value - low) / (high - low) * (WIDTH - 2.0 * MARGIN);
    html! {
        section.wide {
            h2 { "What each policy would have earned" }
            @if known.is_empty() {
                p.quiet { (reason(policies)) }
            } @else {
                div.funnel.policies { @for policy in policies { div {
                    span { bdi { (policy.policy) } @if policy.applied == Some(true) { " " (mark("ok", "applied")) } }
                    @match (policy.net_value, policy.net_value_low, policy.net_value_high) {
                        (Some(value), Some(low), Some(high)) => {
                            svg.range viewBox={ "0 0 " (WIDTH) " 20" } role="img" aria-label={ (policy.policy) ": " (amount(value)) } {
                                line.axis x1=(p(at(0.0))) x2=(p(at(0.0))) y1="0" y2="20" {}
                                line.other[policy.status != "ok"] x1=(p(at(low))) x2=(p(at(high))) y1=(MIDDLE) y2=(MIDDLE) {}
                                circle.other[policy.status != "ok"] cx=(p(at(value))) cy=(MIDDLE) r="5" {}
                            }
                            span { strong { (amount(value)) } span.quiet { " (" (amount(low)) " to " (amount(high)) ")" } }
                        },
                        _ => {
                            span {}
                            span.quiet { (why(&policy.status)) }
                        },
                    }
                } } }
                p.quiet {
                    "Net value for 1,000 properties, " (unit(&known)) ", with its 95 % interval: doubly robust, from what this storm's decisions left to chance. "
                    "Treated would be " @for (i, policy) in known.iter().enumerate() {
                        @if i > 0 { ", " } bdi { (policy.policy) } " " (percent(policy.treat_share.unwrap_or(0.0)))
                    } "."
                    @if known.iter().any(|policy| policy.status != "ok") { " In the other colour: too few effective cases to trust the interval." }
                }
                @if known.iter().any(|policy| policy.weights_suspect == Some(true)) {
                    p { (mark("warning", "weights")) " The logged propensities do not fit the draws: the values are not to be trusted." }
                }
            }
        }
    }
}

/// Whole from a hundred on.
fn amount(value: f64) -> String {
    if value.abs() >= 100.0 { count(value) } else { short(value) }
}

fn unit(known: &[&Policy]) -> &'static str {
    match known.first().and_then(|policy| policy.unit.as_deref()) {
        Some("currency") => "in the tenant's currency",
        _ => "in jobs beyond break-even",
    }
}

fn why(status: &str) -> &'static str {
    match status {
        "unsupported" => "the log never does this",
        "mixed_units" => "some properties have money, some have none",
        _ => "not known",
    }
}

fn reason(policies: &[Policy]) -> &'static str {
    match policies.first().map(|policy| policy.status.as_str()) {
        Some("no_outcomes") => "Compared when outcomes are recorded.",
        Some("mixed_units") => "Not compared: some properties have margin and cost, some have none.",
        Some("unsupported") => {
            "Not compared: nothing was left to chance. Set holdout and exploration in the policy mode."
        }
        _ => "Nothing to compare yet: no policy is applied.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, net: Option<(f64, f64, f64)>, status: &str) -> Policy {
        Policy {
            policy: name.to_owned(),
            status: status.to_owned(),
            unit: Some("jobs".to_owned()),
            net_value: net.map(|n| n.0),
            net_value_low: net.map(|n| n.1),
            net_value_high: net.map(|n| n.2),
            ..Policy::default()
        }
    }

    #[test]
    fn policies_stand_on_one_scale() {
        let rows = [
            policy("treat_none", Some((0.0, 0.0, 0.0)), "ok"),
            policy("moderate", Some((12.5, -4.0, 30.0)), "small_sample"),
            policy("treat_all", None, "unsupported"),
        ];
        let page = policies(&rows).into_string();
        assert!(
            page.contains("12.5") && page.contains("-4 to 30") && page.contains("the log never does this"),
            "{page}"
        );
        // Zero stands at one place in all of them.
        let zeros: Vec<_> =
            page.match_indices("class=\"axis\" x1=\"").map(|(i, m)| &page[i + m.len()..i + m.len() + 4]).collect();
        assert!(zeros.len() == 2 && zeros[0] == zeros[1], "{zeros:?}");
    }

    #[test]
    fn nothing_known_is_said_and_nothing_is_drawn() {
        for status in ["no_policy", "no_outcomes", "unsupported", "mixed_units"] {
            let page = policies(&[policy("moderate", None, status)]).into_string();
            assert!(!page.contains("<svg") && !page.contains("NaN"), "{page}");
        }
        let flat = policies(&[policy("treat_none", Some((0.0, 0.0, 0.0)), "ok")]).into_string();
        assert!(!flat.contains("NaN") && !flat.contains("inf"));
    }
}
