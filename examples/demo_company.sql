-- One company: its storm, its houses by neighborhood, and a score for each house.
-- Variables: company (north, west or old), tenant.
BEGIN;
SET LOCAL app.current_tenant = :'tenant';

-- Gusts and times as examples/README.md gives them, with their sources.
INSERT INTO storms (event_id, name, status, peril, wind_gust_mph, west, south, east, north, started_at, ended_at)
VALUES ('2020-08-10-derecho', 'Midwest derecho, Ames', 'active', 'wind', 75, -93.70, 41.98, -93.57, 42.07,
    '2020-08-10 15:50+00', '2020-08-10 16:30+00')
RETURNING storm_id \gset

INSERT INTO properties (external_id, address, longitude, latitude, roof_style, roof_material, year_built, roof_year, building_value)
SELECT h.external_id, h.address || ', Ames, Iowa', h.longitude, h.latitude, h.roof_style, h.roof_material, h.year_built, h.roof_year, h.building_value
FROM houses AS h
WHERE :'company' = CASE
    WHEN h.neighborhood IN ('Old Town', 'Mitchell', 'Crawford', 'Iowa DOT and Rail Road', 'Meadow Village') THEN 'old'
    WHEN h.neighborhood IN ('College Creek', 'Edwards', 'Sawyer', 'Sawyer West', 'Timberland', 'South and West of Iowa State University',
        'Clear Creek', 'Blueste', 'Green Hills', 'Landmark') THEN 'west'
    ELSE 'north' END
ORDER BY h.external_id;
UPDATE properties SET do_not_contact = true WHERE external_id LIKE '%13'; -- one house in a hundred

-- The model. A job without a visit: 2 % on a new roof, 8 % on one of 40 years. A visit adds up to
-- 24 points where the roof is old, half of that on metal or tile. The score is that effect with
-- an error of 0.05, as a model's would be; draws are those of the external id, so that they do
-- not change from run to run.
CREATE TEMP TABLE truth ON COMMIT DROP AS
SELECT p.property_id,
    0.02 + 0.06 * least(2020 - p.roof_year, 40) / 40.0 AS baseline,
    0.24 / (1 + exp((24 - (2020 - p.roof_year)) / 5.0))
        * CASE WHEN p.roof_material IN ('metal', 'clay_tile') THEN 0.5 ELSE 1 END - 0.01 AS effect,
    sqrt(-2 * ln(1 - draw(md5(p.external_id)::uuid, md5('a')::uuid, md5('b')::uuid, 'demo')))
        * cos(2 * pi() * draw(md5(p.external_id)::uuid, md5('c')::uuid, md5('d')::uuid, 'demo')) AS noise
FROM properties AS p;
INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift, uplift_sd, baseline)
SELECT :'storm_id', t.property_id, 'demo_model_1', least(greatest(t.effect + 0.05 * t.noise, -1), 1), 0.05, t.baseline
FROM truth AS t;

UPDATE policy_modes SET margin = 3000, contact_cost = 150;
SELECT format('   %-24s %5s houses, roofs %s to %s years old, mean score %s', t.org_name, count(*),
    2020 - max(p.roof_year), 2020 - min(p.roof_year), round(avg(u.uplift)::numeric, 3)) AS line
FROM tenants AS t, properties AS p JOIN lead_uplift AS u USING (property_id)
GROUP BY t.org_name \gset
COMMIT;
\echo :line
