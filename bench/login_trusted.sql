\set number random(100000000001, 100000100000)
BEGIN;
SET LOCAL app.current_tenant = '@tenant@';
SELECT address, roof_material, building_value
FROM stormops.properties
WHERE property_id = ('01900000-0000-7000-8000-' || :number)::uuid;
COMMIT;
