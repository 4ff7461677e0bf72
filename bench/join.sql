SELECT count(*), avg(u.uplift * p.building_value)
FROM stormops.lead_uplift AS u
JOIN stormops.properties AS p USING (tenant_id, property_id)
WHERE :mine(u) AND :mine(p) AND u.storm_id = '01000000-0000-7000-8000-000000000001';
