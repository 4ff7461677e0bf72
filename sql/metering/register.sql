-- What of metering the whole platform must know of.

-- Which role inside a tenant may do what with which table: see role_matrix().
INSERT INTO pg_temp.role_matrix (table_name, command, least_role, columns, through) VALUES
    ('metrics', 'SELECT', 'viewer', NULL, NULL),
    ('metrics', 'INSERT', 'admin', NULL, 'declare_metric()'),
    ('tenant_usage', 'SELECT', 'admin', NULL, NULL),
    ('tenant_usage', 'INSERT', 'viewer', '{tenant_id,usage_id,metric_name,metric_value,dimensions,idempotency_key,recorded_at}', NULL),
    ('usage_batches', 'SELECT', 'admin', NULL, NULL),
    ('usage_keys', 'SELECT', 'admin', NULL, NULL),
    ('usage_keys', 'INSERT', 'viewer', NULL, 'record_usage(), record_usages()'),
    ('usage_rollups', 'SELECT', 'admin', NULL, NULL),
    ('usage_unique_values', 'SELECT', 'admin', NULL, NULL),
    ('quotas', 'SELECT', 'viewer', NULL, NULL),
    ('quota_counters', 'SELECT', 'admin', NULL, NULL),
    ('quota_alerts', 'SELECT', 'admin', NULL, NULL),
    ('price_book_assignments', 'SELECT', 'admin', NULL, NULL),
    ('invoices', 'SELECT', 'admin', NULL, NULL),
    ('invoice_lines', 'SELECT', 'admin', NULL, NULL);

-- Tables that hold no tenant's rows.
INSERT INTO pg_temp.installation_tables (table_name) VALUES
    ('metering_progress'),
    ('tier_settings'),
    ('tier_quotas'),
    ('price_books'),
    ('prices'),
    ('invoice_numbers');

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
    ('stormops.default_metrics()', '{app,trusted_app,operator}'),
    ('stormops.declare_metric(text,text,text,text,text[],uuid)', '{app,trusted_app,operator}'),
    ('stormops.record_usage(text,numeric,jsonb,text,timestamp with time zone)', '{app,trusted_app}'),
    ('stormops.record_usages(jsonb)', '{app,trusted_app}'),
    ('stormops.get_tenant_usage(uuid,integer)', '{app,trusted_app,operator}'),
    ('stormops.check_quota(text,uuid)', '{app,trusted_app,operator}'),
    ('stormops.usage_batch()', '{app,trusted_app}'),
    ('stormops.rollup_usage()', '{operator}'),
    ('stormops.verify_rollups()', '{operator}'),
    ('stormops.measure_storage()', '{operator}'),
    ('stormops.drop_usage_before(date)', '{operator}'),
    ('stormops.set_quota(uuid,text,numeric,text,text)', '{operator}'),
    ('stormops.set_tier_quota(text,text,numeric,text,text)', '{operator}'),
    ('stormops.expire_trials()', '{operator}'),
    ('stormops.currencies()', '{app,trusted_app,operator}'),
    ('stormops.create_price_book(text,text,text)', '{operator}'),
    ('stormops.set_price(text,text,numeric,jsonb,numeric,numeric,text,uuid,text,timestamp with time zone,timestamp with time zone)', '{operator}'),
    ('stormops.prices(text)', '{operator}'),
    ('stormops.tenant_prices(uuid,timestamp with time zone)', '{app,trusted_app,operator}'),
    ('stormops.set_price_book(uuid,text)', '{operator}'),
    ('stormops.generate_invoice(uuid,text)', '{operator}'),
    ('stormops.generate_invoices(text)', '{operator}'),
    ('stormops.preview_invoice(uuid,text)', '{app,trusted_app,operator}'),
    ('stormops.finalize_invoice(uuid)', '{operator}'),
    ('stormops.void_invoice(uuid,text)', '{operator}'),
    ('stormops.credit_invoice(uuid,numeric,text)', '{operator}'),
    ('stormops.list_invoices(text,uuid)', '{operator}'),
    ('stormops.invoice_json(uuid)', '{app,trusted_app,operator}'),
    ('stormops.invoice_text(uuid)', '{app,trusted_app,operator}'),
    ('stormops.invoice_html(uuid)', '{app,trusted_app,operator}'),
    ('stormops_internal.print_invoice(jsonb)', '{app,trusted_app,operator}'),
    ('stormops_internal.print_invoice_html(jsonb)', '{app,trusted_app,operator}'),
    ('stormops.verify_invoice(uuid)', '{operator}'),
    ('stormops.rate_again(text,text)', '{operator}'),
    ('stormops.usage_overview(text)', '{operator,monitor}'),
    ('stormops.top_movers(text,integer)', '{operator,monitor}'),
    ('stormops.forecast_usage(timestamp with time zone,double precision)', '{operator,monitor}'),
    ('stormops_internal.forecast_days(double precision[],integer,double precision)', '{operator,monitor}'),
    ('stormops.tenant_margins(text,text)', '{operator}'),
    ('stormops.rate(uuid[],date[],text[],bigint)', '{}');

-- Tables whose health is watched: see counted_tables().
INSERT INTO pg_temp.counted_tables (table_name, time_column, natural_key, parents, call) VALUES
    ('tenant_usage', 'recorded_at', '{metric_name,dimensions,recorded_at}', '{}', 'record_usage');

-- What runs on its own: see known_jobs().
INSERT INTO pg_temp.known_jobs (job, schedule, function, purpose) VALUES
    ('usage_rollup', '*/5 * * * *', 'rollup_usage', 'roll metered usage up'),
    ('storage', '20 1 * * *', 'measure_storage', 'meter the storage of every tenant'),
    ('trial_expiry', '5 * * * *', 'expire_trials', 'suspend tenants whose trial has ended');

-- What can be wrong, and what to do about it, in order.
INSERT INTO pg_temp.shipped_issues (issue, actions) VALUES
    ('invoices_overdue', ARRAY['List the overdue invoices', 'Ask the tenants'' admins', 'Consider stormops.suspend_tenant(tenant_id,
        ''payment_failed'')']),
    ('usage_unfolded', ARRAY['SELECT * FROM stormops.rollup_usage()', 'Check that usage_rollup is scheduled: stormops.schedules()',
        'Find a long transaction that has written usage: pg_stat_activity by xact_start']),
    ('quota_used', ARRAY['SELECT * FROM stormops.check_quota(metric_name, tenant_id)', 'Ask the tenant whether the use is meant',
        'SELECT stormops.set_quota(tenant_id, metric_name, quota)']);
