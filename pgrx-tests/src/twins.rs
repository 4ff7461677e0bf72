//! Two tenants whose rows have the same ids and keys in every table.

use postgres::{Error, SimpleQueryMessage};
use uuid::Uuid;

use crate::{Db, provision};

/// Table, columns and values of a row, every parent before its children. `{t}` is the tenant, `{n}` the number of the
/// row and `{id}` its UUID; `{storm}`, `{property}`, `{experiment}`, `{run}` and `{invoice}` are its parents.
const ROWS: &[(&str, &str, &str)] = &[
    ("tenant_events", "event_id, action, actor", "'{id}', 'test', 'test'"),
    (
        "tenant_log",
        "log, entry, subject_id, adopted, content, hash",
        "'events', {n}000, md5('{n}')::uuid, false, sha256('{n}'), sha256('{n}')",
    ),
    ("users", "user_id, email, role", "'{id}', 'twin{n}@twin.example', 'viewer'"),
    (
        "break_glass_grants",
        "grant_id, opened_by, expires_at, closed_at, reason, ticket",
        "'{id}', 'test', '2024-01-02', '2024-01-02', 'test', 'T-{n}'",
    ),
    ("storms", "storm_id, event_id, name", "'{id}', 'E-{n}', 'Storm {n}'"),
    ("properties", "property_id, external_id, address", "'{id}', 'P-{n}', '{n} Elm St'"),
    (
        "customer_journeys",
        "journey_id, property_id, storm_id, touch, channel",
        "'{id}', '{property}', '{storm}', 'call', 'phone'",
    ),
    (
        "lead_uplift",
        "storm_id, property_id, scored_at, model_version, uplift",
        "'{storm}', '{property}', '2024-01-01', 'm{n}', 0.2",
    ),
    (
        "uplift_baselines",
        "model_version, name, storm_id, sketch, n, mean, made_at, made_by",
        "'m{n}', 'default', '{storm}', '\\x534f733100000000000000000000000000000000000000009a9999999999c93f', 1, 0.2, '2024-01-01', 'test'",
    ),
    ("experiments", "experiment_id, storm_id, name", "'{id}', '{storm}', 'Experiment {n}'"),
    ("experiment_assignments", "experiment_id, property_id, arm", "'{experiment}', '{property}', 'control'"),
    ("policy_modes", "policy_mode, confidence, exploration, holdout", "'mode {n}', 0.5, 0, 0"),
    (
        "policy_runs",
        "run_id, storm_id, policy_mode, parameters, decided_at, decided_by, treat, hold, excluded, reasons, \
         expected_value",
        "'{id}', '{storm}', 'moderate', '{\"outcome_days\": 90}', '2024-01-02', 'test', 1, 0, 0, '{}', 0",
    ),
    (
        "policy_decisions_log",
        "run_id, property_id, storm_id, decided_at, propensity, score, score_sd, value, decision, reason, policy_mode, \
         model_version",
        "'{run}', '{property}', '{storm}', '2024-01-02', 1, 0.2, 0.1, 0, 'treat', 'above_threshold', 'moderate', 'm1'",
    ),
    ("policy_run_digests", "run_id, decisions, digest, fingerprints", "'{run}', 0, sha256('{n}'), ''"),
    (
        "policy_outcomes",
        "outcome_id, storm_id, property_id, run_id, converted, occurred_at, late, idempotency_key",
        "'{id}', '{storm}', '{property}', '{run}', true, '2024-01-03', false, 'O-{n}'",
    ),
    ("metrics", "metric_name, unit, aggregation", "'metric_{n}', 'unit', 'SUM'"),
    ("tenant_usage", "usage_id, metric_name, metric_value, idempotency_key", "'{id}', 'model_call', 1, 'U-{n}'"),
    (
        "usage_keys",
        "idempotency_key, usage_id, metric_name, metric_value, recorded_at",
        "'K-{n}', '{id}', 'metric_{n}', 1, '2024-01-01'",
    ),
    (
        "usage_rollups",
        "metric_name, grain, bucket, aggregation, quantity, event_count",
        "'metric_{n}', 'day', '2024-01-01 00:00:00+00', 'SUM', 1, 1",
    ),
    (
        "usage_unique_values",
        "metric_name, grain, bucket, dimensions, digest",
        "'metric_{n}', 'day', '2024-01-01 00:00:00+00', '{}', sha256('{n}')",
    ),
    ("quotas", "metric_name, period, kind, quota, set_by", "'metric_{n}', 'month', 'soft', 10, 'test'"),
    ("quota_counters", "metric_name, period, period_start, used", "'metric_{n}', 'month', '2024-01-01 00:00:00+00', 1"),
    (
        "quota_alerts",
        "metric_name, period, period_start, threshold, kind, quota, used",
        "'metric_{n}', 'month', '2024-01-01 00:00:00+00', 80, 'soft', 10, 8",
    ),
    ("price_book_assignments", "assigned_at, price_book, assigned_by", "'2024-01-0{n}', 'default', 'test'"),
    (
        "invoices",
        "invoice_id, period, org_name, price_book, currency, minor_unit, total, usage_seq, event_count, generated_by",
        "'{id}', '2023-0{n}-01', 'Twin', 'default', 'USD', 2, 1, 0, 0, 'test'",
    ),
    (
        "invoice_lines",
        "invoice_id, line, kind, metric_name, from_time, to_time, rule, quantity, amount",
        "'{invoice}', {n}, 'usage', 'metric_{n}', '2024-01-01', '2024-02-01', 'per unit', 1, 1",
    ),
    ("data_quality_metrics", "metric_id, table_name, metric_name, status", "'{id}', 'storms', 'volume', 'ok'"),
    ("row_count_deltas", "table_name, delta_id, inserted, deleted", "'twins', '{id}', 1, 0"),
    ("row_counts", "table_name, bucket, inserted, deleted", "'twins', '2024-01-0{n}', 1, 0"),
    ("call_durations", "table_name, day, class, calls", "'twins', '2024-01-01', {n}, 1"),
    (
        "expectations",
        "expectation_id, name, table_name, rule, columns",
        "'{id}', 'Expectation {n}', 'properties', 'not_null', '{address}'",
    ),
    ("alerts", "alert_id, alert_key, issue, severity", "'{id}', 'key {n}', 'volume_drop', 'warning'"),
    ("runbook_steps", "issue, step, action", "'volume_drop', {n}, 'Call {n}'"),
];
const PARENTS: [&str; 5] = ["{storm}", "{property}", "{experiment}", "{run}", "{invoice}"];

pub struct Twins {
    pub db: Db,
    /// Has row 1 of every table.
    pub a: Uuid,
    /// Has the same rows 1, and rows 2 that A lacks.
    pub b: Uuid,
    /// Every table of the role matrix, every parent before its children.
    pub tables: Vec<&'static str>,
}

impl Twins {
    pub fn new(name: &str) -> Self {
        let db = Db::new(name);
        let (a, b) = (provision(&db, "Alpha Roofing"), provision(&db, "Bravo Roofing"));
        let mut superuser = db.superuser();
        for (tenant, n) in [(a, 1), (b, 1), (b, 2)] {
            let script: Vec<String> = ROWS.iter().map(|(table, ..)| insert(table, tenant, n, n)).collect();
            superuser.batch_execute(&script.join(";")).expect("a row of every table");
        }
        let tables: Vec<&str> = std::iter::once("tenants").chain(ROWS.iter().map(|row| row.0)).collect();
        let unknown = "SELECT DISTINCT table_name FROM stormops.role_matrix() WHERE table_name <> ALL ($1)";
        let unknown = superuser.query(unknown, &[&tables]).expect("the role matrix");
        assert!(unknown.is_empty(), "ROWS lacks a table: {unknown:?}");
        Self { db, a, b, tables }
    }

    /// What a script gives in a session of its own: the first column of all its rows. It is sent as one message, after
    /// `$a` and `$b` in it became the tenants' ids, and `ENTER` the statement that sets one of them.
    pub fn run(&self, role: &str, script: &str) -> Result<Vec<String>, Error> {
        let script = script.replace("ENTER ", "SET app.current_tenant = ").replace("$a", &format!("'{}'", self.a));
        let messages = self.db.as_role(role).simple_query(&script.replace("$b", &format!("'{}'", self.b)))?;
        let value = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten().map(str::to_owned),
            _ => None,
        };
        Ok(messages.iter().filter_map(value).collect())
    }

    /// How many rows of a tenant there really are.
    pub fn count(&self, table: &str, tenant: Uuid) -> usize {
        let count = format!("SELECT count(*) FROM stormops.{table} WHERE tenant_id = '{tenant}'");
        self.db.superuser().query_one(&count, &[]).expect("a count").get::<_, i64>(0) as usize
    }

    /// Every value of every row of a tenant.
    pub fn contents(&self, tenant: Uuid) -> Vec<String> {
        let mut superuser = self.db.superuser();
        let rows =
            |table: &&str| format!("SELECT r::text FROM stormops.{table} AS r WHERE tenant_id = '{tenant}' ORDER BY 1");
        let read = |table: &&str| superuser.query(&rows(table), &[]).expect("rows");
        self.tables.iter().flat_map(read).map(|row| row.get(0)).collect()
    }
}

/// The tables that have rows here, every parent before its children.
pub fn rows() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.0)
}

/// The statement that inserts row `n` of a table, under the alias `r`, below parents of another number.
pub fn insert(table: &str, tenant: Uuid, n: u8, parents: u8) -> String {
    PARENTS.iter().fold(template(table, tenant, n), |sql, parent| sql.replace(parent, &id(parents).to_string()))
}

/// For each parent that row `n` of a table has: the statement that hangs it on the parent of another number.
pub fn insert_below(table: &str, tenant: Uuid, n: u8, parent_number: u8) -> Vec<String> {
    let template = template(table, tenant, n);
    let children = PARENTS.iter().filter(|parent| template.contains(*parent));
    let hang = |on: &&str| {
        let number = |parent: &&str| if parent == on { parent_number } else { 1 };
        PARENTS.iter().fold(template.clone(), |sql, parent| sql.replace(parent, &id(number(parent)).to_string()))
    };
    children.map(hang).collect()
}

/// The UUID of row `n`.
pub fn id(n: u8) -> Uuid {
    Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0000 | u128::from(n))
}

fn template(table: &str, tenant: Uuid, n: u8) -> String {
    let Some((_, columns, values)) = ROWS.iter().find(|row| row.0 == table) else { panic!("ROWS lacks table {table}") };
    let values = values.replace("{id}", &id(n).to_string()).replace("{n}", &n.to_string());
    format!("INSERT INTO stormops.{table} AS r (tenant_id, {columns}) VALUES ('{tenant}', {values})")
}
