-- What one company sees of the tables. Variable: tenant.
BEGIN;
SET LOCAL app.current_tenant = :'tenant';
SELECT format('   %-24s sees %5s houses, %5s decisions, %s storm', t.org_name, (SELECT count(*) FROM properties),
    (SELECT count(*) FROM policy_decisions_log), (SELECT count(*) FROM storms)) AS line
FROM tenants AS t \gset
COMMIT;
\echo :line
