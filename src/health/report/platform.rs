//! The page of the whole installation, for its operator: no tenant's rows.

use super::text::count;
use super::{Issue, issues, mark, page, plain};
use maud::html;
use serde::Deserialize;
use serde_json::Value;

/// What `platform_report_data()` tells.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Platform {
    database: String,
    made_at: String,
    health_status: String,
    issues: Vec<Issue>,
    /// What get_system_health() answers, in the order in which one asks: name and value.
    system: Vec<(String, Value)>,
    /// What attest() says: property, pass, what to do.
    attest: Vec<(String, bool, Option<String>)>,
    tenants: Vec<Tenant>,
    /// Name, cron expression, last run, outcome.
    schedules: Vec<(String, String, Option<String>, Option<String>)>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tenant {
    org_name: String,
    tier: String,
    status: String,
    alerts: Option<String>,
    events: f64,
    storage_mb: Option<String>,
    revenue: Option<String>,
}

pub fn platform(data: &Platform) -> String {
    let failed = data.attest.iter().filter(|(_, pass, _)| !pass);
    let body = html! {
        header {
            h1 { "StormOps platform" }
            p.quiet {
                "database " bdi { (data.database) } " | " (data.made_at) " "
                (mark(&data.health_status, &data.health_status))
            }
        }
        main.cards {
            (issues(&data.issues))
            section {
                h2 { "System" }
                div.scroll { table.facts { @for (name, value) in &data.system {
                    tr { td { (name) } td.n { bdi { (plain(value)) } } }
                } } }
            }
            section {
                h2 { "Isolation" }
                @if data.attest.is_empty() { p.quiet { "attest() was not asked." } } @else {
                    p { (count(data.attest.iter().filter(|(_, pass, _)| *pass).count() as f64)) " of "
                        (count(data.attest.len() as f64)) " properties hold." }
                    @for (property, _, remedy) in failed {
                        article { p { (mark("failed", "failed")) " " (property) }
                            @if let Some(remedy) = remedy { p.quiet { (remedy) } } }
                    }
                }
            }
            section.wide {
                h2 { "Tenants" }
                @if data.tenants.is_empty() { p.quiet { "No tenant is provisioned yet." } } @else {
                    div.scroll { table.stack {
                        tr { th { "tenant" } th { "tier" } th { "status" } th { "open alerts" } th.n { "events this month" }
                            th.n { "storage, MB" } th.n { "revenue" } }
                        @for tenant in &data.tenants {
                            tr { td { bdi { (tenant.org_name) } } td title="tier" { (tenant.tier) } td title="status" { (tenant.status) }
                                td title="open alerts" { (tenant.alerts.as_deref().unwrap_or("-")) }
                                td.n title="events this month" { (count(tenant.events)) }
                                td.n title="storage, MB" { (tenant.storage_mb.as_deref().unwrap_or("-")) }
                                td.n title="revenue" { (tenant.revenue.as_deref().unwrap_or("-")) } }
                        }
                    } }
                }
            }
            section.wide {
                h2 { "Schedules" }
                @if data.schedules.is_empty() { p.quiet { "None: SELECT stormops.schedule_health_checks('*/15 * * * *');" } } @else {
                    div.scroll { table.stack {
                        tr { th { "job" } th { "cron" } th { "last run" } th { "outcome" } }
                        @for (job, cron, last, outcome) in &data.schedules {
                            tr { td { (job) } td title="cron" { (cron) } td title="last run" { (last.as_deref().unwrap_or("never")) }
                                td title="outcome" { (outcome.as_deref().unwrap_or("-")) } }
                        }
                    } }
                }
            }
        }
    };
    page("StormOps platform", &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_installation_without_tenants_has_a_page_and_hostile_names_stay_text() {
        assert!(platform(&Platform::default()).contains("No tenant is provisioned yet."));
        let evil = "</td><script>";
        let data = json!({"database": evil, "attest": [[evil, false, evil]], "schedules": [[evil, evil, evil, evil]],
            "system": [[evil, evil]], "tenants": [{"org_name": evil, "tier": evil, "status": evil, "alerts": evil, "revenue": evil}]});
        assert!(!platform(&serde_json::from_value(data).unwrap()).contains("<script"));
    }
}
