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
    ('protected_tables'),
    ('token_issuers'),
    ('token_keys'),
    ('signing_keys');

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
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
    ('tenant_views()', '{operator,monitor}'),
    ('shipped_tables()', '{app,trusted_app,operator,monitor}'),
    ('shipped_functions()', '{operator,monitor}'),
    ('granted_functions()', '{operator,monitor}'),
    ('add_user(text,text,text,uuid)', '{app,trusted_app,operator}'),
    ('set_user_role(uuid,text,uuid)', '{app,trusted_app,operator}'),
    ('remove_user(uuid,text,uuid)', '{app,trusted_app,operator}'),
    ('verify_log(uuid)', '{app,trusted_app,operator}'),
    ('log_head(uuid)', '{app,trusted_app,operator}'),
    ('set_tier(uuid,text,text)', '{operator}'),
    ('provision_tenant(text,text,text)', '{operator}'),
    ('suspend_tenant(uuid,text)', '{operator}'),
    ('reactivate_tenant(uuid,text)', '{operator}'),
    ('close_tenant(uuid,text)', '{operator}'),
    ('granted_roles()', '{operator,monitor}'),
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
    ('is_operator()', '{operator,monitor}');

-- Tables whose health is watched: see counted_tables().
INSERT INTO pg_temp.counted_tables (table_name, time_column, natural_key, parents, call) VALUES
    ('users', 'created_at', '{email}', '{}', 'add_user');

-- What can be wrong, and what to do about it, in order.
INSERT INTO pg_temp.shipped_issues (issue, actions) VALUES
    ('installation', ARRAY['SELECT * FROM stormops.attest()', 'Do what the failing rows'' remedy says', 'SELECT stormops.install()']);
