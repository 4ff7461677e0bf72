-- What the victim has beside a row of every table: enough to count, and text to recognise.
UPDATE stormops.users SET full_name = 'BRAVO-SECRET person' WHERE tenant_id = :'B' AND full_name IS NULL AND email LIKE 'twin%';
UPDATE stormops.tenant_usage SET dimensions = '{"note": "BRAVO-SECRET"}' WHERE tenant_id = :'B';
INSERT INTO stormops.properties (tenant_id, property_id, external_id, address)
SELECT :'B', md5('BRAVO' || i)::uuid, 'B-' || i, i || ' BRAVO-SECRET Road' FROM generate_series(1, 300) AS i;
