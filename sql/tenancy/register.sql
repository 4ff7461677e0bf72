-- What of tenancy the whole platform must know of.

-- Which role inside a tenant may do what with which table: see role_matrix().
INSERT INTO pg_temp.role_matrix (table_name, command, least_role, columns, through) VALUES
    ('tenants', 'SELECT', 'viewer', NULL, NULL),
    ('tenant_events', 'SELECT', 'admin', NULL, NULL),
    ('tenant_log', 'SELECT', 'admin', NULL, NULL),
    ('users', 'SELECT', 'viewer', NULL, NULL),
    ('break_glass_grants', 'SELECT', 'admin', NULL, NULL);

-- Tables that hold no tenant's rows.
INSERT INTO pg_temp.installation_tables (table_name) VALUES
    ('usage_grants'),
    ('user_changes'),
    ('protected_tables'),
    ('token_issuers'),
    ('token_keys'),
    ('signing_keys');

-- Views.
INSERT INTO pg_temp.granted_views (view_name, kinds) VALUES
    ('reference', '{app,trusted_app,operator,monitor}');

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
    ('stormops.current_tenant()', '{app,trusted_app,operator}'),
    ('stormops.current_user_id()', '{app,trusted_app}'),
    ('stormops.current_user_role()', '{app,trusted_app}'),
    ('stormops.may_read(text)', '{app,trusted_app,operator}'),
    ('stormops.may_write(text)', '{app,trusted_app}'),
    ('stormops.installed()', '{app,trusted_app,operator}'),
    ('stormops.enter_tenant(uuid,uuid)', '{trusted_app}'),
    ('stormops.login(text)', '{app,trusted_app}'),
    ('stormops.login_challenge()', '{app,trusted_app}'),
    ('stormops.issuers()', '{operator}'),
    ('stormops.issue_token(uuid,uuid,interval,text,text)', '{operator}'),
    ('stormops.open_break_glass(uuid,text,text,interval)', '{operator}'),
    ('stormops.break_glass(uuid)', '{operator}'),
    ('stormops.close_break_glass(uuid)', '{operator}'),
    ('stormops.break_glass_grants()', '{operator}'),
    ('stormops.new_id()', '{app,trusted_app}'),
    ('stormops_internal.installation_tables()', '{operator,monitor}'),
    ('stormops.role_matrix()', '{app,trusted_app,operator,monitor}'),
    ('stormops_internal.granted_views()', '{operator,monitor}'),
    ('stormops_internal.shipped_tables()', '{app,trusted_app,operator,monitor}'),
    ('stormops_internal.shipped_functions()', '{operator,monitor}'),
    ('stormops_internal.granted_functions()', '{app,trusted_app,operator,monitor}'),
    ('stormops.add_user(text,text,text,uuid)', '{app,trusted_app,operator}'),
    ('stormops.set_user_role(uuid,text,uuid)', '{app,trusted_app,operator}'),
    ('stormops.remove_user(uuid,text,uuid)', '{app,trusted_app,operator}'),
    ('stormops.verify_log(uuid)', '{app,trusted_app,operator}'),
    ('stormops.log_head(uuid)', '{app,trusted_app,operator}'),
    ('stormops.set_tier(uuid,text,text)', '{operator}'),
    ('stormops.provision_tenant(text,text,text)', '{operator}'),
    ('stormops.suspend_tenant(uuid,text)', '{operator}'),
    ('stormops.reactivate_tenant(uuid,text)', '{operator}'),
    ('stormops.close_tenant(uuid,text)', '{operator}'),
    ('stormops_internal.granted_roles()', '{operator,monitor}'),
    ('stormops_internal.protected()', '{operator,monitor}'),
    ('stormops_internal.table_matrix(oid)', '{operator,monitor}'),
    ('stormops_internal.tenant_relations()', '{operator,monitor}'),
    ('stormops_internal.shipped_policies(oid)', '{operator,monitor}'),
    ('stormops_internal.unsafe_keys(oid)', '{operator,monitor}'),
    ('stormops_internal.library_is_preloaded()', '{operator,monitor}'),
    ('stormops_internal.known_bypasses()', '{operator,monitor}'),
    ('stormops_internal.shipped_triggers()', '{operator,monitor}'),
    ('stormops_internal.privileges(aclitem[])', '{operator,monitor}'),
    ('stormops_internal.present_grants()', '{operator,monitor}'),
    ('stormops_internal.shipped_grants()', '{operator,monitor}'),
    ('stormops.log_digest(bytea[])', '{operator,monitor}'),
    ('stormops_internal.function_digest(oid)', '{operator,monitor}'),
    ('stormops_internal.attest_server()', '{operator,monitor}'),
    ('stormops_internal.shipped_types()', '{operator,monitor}'),
    ('stormops_internal.shipped_definitions()', '{operator,monitor}'),
    ('stormops_internal.present_definitions()', '{operator,monitor}'),
    ('stormops_internal.partition_bound(text)', '{operator,monitor}'),
    ('stormops_internal.first_id_at(bigint)', '{operator,monitor}'),
    ('stormops_internal.distributed_relations()', '{operator,monitor}'),
    ('stormops_internal.lasting_settings()', '{operator,monitor}'),
    ('stormops_internal.is_off(text)', '{operator,monitor}'),
    ('stormops_internal.opened_by(text,text)', '{operator,monitor}'),
    ('stormops_internal.attest_definitions()', '{operator,monitor}'),
    ('stormops_internal.attest_definers()', '{operator,monitor}'),
    ('stormops_internal.attest_views()', '{operator,monitor}'),
    ('stormops_internal.attest_expressions()', '{operator,monitor}'),
    ('stormops_internal.attest_replication()', '{operator,monitor}'),
    ('stormops_internal.attest_settings()', '{operator,monitor}'),
    ('stormops_internal.attest_catalogue()', '{operator,monitor}'),
    ('stormops_internal.attest_roles()', '{operator,monitor}'),
    ('stormops_internal.attest_tables()', '{operator,monitor}'),
    ('stormops_internal.attest_side_ways()', '{operator,monitor}'),
    ('stormops_internal.attest_policies()', '{operator,monitor}'),
    ('stormops_internal.attest_grants()', '{operator,monitor}'),
    ('stormops_internal.attest_functions()', '{operator,monitor}'),
    ('stormops_internal.attested_properties()', '{operator,monitor}'),
    ('stormops.attest()', '{operator,monitor}'),
    ('stormops.attest_summary()', '{operator,monitor}'),
    ('stormops.list_tenants()', '{operator,monitor}'),
    ('stormops_internal.is_operator()', '{operator,monitor}'),
    ('stormops.install()', '{}'),
    ('stormops.grant_usage(name,text)', '{}'),
    ('stormops.revoke_usage(name)', '{}'),
    ('stormops.renew_grants()', '{}'),
    ('stormops.protect(regclass,jsonb)', '{}'),
    ('stormops.unprotect(regclass)', '{}'),
    ('stormops.trust_issuer(text,text,jsonb,boolean,text,text,text)', '{}'),
    ('stormops.distrust_issuer(text)', '{}'),
    ('stormops.create_signing_key(boolean)', '{}'),
    ('stormops.rotate_signing_key(interval)', '{}');

-- Tables whose health is watched: see counted_tables().
INSERT INTO pg_temp.counted_tables (table_name, time_column, natural_key, parents, call) VALUES
    ('users', 'created_at', '{email}', '{}', 'add_user');

-- What can be wrong, and what to do about it, in order.
INSERT INTO pg_temp.shipped_issues (issue, actions) VALUES
    ('installation', ARRAY['SELECT * FROM stormops.attest()', 'Do what the failing rows'' remedy says', 'SELECT stormops.install()']);
