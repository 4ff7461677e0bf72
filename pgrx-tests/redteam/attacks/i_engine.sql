-- I. Bugs of the server that break a correct policy: the shape of our tables must withstand them.

--# 148 | S1 | app, tapp | same
-- CVE-2026-120154: the WHERE of ON CONFLICT sees rows that row security hides.
CREATE FUNCTION mallory.lk(shown text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'saw %', shown; RETURN true; END $$;
INSERT INTO stormops.properties AS p (tenant_id, property_id, external_id) SELECT :'A', gen_random_uuid(), 'B-' || i FROM generate_series(1, 300) AS i ON CONFLICT (external_id) DO UPDATE SET address = 'mine' WHERE mallory.lk(p.address);
INSERT INTO stormops.properties AS p (tenant_id, property_id, external_id) SELECT :'A', gen_random_uuid(), 'B-' || i FROM generate_series(1, 300) AS i ON CONFLICT (tenant_id, external_id) DO UPDATE SET address = 'mine' WHERE mallory.lk(p.address);

--# 148b | S1 | app, tapp | same | naive holds
-- With the victim's own id as the key.
INSERT INTO stormops.properties AS p (tenant_id, property_id, external_id) SELECT :'B', gen_random_uuid(), 'B-' || i FROM generate_series(1, 300) AS i ON CONFLICT (tenant_id, external_id) DO UPDATE SET address = 'mine' RETURNING address;

--# 149 | S1 | app, tapp | refused 42501 | naive holds
-- CVE-2025-8713, CVE-2025-12817: operators and statistics of the attacker's own.
CREATE STATISTICS mallory.s ON tenant_id, external_id FROM stormops.properties;

--# 151 | S2 | app, tapp | rows=0 | naive holds
-- CVE-2024-10976: a plan reused under another role. No policy names a role.
SELECT polname FROM pg_policy WHERE polroles <> '{0}';

--# 155 | OPS | superuser | value=t | naive holds
-- No server older than the floor.
SELECT current_setting('server_version_num')::int >= 150000;
