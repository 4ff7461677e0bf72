//! The page of one storm: what was decided, whether it worked, and what is wrong.

use super::chart::{Chart, Line, Unit, sparkline};
use super::map::map;
use super::policies::policies;
use super::storm_data::{Bill, Day, Rates, Scores, Storm, Usage};
use super::text::{count, percent, points, short};
use super::{issues, mark, page};
use maud::{Markup, html};

pub fn storm(data: &Storm) -> String {
    let body = html! {
        header {
            h1 { bdi { (data.storm) } }
            p.quiet {
                bdi { (data.org_name) } " | storm is " (data.storm_status) " | " (data.made_at) " "
                (mark(&data.health_status, &data.health_status))
            }
        }
        main.cards {
            (issues(&data.issues))
            (funnel(data))
            (lift(data))
            (scores(data.scores.as_ref()))
            (qini(data))
            (policies(&data.policies))
            (map(data.map.as_ref()))
            (usage(&data.usage))
            (bill(data.bill.as_ref()))
        }
    };
    page(&format!("{} | StormOps", data.storm), &body)
}

fn nothing(text: &str) -> Markup {
    html! { p.quiet { (text) } }
}

fn funnel(data: &Storm) -> Markup {
    let run = data.run.as_ref();
    let steps: Vec<(&str, f64)> = match run {
        None => vec![("scored", data.scored)],
        Some(run) => vec![
            ("scored", data.scored),
            ("decided", run.treat + run.hold),
            ("treated", run.treat),
            ("with outcome", run.with_outcome),
            ("converted", run.converted),
        ],
    };
    let most = steps.iter().map(|&(_, n)| n).fold(0.0, f64::max);
    html! {
        section {
            h2 { "Treatment" }
            @if most == 0.0 { (nothing("No property is scored for this storm yet.")) } @else {
                div.funnel {
                    @for (label, n) in steps {
                        div {
                            span { (label) }
                            b style={ "width:" (format!("{:.1}%", n / most * 100.0)) } {}
                            span { (count(n)) " | " (percent(n / most)) }
                        }
                    }
                }
                @match run {
                    Some(run) => p.quiet {
                        "Policy " bdi { (run.policy_mode) } ", decided " (run.decided_at) ": " (count(run.hold)) " held, "
                        (count(run.excluded)) " excluded. Outcomes and conversions are those of the treated."
                    },
                    None => (nothing("No policy is applied yet: SELECT * FROM stormops.apply_policy(storm_id);")),
                }
            }
        }
    }
}

fn lift(data: &Storm) -> Markup {
    let known = |&(day, lift, low, high): &Day| Some((day, lift?, low?, high?));
    let days: Vec<_> = data.lift.iter().filter_map(known).collect();
    let line: Vec<_> = days.iter().map(|&(day, lift, ..)| (day, lift)).collect();
    let band: Vec<_> = days.iter().map(|&(day, _, low, high)| (day, low, high)).collect();
    html! {
        section {
            h2 { "Lift" }
            @match data.rates.as_ref() {
                Some(Rates { lift: Some(lift), lift_low: Some(low), lift_high: Some(high), treated_rate: Some(treated),
                    control_rate: Some(control), verdict, treated_n, control_n, .. }) => {
                    p { span.figure { (points(*lift)) } " "
                        @if let Some(verdict) = verdict { (mark(tone(verdict), verdict)) } }
                    p.quiet { "95 % interval " (points(*low)) " to " (points(*high)) ": " (percent(*treated)) " of "
                        (count(*treated_n)) " treated, " (percent(*control)) " of " (count(*control_n)) " held by chance." }
                },
                Some(rates) => (nothing(reason(&rates.status))),
                None => (nothing(reason("no_policy"))),
            }
            @if line.len() > 1 {
                (Chart { title: "Lift over time with its always-valid interval", x: ("days since the decision", Unit::Number),
                    y: ("lift", Unit::Percent), lines: vec![Line { class: "main", points: &line }], band: &band, bars: &[] }.svg())
                p.quiet { "The band holds at every look, not only at the last." }
            }
        }
    }
}

fn tone(verdict: &str) -> &'static str {
    match verdict {
        "ok" => "ok",
        "anomaly" => "failed",
        _ => "warning",
    }
}

fn reason(status: &str) -> &'static str {
    match status {
        "no_policy" => "Nothing to compare yet: no policy is applied.",
        "no_treatment" => "Nothing to compare: nobody was treated by chance and rule.",
        "no_control" => "Nothing to compare: nobody was held out. Set a holdout in the policy mode.",
        "no_outcomes" => "No outcome is recorded yet.",
        _ => "Nothing to compare yet.",
    }
}

fn scores(scores: Option<&Scores>) -> Markup {
    html! {
        section {
            h2 { "Uplift scores" }
            @match scores {
                Some(s) if s.n > 0.0 => {
                    p { span.figure { (short(s.mean)) } " mean of " (count(s.n)) " "
                        @if let Some(severity) = &s.severity { (mark(drift_tone(severity), &format!("drift: {severity}"))) } }
                    (distribution(s))
                    p.quiet { span.key { "this storm" } " "
                        @match &s.reference {
                            Some(reference) => { span.key.other { (reference) } },
                            None => { "| no baseline and no earlier storm of this model to compare with" },
                        }
                        @if let Some(sd) = s.sd { " | standard deviation " (short(sd)) }
                    }
                },
                _ => (nothing("No scores.")),
            }
        }
    }
}

fn drift_tone(severity: &str) -> &'static str {
    match severity {
        "none" => "ok",
        "drift" => "failed",
        _ => "warning",
    }
}

fn distribution(scores: &Scores) -> Markup {
    let shares = |counts: &[f64]| -> Vec<(f64, f64, f64)> {
        let all: f64 = counts.iter().sum();
        let width = (scores.high - scores.low) / counts.len().max(1) as f64;
        let bar = |(i, n): (usize, &f64)| {
            let from = scores.low + i as f64 * width;
            (from, from + width, if all > 0.0 { n / all } else { 0.0 })
        };
        counts.iter().enumerate().map(bar).collect()
    };
    let bars = shares(&scores.histogram);
    // The reference as an outline over the bars.
    let outline: Vec<_> = shares(&scores.reference_histogram).iter().flat_map(|&(a, b, h)| [(a, h), (b, h)]).collect();
    let lines = if outline.is_empty() { Vec::new() } else { vec![Line { class: "other", points: &outline }] };
    Chart {
        title: "Distribution of the uplift scores",
        x: ("uplift score", Unit::Score),
        y: ("share", Unit::Percent),
        lines,
        band: &[],
        bars: &bars,
    }
    .svg()
}

fn qini(data: &Storm) -> Markup {
    let model: Vec<_> = data.curve.iter().map(|&(share, qini, _)| (share, qini)).collect();
    let random: Vec<_> = data.curve.iter().map(|&(share, _, random)| (share, random)).collect();
    html! {
        section {
            h2 { "Qini curve" }
            @if model.len() < 2 { (nothing("Drawn when randomised decisions have outcomes.")) } @else {
                (Chart { title: "Qini curve of the scores", x: ("share treated, best first", Unit::Percent),
                    y: ("extra conversions", Unit::Number), band: &[], bars: &[],
                    lines: vec![Line { class: "other", points: &random }, Line { class: "main", points: &model }] }.svg())
                p.quiet { span.key { "by score" } " " span.key.other { "at random" }
                    @if let Some(qini) = data.qini { " | Qini coefficient " (short(qini)) } }
            }
        }
    }
}

fn usage(usage: &[Usage]) -> Markup {
    html! {
        section {
            h2 { "Usage of the last 30 days" }
            @if usage.is_empty() { (nothing("Nothing was metered.")) } @else {
                div.scroll { table {
                    tr { th { "metric" } th.n { "total" } th { "by day" } }
                    @for metric in usage {
                        tr { td { bdi { (metric.metric_name) } }
                            td.n { (metric.total) @if let Some(unit) = &metric.unit { " " (unit) } }
                            td { (sparkline(&metric.series, &metric.metric_name)) } }
                    }
                } }
            }
        }
    }
}

fn bill(bill: Option<&Bill>) -> Markup {
    html! {
        section {
            h2 { "Bill" }
            @match bill {
                Some(bill) => {
                    p { span.figure { (bill.currency) " " (bill.total) } " so far in " (bill.period) }
                    div.scroll { table {
                        tr { th { "item" } th.n { "quantity" } th.n { "amount" } }
                        @for (item, quantity, amount) in &bill.lines {
                            tr { td { bdi { (item) } } td.n { (quantity) } td.n { (amount) } }
                        }
                    } }
                },
                None => (nothing("Nothing is billed for this period.")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn page_of(data: serde_json::Value) -> String {
        storm(&serde_json::from_value(data).unwrap())
    }

    #[test]
    fn an_empty_storm_has_a_page() {
        let page = page_of(json!({}));
        for text in ["No property is scored", "no policy is applied", "No scores.", "Nothing was metered.", "None."] {
            assert!(page.contains(text), "{text}");
        }
        assert!(!page.contains("NaN"));
    }

    #[test]
    fn no_value_becomes_markup() {
        let evil = "<script>alert(1)</script>\" onload='x' \u{202e}";
        let issue =
            json!({"issue": evil, "severity": evil, "summary": evil, "evidence": {evil: evil}, "steps": [evil]});
        let page = page_of(json!({
            "org_name": evil, "storm": evil, "storm_status": evil, "made_at": evil, "health_status": evil,
            "issues": [issue], "scored": 2, "run": {"policy_mode": evil, "decided_at": evil, "treat": 1, "hold": 1},
            "rates": {"status": evil, "verdict": evil, "lift": 0.1, "lift_low": 0.0, "lift_high": 0.2,
                "treated_rate": 0.2, "control_rate": 0.1},
            "scores": {"n": 1, "mean": 0.2, "severity": evil, "reference": evil, "low": 0, "high": 1, "histogram": [1]},
            "policies": [{"policy": evil, "status": evil, "unit": evil}, {"policy": evil, "status": "ok", "unit": "jobs", "net_value": 1.0,
                "net_value_low": 0.5, "net_value_high": 2.0, "treat_share": 0.5, "applied": true}],
            "usage": [{"metric_name": evil, "unit": evil, "total": evil, "series": [1]}],
            "bill": {"period": evil, "currency": evil, "total": evil, "lines": [[evil, evil, evil]]},
        }));
        assert!(page.contains("&lt;script&gt;"));
        assert!(!page.contains("<script") && !page.contains("\" onload"), "{page}");
    }
}
