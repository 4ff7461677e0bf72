//! `stormops.install()`: the tables, which belong to the database and not to the extension.

use pgrx::prelude::*;
use pgrx::spi::{self, Spi};

/// The statements that make the tables, adopt those that are there, and put all of them under
/// their policies. Each file may run again at any time.
const SCRIPTS: [&str; 13] = [
    include_str!("../sql/tables/adoption.sql"),
    include_str!("../sql/tables/tenancy.sql"),
    include_str!("../sql/tables/field.sql"),
    include_str!("../sql/tables/uplift.sql"),
    include_str!("../sql/tables/experiment.sql"),
    include_str!("../sql/tables/policy.sql"),
    include_str!("../sql/tables/metering.sql"),
    include_str!("../sql/tables/health.sql"),
    include_str!("../sql/tables/views.sql"),
    include_str!("../sql/tables/tenancy_log.sql"),
    include_str!("../sql/tables/tenancy_protected.sql"),
    include_str!("../sql/tables/protection.sql"),
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
extension_sql_file!("../sql/tenancy_usage.sql", requires = ["tenancy"]);
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
extension_sql_file!("../sql/field.sql", requires = ["tenancy_users"]);
extension_sql_file!("../sql/uplift_scores.sql", requires = ["field"]);
extension_sql_file!("../sql/uplift_trials.sql", requires = ["uplift_scores"]);
extension_sql_file!("../sql/uplift.sql", requires = ["uplift_trials"]);
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
extension_sql_file!("../sql/experiment.sql", requires = ["experiment_aggregates"]);
extension_sql_file!("../sql/experiment_report.sql", requires = ["experiment"]);
extension_sql_file!("../sql/conversion_rates.sql", requires = ["experiment_report"]);
extension_sql_file!("../sql/portability.sql", requires = ["conversion_rates"]);
extension_sql_file!("../sql/finalize.sql", finalize);
