-- Who may do what: the roles inside a tenant, and the four kinds of use that database roles are granted.

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
        ('expectations', 'INSERT', 'admin', NULL, NULL),
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
        'alert_routes',
        'alert_deliveries'
    ]
$$;
COMMENT ON FUNCTION stormops.installation_tables() IS 'The tables that hold no tenant''s rows. Nobody is granted a right to them; their owner''s functions read and write them.';

CREATE FUNCTION stormops.usage_functions(OUT signature text, OUT kinds text[]) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT f.signature, f.kinds::text[]
    FROM (VALUES
        -- What the policies, the defaults and the views call on the caller's behalf.
        ('current_tenant()', '{app,trusted_app,operator}'),
        ('current_user_id()', '{app,trusted_app}'),
        ('current_user_role()', '{app,trusted_app}'),
        ('may_read(text)', '{app,trusted_app,operator}'),
        ('may_write(text)', '{app,trusted_app}'),
        ('installed()', '{app,trusted_app,operator}'),
        ('login(text)', '{app,trusted_app}'),
        ('login_challenge()', '{app,trusted_app}'),
        ('issuers()', '{operator}'),
        ('issue_token(uuid,uuid,interval,text,text)', '{operator}'),
        ('open_break_glass(uuid,text,text,interval)', '{operator}'),
        ('break_glass(uuid)', '{operator}'),
        ('close_break_glass(uuid)', '{operator}'),
        ('break_glass_grants()', '{operator}'),
        ('new_id()', '{app,trusted_app}'),
        ('installation_tables()', '{operator,monitor}'),
        ('role_matrix()', '{app,trusted_app,operator,monitor}'),
        ('usage_functions()', '{operator,monitor}'),
        ('add_user(text,text,text,uuid)', '{app,trusted_app,operator}'),
        ('set_user_role(uuid,text,uuid)', '{app,trusted_app,operator}'),
        ('remove_user(uuid,text,uuid)', '{app,trusted_app,operator}'),
        ('export_tenant_data(uuid)', '{app,trusted_app,operator}'),
        ('verify_log(uuid)', '{app,trusted_app,operator}'),
        ('log_head(uuid)', '{app,trusted_app,operator}'),
        ('default_policy_modes()', '{app,trusted_app,operator}'),
        ('apply_policy(uuid,text,boolean)', '{app,trusted_app}'),
        ('preview_policy(uuid,text)', '{app,trusted_app}'),
        ('policy_parameters(text)', '{app,trusted_app}'),
        ('policy_decisions(uuid,jsonb)', '{app,trusted_app}'),
        ('policy_candidates(uuid,jsonb)', '{app,trusted_app}'),
        ('decidable_storm(uuid)', '{app,trusted_app}'),
        ('no_scores(uuid)', '{app,trusted_app}'),
        ('policy_tally(jsonb)', '{app,trusted_app}'),
        ('attitude(double precision)', '{app,trusted_app}'),
        ('draw(uuid,uuid,uuid,text)', '{app,trusted_app}'),
        ('record_outcome(uuid,uuid,boolean,numeric,timestamp with time zone,text)', '{app,trusted_app}'),
        ('record_outcomes(uuid,jsonb)', '{app,trusted_app}'),
        ('score_is_state(bytea)', '{app,trusted_app}'),
        ('score_agg(double precision)', '{app,trusted_app}'),
        ('rollup(stormops.score_sketch)', '{app,trusted_app}'),
        ('n(stormops.score_sketch)', '{app,trusted_app}'),
        ('mean(stormops.score_sketch)', '{app,trusted_app}'),
        ('stddev(stormops.score_sketch)', '{app,trusted_app}'),
        ('quantile(stormops.score_sketch,double precision)', '{app,trusted_app}'),
        ('describe(stormops.score_sketch)', '{app,trusted_app}'),
        ('histogram(stormops.score_sketch,double precision,double precision,integer)', '{app,trusted_app}'),
        ('drift(stormops.score_sketch,stormops.score_sketch)', '{app,trusted_app}'),
        ('drift_verdict(stormops.score_sketch,stormops.score_sketch,double precision,double precision,double precision)', '{app,trusted_app}'),
        ('drift_points(double precision[],text,double precision,double precision)', '{app,trusted_app}'),
        ('watch_drift(bytea,double precision[],text,double precision,double precision)', '{app,trusted_app}'),
        ('trial_is_state(bytea)', '{app,trusted_app}'),
        ('uplift_agg(double precision,boolean,double precision)', '{app,trusted_app}'),
        ('uplift_agg(double precision,boolean,double precision,double precision)', '{app,trusted_app}'),
        ('rollup(stormops.uplift_sketch)', '{app,trusted_app}'),
        ('n(stormops.uplift_sketch)', '{app,trusted_app}'),
        ('qini(stormops.uplift_sketch)', '{app,trusted_app}'),
        ('auuc(stormops.uplift_sketch)', '{app,trusted_app}'),
        ('uplift_at(stormops.uplift_sketch,double precision)', '{app,trusted_app}'),
        ('rate(stormops.uplift_sketch,text)', '{app,trusted_app}'),
        ('uplift_metrics(stormops.uplift_sketch)', '{app,trusted_app}'),
        ('curve(stormops.uplift_sketch,integer)', '{app,trusted_app}'),
        ('bins(stormops.uplift_sketch,integer)', '{app,trusted_app}'),
        ('existing_storm(uuid)', '{app,trusted_app}'),
        ('batch_scores(uuid,timestamp with time zone,text)', '{app,trusted_app}'),
        ('latest_scores(uuid)', '{app,trusted_app}'),
        ('storm_scores(uuid)', '{app,trusted_app}'),
        ('earlier_scores(uuid,text)', '{app,trusted_app}'),
        ('uplift_reference(uuid,text,text)', '{app,trusted_app}'),
        ('check_uplift_distribution(uuid,text,double precision,double precision,double precision)', '{app,trusted_app}'),
        ('score_design_effect(uuid)', '{app,trusted_app}'),
        ('uplift_drift(uuid,text)', '{app,trusted_app}'),
        ('set_baseline(uuid,text)', '{app,trusted_app}'),
        ('randomised_decisions(uuid)', '{app,trusted_app}'),
        ('storm_trial(uuid)', '{app,trusted_app}'),
        ('uplift_summary(uuid)', '{app,trusted_app}'),
        ('uplift_curve(uuid,integer)', '{app,trusted_app}'),
        ('uplift_calibration(uuid,integer)', '{app,trusted_app}'),
        ('arm_agg(double precision)', '{app,trusted_app}'),
        ('arm_agg(double precision,double precision)', '{app,trusted_app}'),
        ('arm_rollup(double precision[])', '{app,trusted_app}'),
        ('arm_combine(double precision[],double precision[])', '{app,trusted_app}'),
        ('arm_moments(double precision[])', '{app,trusted_app}'),
        ('bounded_lift_agg(double precision,boolean,double precision)', '{app,trusted_app}'),
        ('bounded_lift(double precision[],double precision,bigint,double precision,double precision)', '{app,trusted_app}'),
        ('compare_proportions(bigint,bigint,bigint,bigint,double precision,double precision,bigint)', '{app,trusted_app}'),
        ('compare_means(double precision[],double precision[],double precision,bigint)', '{app,trusted_app}'),
        ('compare_clusters(double precision[],double precision[],double precision[],double precision[],double precision,bigint)', '{app,trusted_app}'),
        ('check_sample_ratio(bigint[],double precision[])', '{app,trusted_app}'),
        ('leads_per_arm(double precision,double precision,double precision)', '{app,trusted_app}'),
        ('comparison_power(double precision,double precision,bigint,double precision)', '{app,trusted_app}'),
        ('benjamini_hochberg(double precision[])', '{app,trusted_app}'),
        ('compared_decisions(uuid)', '{app,trusted_app}'),
        ('check_conversion_rates(uuid,double precision,double precision,boolean)', '{app,trusted_app}'),
        ('create_experiment(uuid,text,jsonb,text,text,integer,text,text,text,text,boolean,integer)', '{app,trusted_app}'),
        ('assign_experiment(uuid)', '{app,trusted_app}'),
        ('stop_experiment(uuid,text)', '{app,trusted_app}'),
        ('draw_arms(uuid)', '{app,trusted_app}'),
        ('neighbourhood(double precision,double precision)', '{app,trusted_app}'),
        ('no_experiment(uuid)', '{app,trusted_app}'),
        ('experiment_units(uuid)', '{app,trusted_app}'),
        ('experiment_cells(uuid,text)', '{app,trusted_app}'),
        ('cluster_contrast(jsonb,jsonb,double precision,double precision,bigint)', '{app,trusted_app}'),
        ('experiment_summary(text,text,text,text,double precision,double precision,double precision,double precision)', '{app,trusted_app}'),
        ('check_sample_ratio_by(uuid,text)', '{app,trusted_app}'),
        ('experiment_looks(uuid,double precision)', '{app,trusted_app}'),
        ('experiment_report(uuid,text,double precision)', '{app,trusted_app}'),
        ('set_alert_route(text,text,text,text,text,uuid)', '{app,trusted_app,operator}'),
        ('remove_alert_route(text,uuid)', '{app,trusted_app,operator}'),
        ('alert_routes(uuid)', '{app,trusted_app,operator}'),
        ('alert_deliveries(uuid)', '{app,trusted_app,operator}'),
        ('retry_deliveries(uuid)', '{app,trusted_app,operator}'),
        ('deliver_alerts(integer,interval)', '{operator}'),
        ('lift_over_time(uuid,integer)', '{app,trusted_app}'),
        ('health_report_data(uuid)', '{app,trusted_app}'),
        ('health_report_html(uuid)', '{app,trusted_app}'),
        ('draw_health_report(jsonb)', '{app,trusted_app}'),
        ('report_issues(jsonb)', '{app,trusted_app,operator,monitor}'),
        ('platform_report_data()', '{operator,monitor}'),
        ('platform_report_html()', '{operator,monitor}'),
        ('draw_platform_report(jsonb)', '{operator,monitor}'),
        ('default_metrics()', '{app,trusted_app,operator}'),
        ('declare_metric(text,text,text,text,text[],uuid)', '{app,trusted_app,operator}'),
        ('record_usage(text,numeric,jsonb,text,timestamp with time zone)', '{app,trusted_app}'),
        ('record_usages(jsonb)', '{app,trusted_app}'),
        ('get_tenant_usage(uuid,integer)', '{app,trusted_app,operator}'),
        ('check_quota(text,uuid)', '{app,trusted_app,operator}'),
        ('rollup_usage()', '{operator}'),
        ('usage_watermark()', '{operator,monitor}'),
        ('verify_rollups()', '{operator}'),
        ('measure_storage()', '{operator}'),
        ('drop_usage_before(date)', '{operator}'),
        ('set_quota(uuid,text,numeric,text,text)', '{operator}'),
        ('set_tier_quota(text,text,numeric,text,text)', '{operator}'),
        ('expire_trials()', '{operator}'),
        ('set_tier(uuid,text,text)', '{operator}'),
        ('currencies()', '{app,trusted_app,operator}'),
        ('create_price_book(text,text,text)', '{operator}'),
        ('set_price(text,text,numeric,jsonb,numeric,numeric,text,uuid,text,timestamp with time zone,timestamp with time zone)', '{operator}'),
        ('prices(text)', '{operator}'),
        ('tenant_prices(uuid,timestamp with time zone)', '{app,trusted_app,operator}'),
        ('set_price_book(uuid,text)', '{operator}'),
        ('generate_invoice(uuid,text)', '{operator}'),
        ('generate_invoices(text)', '{operator}'),
        ('preview_invoice(uuid,text)', '{app,trusted_app,operator}'),
        ('finalize_invoice(uuid)', '{operator}'),
        ('void_invoice(uuid,text)', '{operator}'),
        ('credit_invoice(uuid,numeric,text)', '{operator}'),
        ('list_invoices(text,uuid)', '{operator}'),
        ('invoice_json(uuid)', '{app,trusted_app,operator}'),
        ('invoice_text(uuid)', '{app,trusted_app,operator}'),
        ('invoice_html(uuid)', '{app,trusted_app,operator}'),
        ('print_invoice(jsonb)', '{app,trusted_app,operator}'),
        ('print_invoice_html(jsonb)', '{app,trusted_app,operator}'),
        ('verify_invoice(uuid)', '{operator}'),
        ('rate_again(text,text)', '{operator}'),
        ('usage_overview(text)', '{operator,monitor}'),
        ('top_movers(text,integer)', '{operator,monitor}'),
        ('forecast_usage(timestamp with time zone,double precision)', '{operator,monitor}'),
        ('forecast_days(double precision[],integer,double precision)', '{operator,monitor}'),
        ('tenant_margins(text,text)', '{operator}'),
        ('provision_tenant(text,text,text)', '{operator}'),
        ('suspend_tenant(uuid,text)', '{operator}'),
        ('reactivate_tenant(uuid,text)', '{operator}'),
        ('close_tenant(uuid,text)', '{operator}'),
        ('granted_usage()', '{operator,monitor}'),
        ('protected()', '{operator,monitor}'),
        ('table_matrix()', '{operator,monitor}'),
        ('tenant_relations()', '{operator,monitor}'),
        ('shipped_policies()', '{operator,monitor}'),
        ('unsafe_keys(oid)', '{operator,monitor}'),
        ('library_is_preloaded()', '{operator,monitor}'),
        ('known_bypasses()', '{operator,monitor}'),
        ('shipped_triggers()', '{operator,monitor}'),
        ('privileges(aclitem[])', '{operator,monitor}'),
        ('present_grants()', '{operator,monitor}'),
        ('shipped_grants()', '{operator,monitor}'),
        ('log_digest(bytea[])', '{operator,monitor}'),
        ('function_digest(oid)', '{operator,monitor}'),
        ('shipped_functions()', '{operator,monitor}'),
        ('attest_server()', '{operator,monitor}'),
        ('attest_roles()', '{operator,monitor}'),
        ('attest_tables()', '{operator,monitor}'),
        ('attest_side_ways()', '{operator,monitor}'),
        ('attest_policies()', '{operator,monitor}'),
        ('attest_grants()', '{operator,monitor}'),
        ('attest_functions()', '{operator,monitor}'),
        ('attested_properties()', '{operator,monitor}'),
        ('attest()', '{operator,monitor}'),
        ('attest_summary()', '{operator,monitor}'),
        ('list_tenants()', '{operator,monitor}'),
        ('maintain_partitions(integer)', '{operator}'),
        ('drop_decisions_before(date)', '{operator}'),
        ('has_tenant()', '{app,trusted_app,operator,monitor}'),
        ('may_monitor()', '{app,trusted_app,operator,monitor}'),
        ('is_operator()', '{operator,monitor}'),
        ('counted_tables()', '{app,trusted_app,operator,monitor}'),
        ('counted_table(text)', '{app,trusted_app,operator,monitor}'),
        ('shipped_columns()', '{app,trusted_app,operator,monitor}'),
        ('schema_drift(text)', '{app,trusted_app,operator,monitor}'),
        ('count_bucket(timestamp with time zone)', '{app,trusted_app}'),
        ('tenant_row_counts()', '{app,trusted_app}'),
        ('row_quality(text,timestamp with time zone)', '{app,trusted_app}'),
        ('table_upkeep(text)', '{app,trusted_app,operator,monitor}'),
        ('check_table_health(text,interval)', '{app,trusted_app,operator,monitor}'),
        ('expectation_fault(text,text,text[])', '{app,trusted_app}'),
        ('expect(text,text,text[],numeric,numeric,interval,numeric,text,interval,text,uuid)', '{app,trusted_app,operator}'),
        ('default_expectations()', '{app,trusted_app,operator}'),
        ('expect_defaults(uuid)', '{app,trusted_app,operator}'),
        ('run_health_checks(boolean)', '{app,trusted_app,operator}'),
        ('judge_all_due(boolean,jsonb)', '{app,trusted_app,operator}'),
        ('alerts(boolean)', '{app,trusted_app,operator,monitor}'),
        ('acknowledge_alert(uuid,text)', '{app,trusted_app,operator}'),
        ('silence_alert(uuid,timestamp with time zone,text)', '{app,trusted_app,operator}'),
        ('shipped_runbook()', '{app,trusted_app,operator,monitor}'),
        ('runbook_steps(text)', '{app,trusted_app,operator,monitor}'),
        ('runbook(text)', '{app,trusted_app,operator,monitor}'),
        ('quality_objective(uuid)', '{app,trusted_app}'),
        ('storm_measures(uuid)', '{app,trusted_app}'),
        ('storm_issues(uuid,jsonb,jsonb)', '{app,trusted_app}'),
        ('tenant_issues()', '{app,trusted_app}'),
        ('get_health_dashboard(uuid)', '{app,trusted_app}'),
        ('sparkline(numeric[])', '{app,trusted_app,operator,monitor}'),
        ('health_summary(uuid)', '{app,trusted_app}'),
        ('platform_counts()', '{operator,monitor}'),
        ('get_system_health()', '{operator,monitor}'),
        ('get_tenant_metrics(uuid,integer)', '{app,trusted_app,operator,monitor}'),
        ('next_run(text,timestamp with time zone)', '{operator,monitor}'),
        ('known_jobs()', '{operator,monitor}'),
        ('known_job(text)', '{operator}'),
        ('schedules()', '{operator,monitor}'),
        ('schedule_job(text,text)', '{operator}'),
        ('schedule_health_checks(text)', '{operator}'),
        ('schedule_all()', '{operator}'),
        ('unschedule_all()', '{operator}'),
        ('note_schedule(text,text)', '{operator}'),
        ('run_job(text)', '{operator}'),
        ('note_run(text,timestamp with time zone,text,text)', '{operator}'),
        ('forget_health(interval)', '{operator}'),
        ('fold_row_counts()', '{operator}'),
        ('recount_rows(text)', '{operator}')
    ) AS f (signature, kinds)
$$;
COMMENT ON FUNCTION stormops.usage_functions() IS 'Which kind of use may execute which function. Grants are made from these rows.';

CREATE FUNCTION stormops.grant_usage(role_name name, kind text) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    grantee pg_catalog.pg_roles;
BEGIN
    IF role_name IS NULL OR kind IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'role name and kind must not be null',
            HINT = 'SELECT stormops.grant_usage(''web'', ''app'');';
    END IF;
    IF kind NOT IN ('app', 'trusted_app', 'operator', 'monitor') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('unknown kind of use "%s"', kind),
            HINT = 'A kind is app, trusted_app, operator or monitor.';
    END IF;
    SELECT r.* INTO grantee FROM pg_roles AS r WHERE r.rolname = role_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('role "%s" does not exist', role_name),
            HINT = format('CREATE ROLE %I LOGIN;', role_name);
    END IF;
    IF EXISTS (
        SELECT FROM pg_roles AS r
        WHERE (r.rolsuper OR r.rolbypassrls OR r.rolname = 'stormops_owner') AND pg_has_role(grantee.oid, r.oid, 'MEMBER')
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_grant_operation',
            MESSAGE = format('role "%s" would see every tenant''s rows', role_name),
            DETAIL = 'A superuser, a role with BYPASSRLS, stormops_owner, and every member of such a role are outside row security.',
            HINT = 'Grant use to an ordinary role.';
    END IF;
    PERFORM stormops.revoke_usage(role_name);
    INSERT INTO stormops.usage_grants (grantee, kind) VALUES (grantee.oid, kind);
    PERFORM stormops.renew_grants();
END
$$;
COMMENT ON FUNCTION stormops.grant_usage(name, text) IS 'Gives an ordinary role one kind of use, and takes any other from it. kind: app (works in the tenant that a verified token names), trusted_app (the same, and may SET app.current_tenant and app.current_user_id), operator (lifecycle of tenants; a tenant''s rows under break_glass() only), monitor (metrics; no tenant''s rows). Adds stormops to the role''s search_path in this database unless it has one of its own. For superusers. Errors: 22004, 22023 unknown kind, 42704 no such role, 0LP01 the role is outside row security.';

CREATE FUNCTION stormops.renew_grants() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    g record;
    p record;
BEGIN
    FOR g IN
        SELECT r.oid, r.rolname AS role_name, u.kind FROM stormops.usage_grants AS u JOIN pg_roles AS r ON r.oid = u.grantee
    LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA stormops TO %I', g.role_name);
        -- So that a statement as the application writes it, INSERT INTO storms, finds the table.
        IF NOT EXISTS (
            SELECT FROM pg_db_role_setting AS s, unnest(s.setconfig) AS c
            WHERE s.setrole = g.oid AND s.setdatabase IN (0, (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
                AND c LIKE 'search_path=%'
        ) THEN
            EXECUTE format('ALTER ROLE %I IN DATABASE %I SET search_path = "$user", public, stormops', g.role_name, current_database());
        END IF;
        FOR p IN SELECT f.signature FROM stormops.usage_functions() AS f WHERE g.kind = ANY (f.kinds) LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION stormops.%s TO %I', p.signature, g.role_name);
        END LOOP;
        CONTINUE WHEN g.kind = 'monitor';
        -- An operator reads, and under break-glass only: there is no other way for it into a tenant.
        FOR p IN
            SELECT m.command, m.relation::regclass AS name,
                (SELECT string_agg(quote_ident(k), ', ') FROM unnest(m.columns) AS k) AS columns
            FROM stormops.table_matrix() AS m
            WHERE m.through IS NULL AND m.least_role IS NOT NULL AND (g.kind <> 'operator' OR m.command = 'SELECT')
        LOOP
            EXECUTE format('GRANT %s %s ON %s TO %I', p.command, '(' || p.columns || ')', p.name, g.role_name);
        END LOOP;
        FOR p IN SELECT DISTINCT c.relnamespace::regnamespace AS name FROM stormops.protected() AS t JOIN pg_class AS c ON c.oid = t.relation LOOP
            EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', p.name, g.role_name);
        END LOOP;
        EXECUTE format('GRANT SELECT ON stormops.policy_decisions, stormops.storm_results TO %I', g.role_name);
        -- The cluster's, and so not to be touched without need: another database may be about to.
        IF g.kind = 'trusted_app' AND 2 > (
            SELECT count(*) FROM pg_parameter_acl AS s, aclexplode(s.paracl) AS a
            WHERE s.parname IN ('app.current_tenant', 'app.current_user_id') AND a.grantee = g.oid AND a.privilege_type = 'SET'
        ) THEN
            EXECUTE format('GRANT SET ON PARAMETER app.current_tenant, app.current_user_id TO %I', g.role_name);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops.renew_grants() IS 'Grants again, to every role that has use, what its kind may do, and adds stormops to its search_path in this database unless it has one of its own. install() and upgrades call it; call it after a restore into a database of another name.';

CREATE FUNCTION stormops.revoke_usage(role_name name) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    f record;
BEGIN
    IF role_name IS NULL OR NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = role_name) THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('role "%s" does not exist', role_name),
            HINT = 'SELECT * FROM stormops.usage_grants; shows who has use.';
    END IF;
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA stormops FROM %I', role_name);
    FOR f IN SELECT c.oid::regclass AS name FROM stormops.protected() AS p JOIN pg_class AS c ON c.oid = p.relation LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %I', f.name, role_name);
    END LOOP;
    EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA stormops FROM %I', role_name);
    EXECUTE format('REVOKE ALL ON SCHEMA stormops FROM %I', role_name);
    EXECUTE format('REVOKE ALL ON PARAMETER app.current_tenant, app.current_user_id FROM %I', role_name);
    DELETE FROM stormops.usage_grants AS g WHERE g.grantee = quote_ident(role_name)::regrole;
END
$$;
COMMENT ON FUNCTION stormops.revoke_usage(name) IS 'Takes every grant on StormOps from a role. For superusers. Errors: 42704 no such role.';
