-- One line for each risk attitude of one company. Variable: tenant.
BEGIN;
SET LOCAL app.current_tenant = :'tenant';
SELECT string_agg(format('   %-24s %-12s %7s %5s %7s %15s', t.org_name, m.policy_mode, p.treat, p.treat_pct, p.hold,
    to_char(p.expected_value, 'FM$999,999,990')), E'\n' ORDER BY m.confidence DESC) AS lines
FROM tenants AS t, policy_modes AS m, storms AS s, LATERAL preview_policy(s.storm_id, m.policy_mode) AS p \gset
COMMIT;
\echo :lines
