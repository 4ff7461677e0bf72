//! `stormops.install()`: the tables, which belong to the database and not to the extension.

use pgrx::prelude::*;
use pgrx::spi::{self, Spi};

/// The statements that make the tables, adopt those that are there, and put all of them under
/// their policies. Each file may run again at any time.
pub(crate) const SCRIPTS: &[&str] = &[
    include_str!("../sql/tables/adoption.sql"),
    include_str!("../sql/tables/tenancy.sql"),
    include_str!("../sql/tables/tenancy_login.sql"),
    include_str!("../sql/tables/field.sql"),
    include_str!("../sql/tables/uplift.sql"),
    include_str!("../sql/tables/experiment.sql"),
    include_str!("../sql/tables/policy.sql"),
    include_str!("../sql/tables/metering.sql"),
    include_str!("../sql/tables/metering_rollups.sql"),
    include_str!("../sql/tables/metering_quotas.sql"),
    include_str!("../sql/tables/metering_prices.sql"),
    include_str!("../sql/tables/metering_invoices.sql"),
    include_str!("../sql/tables/health.sql"),
    include_str!("../sql/tables/health_counts.sql"),
    include_str!("../sql/tables/health_alerts.sql"),
    include_str!("../sql/tables/health_routes.sql"),
    include_str!("../sql/tables/views.sql"),
    include_str!("../sql/tables/tenancy_log.sql"),
    include_str!("../sql/tables/tenancy_protected.sql"),
    include_str!("../sql/tables/protection.sql"),
    include_str!("../sql/tables/health_triggers.sql"),
    include_str!("../sql/tables/tenancy_log_adoption.sql"),
];

/// Makes what is missing of StormOps' tables and restores their protection; keeps every row.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
fn install() -> Result<(), spi::Error> {
    SCRIPTS.iter().try_for_each(|script| Spi::run(script))
}

// The order of the install script. Functions refer to tables and to each other by name only,
// inside string bodies, so the files of the domains could stand in any order.
extension_sql_file!("../sql/bootstrap.sql", bootstrap);
extension_sql_file!("../sql/tenancy.sql");
extension_sql_file!("../sql/tenancy_matrix.sql", requires = ["tenancy"]);
extension_sql_file!("../sql/tenancy_functions.sql", requires = ["tenancy_matrix"]);
extension_sql_file!("../sql/tenancy_usage.sql", requires = ["tenancy_functions"]);
extension_sql_file!("../sql/tenancy_protection.sql", requires = ["tenancy_usage"]);
extension_sql_file!("../sql/tenancy_protect.sql", requires = ["tenancy_protection"]);
extension_sql_file!("../sql/tenancy_attest_server.sql", requires = ["tenancy_protect"]);
extension_sql_file!("../sql/tenancy_attest_tables.sql", requires = ["tenancy_attest_server"]);
extension_sql_file!("../sql/tenancy_attest_grants.sql", requires = ["tenancy_attest_tables"]);
extension_sql_file!("../sql/tenancy_attest_functions.sql", requires = ["tenancy_attest_grants"]);
extension_sql_file!("../sql/tenancy_attest.sql", requires = ["tenancy_attest_functions"]);
extension_sql_file!("../sql/tenancy_lifecycle.sql", requires = ["tenancy_attest"]);
extension_sql_file!("../sql/tenancy_log.sql", requires = ["tenancy_lifecycle"]);
extension_sql_file!("../sql/tenancy_users.sql", requires = ["tenancy_log"]);
extension_sql_file!("../sql/tenancy_tokens.sql", requires = ["tenancy_users"]);
extension_sql_file!("../sql/tenancy_break_glass.sql", requires = ["tenancy_tokens"]);
extension_sql_file!("../sql/field.sql", requires = ["tenancy_break_glass"]);
extension_sql_file!("../sql/uplift_scores.sql", requires = ["field"]);
extension_sql_file!("../sql/uplift_trials.sql", requires = ["uplift_scores"]);
extension_sql_file!("../sql/uplift_streams.sql", requires = ["uplift_trials"]);
extension_sql_file!("../sql/uplift.sql", requires = ["uplift_streams"]);
extension_sql_file!("../sql/uplift_outcomes.sql", requires = ["uplift"]);
extension_sql_file!("../sql/policy.sql", requires = ["uplift_outcomes"]);
extension_sql_file!("../sql/policy_seal.sql", requires = ["policy"]);
extension_sql_file!("../sql/policy_runs.sql", requires = ["policy_seal"]);
extension_sql_file!("../sql/tenancy_verification.sql", requires = ["policy_runs"]);
extension_sql_file!("../sql/policy_outcomes.sql", requires = ["tenancy_verification"]);
extension_sql_file!(
    "../sql/experiment_aggregates.sql",
    requires = ["policy_outcomes", stormops::experiment::arm_agg::arm_combine]
);
extension_sql_file!("../sql/experiment_bounded.sql", requires = ["experiment_aggregates"]);
extension_sql_file!("../sql/experiment.sql", requires = ["experiment_bounded"]);
extension_sql_file!("../sql/experiment_report.sql", requires = ["experiment"]);
extension_sql_file!("../sql/experiment_checks.sql", requires = ["experiment_report"]);
extension_sql_file!("../sql/conversion_rates.sql", requires = ["experiment_checks"]);
extension_sql_file!("../sql/metering.sql", requires = ["conversion_rates"]);
extension_sql_file!("../sql/metering_ingest.sql", requires = ["metering"]);
extension_sql_file!("../sql/metering_admission.sql", requires = ["metering_ingest"]);
extension_sql_file!("../sql/metering_quotas.sql", requires = ["metering_admission"]);
extension_sql_file!("../sql/metering_quota_use.sql", requires = ["metering_quotas"]);
extension_sql_file!("../sql/metering_hours.sql", requires = ["metering_quota_use"]);
extension_sql_file!("../sql/metering_rollups.sql", requires = ["metering_hours"]);
extension_sql_file!("../sql/metering_proof.sql", requires = ["metering_rollups"]);
extension_sql_file!("../sql/metering_usage.sql", requires = ["metering_proof"]);
extension_sql_file!("../sql/metering_storage.sql", requires = ["metering_usage"]);
extension_sql_file!("../sql/metering_partitions.sql", requires = ["metering_storage"]);
extension_sql_file!("../sql/tenancy_tiers.sql", requires = ["metering_partitions"]);
extension_sql_file!("../sql/metering_price_books.sql", requires = ["tenancy_tiers"]);
extension_sql_file!("../sql/metering_prices.sql", requires = ["metering_price_books"]);
extension_sql_file!("../sql/metering_rating.sql", requires = ["metering_prices"]);
extension_sql_file!("../sql/metering_lines.sql", requires = ["metering_rating"]);
extension_sql_file!("../sql/metering_adjustments.sql", requires = ["metering_lines"]);
extension_sql_file!("../sql/metering_invoices.sql", requires = ["metering_adjustments"]);
extension_sql_file!("../sql/metering_finalization.sql", requires = ["metering_invoices"]);
extension_sql_file!("../sql/metering_corrections.sql", requires = ["metering_finalization"]);
extension_sql_file!("../sql/metering_documents.sql", requires = ["metering_corrections"]);
extension_sql_file!("../sql/metering_invoice_proof.sql", requires = ["metering_documents"]);
extension_sql_file!("../sql/metering_overview.sql", requires = ["metering_invoice_proof"]);
extension_sql_file!("../sql/health_counts.sql", requires = ["metering_overview"]);
extension_sql_file!("../sql/health_tables.sql", requires = ["health_counts"]);
extension_sql_file!("../sql/health_expectations.sql", requires = ["health_tables"]);
extension_sql_file!("../sql/health_aggregates.sql", requires = ["health_expectations"]);
extension_sql_file!("../sql/health_judging.sql", requires = ["health_aggregates"]);
extension_sql_file!("../sql/health_checks.sql", requires = ["health_judging"]);
extension_sql_file!("../sql/health_alerts.sql", requires = ["health_checks"]);
extension_sql_file!("../sql/health_runbook.sql", requires = ["health_alerts"]);
extension_sql_file!("../sql/health_storms.sql", requires = ["health_runbook"]);
extension_sql_file!("../sql/health_dashboard.sql", requires = ["health_storms"]);
extension_sql_file!("../sql/health_metrics.sql", requires = ["health_dashboard"]);
extension_sql_file!("../sql/health_system.sql", requires = ["health_metrics"]);
extension_sql_file!("../sql/health_schedules.sql", requires = ["health_system"]);
extension_sql_file!("../sql/health_routes.sql", requires = ["health_schedules"]);
extension_sql_file!("../sql/health_delivery.sql", requires = ["health_routes"]);
extension_sql_file!("../sql/health_report.sql", requires = ["health_delivery"]);
extension_sql_file!("../sql/health_monitoring_platform.sql", requires = ["health_report"]);
extension_sql_file!("../sql/health_monitoring_tenants.sql", requires = ["health_monitoring_platform"]);
extension_sql_file!("../sql/health_monitoring.sql", requires = ["health_monitoring_tenants"]);
extension_sql_file!("../sql/portability.sql", requires = ["health_monitoring"]);
extension_sql_file!("../sql/finalize.sql", finalize);
