-- A run of 1,000,000 decisions with 300,000 outcomes, 1,000,000 touches of 250,000 properties, and a footprint of two bands, for
-- the largest tenant's storm. Run in the database of load.sql after the run was applied, as superuser; :tenant and :storm.
SET session_replication_role = replica; -- a load is not measured here
SELECT setseed(0.75);
INSERT INTO stormops.policy_outcomes (tenant_id, storm_id, property_id, run_id, converted, value, occurred_at, late, idempotency_key)
SELECT d.tenant_id, d.storm_id, d.property_id, d.run_id, random() < 0.3, 12000, d.decided_at + random() * interval '30 days', false, 'B' || row_number() OVER ()
FROM stormops.policy_decisions_log AS d JOIN stormops.policy_runs AS r USING (tenant_id, run_id)
WHERE d.tenant_id = :'tenant' AND d.storm_id = :'storm' AND r.superseded_at IS NULL AND d.decision <> 'exclude' AND random() < 0.3;
INSERT INTO stormops.customer_journeys (tenant_id, journey_id, property_id, storm_id, touch, channel, occurred_at)
SELECT :'tenant', gen_random_uuid(), ('01900000-0000-7000-8000-' || 100000000001 + (random() * 249999)::bigint)::uuid, :'storm', 'call',
  (ARRAY['door', 'phone', 'e-mail', 'mail', 'search', 'referral', 'radio', 'event'])[1 + floor(random() * 8)::integer],
  now() - random() * interval '60 days'
FROM generate_series(1, 1000000);
RESET session_replication_role;
VACUUM (FREEZE, ANALYZE);
