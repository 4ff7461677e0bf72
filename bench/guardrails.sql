-- The largest tenant with a touch of each property five times over the last four months, and every guardrail of a kind that
-- counts. No property lies within an area of its own: by coordinates the hundred squares of the load are the areas.
SET session_replication_role = replica;
INSERT INTO stormops.customer_journeys (tenant_id, journey_id, property_id, storm_id, touch, channel, direction, occurred_at)
SELECT p.tenant_id, gen_random_uuid(), p.property_id, NULL, 'call', (ARRAY['phone', 'door', 'e-mail'])[1 + (random() * 3)::int % 3],
  CASE WHEN random() < 0.8 THEN 'outbound' ELSE 'inbound' END, now() - random() * interval '120 days'
FROM generate_series(1, 5), stormops.properties AS p
WHERE p.tenant_id = :'large';
INSERT INTO stormops.contact_consents (tenant_id, consent_id, property_id, channel, consented)
SELECT p.tenant_id, gen_random_uuid(), p.property_id, 'phone', random() < 0.5 FROM stormops.properties AS p
WHERE p.tenant_id = :'large' AND random() < 0.05;
DELETE FROM stormops.guardrails WHERE tenant_id = :'large';
INSERT INTO stormops.guardrails (tenant_id, name, kind, enabled) VALUES (:'large', 'consent', 'consent', false), (:'large', 'controls', 'experiment_control', false);
INSERT INTO stormops.guardrails (tenant_id, name, kind, enabled, channel, most, days)
VALUES (:'large', 'calls', 'frequency_cap', false, 'phone', 2, 30), (:'large', 'contacts', 'frequency_cap', false, NULL, 4, 90);
INSERT INTO stormops.guardrails (tenant_id, name, kind, enabled, metres, days) VALUES (:'large', 'spacing', 'spacing', false, 50, 30);
INSERT INTO stormops.guardrails (tenant_id, name, kind, enabled, most, days) VALUES (:'large', 'areas', 'area_capacity', false, 8000, 1);
INSERT INTO stormops.guardrails (tenant_id, name, kind, enabled, amount, days, contact_cost) VALUES (:'large', 'budget', 'budget', false, 60000000, 30, 150);
INSERT INTO stormops.guardrails (tenant_id, name, kind, enabled, time_zone, from_date, until_date)
VALUES (:'large', 'last year', 'quiet_window', false, 'America/Chicago', '2024-01-01', '2024-12-31');
RESET session_replication_role;
VACUUM (FREEZE, ANALYZE) stormops.customer_journeys, stormops.contact_consents, stormops.guardrails;
