-- What of field the whole platform must know of.

-- Which role inside a tenant may do what with which table: see role_matrix().
INSERT INTO pg_temp.role_matrix (table_name, command, least_role, columns, through) VALUES
    ('storms', 'SELECT', 'viewer', NULL, NULL),
    ('storms', 'INSERT', 'crew_chief', NULL, NULL),
    ('storms', 'UPDATE', 'crew_chief', '{event_id,name,status,peril,hail_size_in,wind_gust_mph,west,south,east,north,started_at,ended_at}', NULL),
    ('storms', 'DELETE', 'admin', NULL, NULL),
    ('properties', 'SELECT', 'viewer', NULL, NULL),
    ('properties', 'INSERT', 'field_user', NULL, NULL),
    ('properties', 'UPDATE', 'field_user', '{external_id,address,longitude,latitude,roof_style,roof_material,year_built,roof_year,building_value,job_margin,contact_cost,do_not_contact,status,area}', NULL),
    ('customer_journeys', 'SELECT', 'viewer', NULL, NULL),
    ('customer_journeys', 'INSERT', 'field_user', NULL, NULL),
    ('customer_journeys', 'UPDATE', 'crew_chief', '{touch,channel,direction,occurred_at,value}', NULL),
    ('customer_journeys', 'DELETE', 'admin', NULL, NULL),
    ('contact_consents', 'SELECT', 'viewer', NULL, NULL),
    ('contact_consents', 'INSERT', 'field_user', NULL, NULL),
    ('attribution_days', 'SELECT', 'viewer', NULL, NULL),
    ('storm_footprints', 'SELECT', 'viewer', NULL, NULL),
    ('storm_footprints', 'INSERT', 'crew_chief', NULL, 'set_footprint()'),
    ('storm_footprints', 'DELETE', 'crew_chief', NULL, 'set_footprint()');

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
    ('stormops.attribute_conversions(uuid,text,interval,interval)', '{app,trusted_app}'),
    ('stormops_internal.attribution_of(uuid,uuid,interval,interval)', '{app,trusted_app}'),
    ('stormops_internal.attribution_agg(uuid,timestamp with time zone,text,boolean,double precision,double precision,double precision)', '{app,trusted_app}'),
    ('stormops.attribute_days(integer)', '{operator}'),
    ('stormops.set_footprint(uuid,jsonb)', '{app,trusted_app}'),
    ('stormops.affected_properties(uuid)', '{app,trusted_app}'),
    ('stormops_internal.footprint_agg(jsonb,uuid,double precision,double precision)', '{app,trusted_app}'),
    ('stormops_internal.footprint_hits(bytea)', '{app,trusted_app}'),
    ('stormops_internal.require_storm(uuid)', '{app,trusted_app}');

-- Tables whose health is watched: see counted_tables().
INSERT INTO pg_temp.counted_tables (table_name, time_column, natural_key, parents, call) VALUES
    ('storms', 'created_at', '{name,started_at}', '{}', NULL),
    ('properties', 'created_at', '{address}', '{}', NULL),
    ('customer_journeys', 'occurred_at', '{property_id,touch,channel,occurred_at}', '{"property_id": "properties", "storm_id": "storms"}', NULL);

-- What runs on its own: see known_jobs().
INSERT INTO pg_temp.known_jobs (job, schedule, function, purpose) VALUES
    ('attribution', '40 1 * * *', 'attribute_days', 'credit the conversions of each day to channels');
