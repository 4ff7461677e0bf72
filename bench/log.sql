-- The current run of the first tenant once more, row by row under the same rules, as 0.1.0 kept it; and 50,000 outcomes of it.
CREATE TABLE public.decided_rows AS
SELECT * FROM stormops.policy_decisions WHERE tenant_id = (SELECT tenant_id FROM stormops.tenants WHERE org_name = 'Large Roofing')
  AND storm_id = '01000000-0000-7000-8000-000000000001';
ALTER TABLE public.decided_rows ALTER COLUMN tenant_id SET NOT NULL, ADD PRIMARY KEY (tenant_id, run_id, property_id);
SELECT stormops.protect('public.decided_rows', '{"SELECT": "viewer"}');
CREATE TABLE public.sent AS
SELECT tenant_id, run_id, jsonb_agg(jsonb_build_object('property_id', property_id, 'converted', property_id::text ~ '[0-4]$', 'value', 12500)) AS outcomes
FROM (SELECT * FROM public.decided_rows ORDER BY md5(property_id::text) LIMIT 50000) AS d GROUP BY 1, 2;
GRANT SELECT ON public.sent TO bench_app;
-- The columns, keys, indexes and references of policy_outcomes, without policies and triggers.
CREATE TABLE public.bare_outcomes (LIKE stormops.policy_outcomes INCLUDING DEFAULTS INCLUDING INDEXES);
ALTER TABLE public.bare_outcomes ADD FOREIGN KEY (tenant_id, property_id) REFERENCES stormops.properties,
  ADD FOREIGN KEY (tenant_id, run_id) REFERENCES stormops.policy_runs;
CREATE TABLE public.judged AS TABLE public.bare_outcomes;
VACUUM (FREEZE, ANALYZE);
