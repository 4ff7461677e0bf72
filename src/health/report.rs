//! Pages to look at: one HTML document each, without a script or anything from elsewhere. Every
//! value is escaped by the template; names stand in `<bdi>`, so that one written from right to
//! left keeps to itself.

mod chart;
mod map;
mod platform;
mod policies;
mod storm;
mod storm_data;
mod text;

use maud::{DOCTYPE, Markup, PreEscaped, html};
pub use platform::platform;
pub use storm::storm;

/// Nothing but what stands in the page itself: even a value that found its way out of the escaping could load or send
/// nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

fn page(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (title) }
                style { (PreEscaped(include_str!("report/page.css"))) }
            }
            body { (body) }
        }
    }
    .into_string()
}

/// An open issue with what to do about it.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Issue {
    pub issue: String,
    pub severity: String,
    pub summary: String,
    pub since: String,
    pub evidence: serde_json::Value,
    pub steps: Vec<String>,
}

fn issues(issues: &[Issue]) -> Markup {
    html! {
        section.wide {
            h2 { "Open issues" }
            @if issues.is_empty() { p.quiet { "None." } }
            @for issue in issues {
                article {
                    p {
                        (mark(&issue.severity, &issue.severity)) " "
                        strong { bdi { (issue.summary) } }
                        @if !issue.since.is_empty() { span.quiet { " since " (issue.since) } }
                    }
                    @if let Some(evidence) = issue.evidence.as_object() {
                        p.quiet {
                            @for (i, (name, value)) in evidence.iter().enumerate() {
                                @if i > 0 { ", " }
                                (name) " " bdi { (plain(value)) }
                            }
                        }
                    }
                    @if !issue.steps.is_empty() { ol { @for step in &issue.steps { li { bdi { (step) } } } } }
                }
            }
        }
    }
}

/// A word in a coloured frame; nothing if there is no word.
fn mark(tone: &str, word: &str) -> Markup {
    html! { @if !word.is_empty() { span class={ "mark " (tone) } { (word) } } }
}

/// A value of JSON without its quotation marks.
fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
