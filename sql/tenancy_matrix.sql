-- Which role inside a tenant may do what with which table.

CREATE FUNCTION stormops.role_matrix(
    OUT table_name text, OUT command text, OUT least_role text, OUT columns text[], OUT through text
) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT m.table_name, m.command, m.least_role, m.columns::text[], m.through
    FROM (VALUES
        ('tenants', 'SELECT', 'viewer', NULL, NULL),
        ('tenant_events', 'SELECT', 'admin', NULL, NULL),
        ('tenant_log', 'SELECT', 'admin', NULL, NULL),
        ('users', 'SELECT', 'viewer', NULL, NULL),
        ('break_glass_grants', 'SELECT', 'admin', NULL, NULL),
        ('storms', 'SELECT', 'viewer', NULL, NULL),
        ('storms', 'INSERT', 'crew_chief', NULL, NULL),
        ('storms', 'UPDATE', 'crew_chief', '{event_id,name,status,peril,hail_size_in,wind_gust_mph,west,south,east,north,started_at,ended_at}', NULL),
        ('storms', 'DELETE', 'admin', NULL, NULL),
        ('properties', 'SELECT', 'viewer', NULL, NULL),
        ('properties', 'INSERT', 'field_user', NULL, NULL),
        ('properties', 'UPDATE', 'field_user', '{external_id,address,longitude,latitude,roof_style,roof_material,year_built,roof_year,building_value,job_margin,contact_cost,do_not_contact,status}', NULL),
        ('customer_journeys', 'SELECT', 'viewer', NULL, NULL),
        ('customer_journeys', 'INSERT', 'field_user', NULL, NULL),
        ('customer_journeys', 'UPDATE', 'crew_chief', '{touch,channel,direction,occurred_at,value}', NULL),
        ('customer_journeys', 'DELETE', 'admin', NULL, NULL),
        ('lead_uplift', 'SELECT', 'viewer', NULL, NULL),
        ('lead_uplift', 'INSERT', 'crew_chief', NULL, NULL),
        ('lead_uplift', 'DELETE', 'admin', NULL, NULL),
        ('uplift_baselines', 'SELECT', 'viewer', NULL, NULL),
        ('uplift_baselines', 'INSERT', 'crew_chief', NULL, 'set_baseline()'),
        ('uplift_baselines', 'UPDATE', 'crew_chief', NULL, 'set_baseline()'),
        ('uplift_baselines', 'DELETE', 'admin', NULL, NULL),
        ('experiments', 'SELECT', 'viewer', NULL, NULL),
        ('experiments', 'INSERT', 'crew_chief', NULL, 'create_experiment()'),
        ('experiments', 'UPDATE', 'crew_chief', NULL, 'stop_experiment()'),
        ('experiment_assignments', 'SELECT', 'viewer', NULL, NULL),
        ('experiment_assignments', 'INSERT', 'crew_chief', NULL, 'assign_experiment()'),
        ('policy_modes', 'SELECT', 'viewer', NULL, NULL),
        ('policy_modes', 'INSERT', 'admin', NULL, NULL),
        ('policy_modes', 'UPDATE', 'admin', '{confidence,exploration,holdout,breakeven_uplift,margin,contact_cost,capacity,budget,default_sd,outcome_days}', NULL),
        ('policy_modes', 'DELETE', 'admin', NULL, NULL),
        ('policy_runs', 'SELECT', 'viewer', NULL, NULL),
        ('policy_runs', 'INSERT', 'crew_chief', NULL, 'apply_policy()'),
        ('policy_runs', 'UPDATE', 'crew_chief', NULL, 'apply_policy()'),
        ('policy_decisions_log', 'SELECT', 'viewer', NULL, NULL),
        ('policy_decisions_log', 'INSERT', 'crew_chief', NULL, 'apply_policy()'),
        ('policy_run_digests', 'SELECT', 'admin', NULL, NULL),
        ('policy_run_digests', 'INSERT', 'crew_chief', NULL, 'apply_policy()'),
        ('policy_outcomes', 'SELECT', 'viewer', NULL, NULL),
        ('policy_outcomes', 'INSERT', 'field_user', NULL, 'record_outcome(), record_outcomes()'),
        ('metrics', 'SELECT', 'viewer', NULL, NULL),
        ('metrics', 'INSERT', 'admin', NULL, 'declare_metric()'),
        ('tenant_usage', 'SELECT', 'admin', '{tenant_id,usage_id,metric_name,metric_value,dimensions,idempotency_key,recorded_at}', NULL),
        ('tenant_usage', 'INSERT', 'viewer', '{tenant_id,usage_id,metric_name,metric_value,dimensions,idempotency_key,recorded_at}', NULL),
        ('usage_keys', 'SELECT', 'admin', NULL, NULL),
        ('usage_keys', 'INSERT', 'viewer', NULL, 'record_usage(), record_usages()'),
        ('usage_rollups', 'SELECT', 'admin', NULL, NULL),
        ('usage_unique_values', 'SELECT', 'admin', NULL, NULL),
        ('quotas', 'SELECT', 'viewer', NULL, NULL),
        ('quota_counters', 'SELECT', 'admin', NULL, NULL),
        ('quota_alerts', 'SELECT', 'admin', NULL, NULL),
        ('price_book_assignments', 'SELECT', 'admin', NULL, NULL),
        ('invoices', 'SELECT', 'admin', NULL, NULL),
        ('invoice_lines', 'SELECT', 'admin', NULL, NULL),
        ('data_quality_metrics', 'SELECT', 'viewer', NULL, NULL),
        ('data_quality_metrics', 'INSERT', 'crew_chief', NULL, NULL),
        ('row_count_deltas', 'SELECT', 'viewer', NULL, NULL),
        ('row_counts', 'SELECT', 'viewer', NULL, NULL),
        ('call_durations', 'SELECT', 'viewer', NULL, NULL),
        ('expectations', 'SELECT', 'viewer', NULL, NULL),
        ('expectations', 'INSERT', 'admin', '{tenant_id,expectation_id,name,table_name,rule,columns,lowest,highest,max_age,threshold,severity,every,active}', NULL),
        ('expectations', 'UPDATE', 'admin', '{lowest,highest,max_age,threshold,severity,every,active}', NULL),
        ('expectations', 'DELETE', 'admin', NULL, NULL),
        ('alerts', 'SELECT', 'viewer', NULL, NULL),
        ('alerts', 'INSERT', 'crew_chief', NULL, 'run_health_checks()'),
        ('alerts', 'UPDATE', 'crew_chief', NULL, 'run_health_checks(), acknowledge_alert(), silence_alert()'),
        ('runbook_steps', 'SELECT', 'viewer', NULL, NULL),
        ('runbook_steps', 'INSERT', 'admin', NULL, NULL),
        ('runbook_steps', 'UPDATE', 'admin', '{action}', NULL),
        ('runbook_steps', 'DELETE', 'admin', NULL, NULL)
    ) AS m (table_name, command, least_role, columns, through)
$$;
COMMENT ON FUNCTION stormops.role_matrix() IS 'Who may do what: table x command -> the least role. columns: those that the command may name, NULL for all; through: the functions that do it, NULL for plain SQL. What is not listed nobody may do. Policies and grants are made from these rows.';

CREATE FUNCTION stormops.installation_tables() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT ARRAY[
        'usage_grants',
        'protected_tables',
        'token_issuers',
        'token_keys',
        'signing_keys',
        'metering_progress',
        'tier_settings',
        'tier_quotas',
        'price_books',
        'prices',
        'invoice_numbers',
        'platform_alerts',
        'scheduled_jobs',
        'health_progress',
        'alert_routes',
        'alert_deliveries'
    ]
$$;
COMMENT ON FUNCTION stormops.installation_tables() IS 'The tables that hold no tenant''s rows. Nobody is granted a right to them; their owner''s functions read and write them.';
