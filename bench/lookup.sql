\set number random(100000000001, 100000400000)
SELECT address, roof_material, building_value
FROM stormops.properties AS p
WHERE :mine(p) AND property_id = ('01900000-0000-7000-8000-' || :number)::uuid;
