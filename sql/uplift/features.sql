-- What models know of a property: a closed catalogue. A model names features of it, and so nothing that a tenant registers is
-- ever run as SQL.

CREATE FUNCTION stormops.model_features(OUT feature text, OUT type text, OUT source text, OUT unit text, OUT description text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT f.feature, f.type, f.source, f.unit, f.description
    FROM (VALUES
        ('longitude', 'number', 'property', 'degrees', 'of the property'),
        ('latitude', 'number', 'property', 'degrees', 'of the property'),
        ('year_built', 'number', 'property', 'year', 'of the building'),
        ('roof_year', 'number', 'property', 'year', 'of the present roof'),
        ('building_age', 'number', 'property', 'years', 'the storm''s year less year_built'),
        ('roof_age', 'number', 'property', 'years', 'the storm''s year less roof_year'),
        ('building_value', 'number', 'property', 'currency', 'value of the building'),
        ('job_margin', 'number', 'property', 'currency', 'margin expected from a job on the roof'),
        ('contact_cost', 'number', 'property', 'currency', 'cost of treating the property'),
        ('roof_style', 'text', 'property', NULL, 'as properties.roof_style'),
        ('roof_material', 'text', 'property', NULL, 'as properties.roof_material'),
        ('hail_size_in', 'number', 'storm', 'inches', 'of the storm'),
        ('wind_gust_mph', 'number', 'storm', 'miles per hour', 'of the storm'),
        ('storm_month', 'number', 'storm', 'month', '1 to 12, of the storm''s start (UTC)'),
        ('storm_days', 'number', 'storm', 'days', 'since the storm''s start, else since its row was written'),
        ('peril', 'text', 'storm', NULL, 'of the storm'),
        ('touches', 'number', 'journeys', 'count', 'journeys rows of the property so far'),
        ('inbound_touches', 'number', 'journeys', 'count', 'of these, inbound'),
        ('storm_touches', 'number', 'journeys', 'count', 'of these, of this storm'),
        ('channels', 'number', 'journeys', 'count', 'different channels of the touches'),
        ('conversions', 'number', 'journeys', 'count', 'touches called conversion'),
        ('converted_value', 'number', 'journeys', 'currency', 'sum of their value'),
        ('days_since_touch', 'number', 'journeys', 'days', 'since the last touch'),
        ('days_since_inbound', 'number', 'journeys', 'days', 'since the last inbound touch'),
        ('days_since_conversion', 'number', 'journeys', 'days', 'since the last conversion')
    ) AS f (feature, type, source, unit, description)
$$;
COMMENT ON FUNCTION stormops.model_features() IS 'The catalogue of features that models are registered with, in the order of storm_features(): name, type (number or text), source (property, storm, journeys), unit, description. The feature treatment, 1 and 0, is not of a property and so not listed: docs/models.md.';

CREATE FUNCTION stormops_internal.feature_rows(
    storm_id uuid, as_of timestamptz, from_id uuid, before_id uuid, journeys boolean,
    OUT property_id uuid, OUT in_storm boolean,
    OUT longitude double precision, OUT latitude double precision, OUT year_built double precision, OUT roof_year double precision,
    OUT building_age double precision, OUT roof_age double precision, OUT building_value double precision, OUT job_margin double precision,
    OUT contact_cost double precision, OUT roof_style text, OUT roof_material text, OUT hail_size_in double precision,
    OUT wind_gust_mph double precision, OUT storm_month double precision, OUT storm_days double precision, OUT peril text,
    OUT touches double precision, OUT inbound_touches double precision, OUT storm_touches double precision,
    OUT channels double precision, OUT conversions double precision, OUT converted_value double precision,
    OUT days_since_touch double precision, OUT days_since_inbound double precision, OUT days_since_conversion double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT p.property_id,
        p.status = 'active' AND (s.west IS NULL OR coalesce(p.latitude BETWEEN s.south AND s.north AND CASE
            WHEN s.west <= s.east THEN p.longitude BETWEEN s.west AND s.east
            ELSE p.longitude >= s.west OR p.longitude <= s.east -- across the date line
        END, false)),
        p.longitude, p.latitude, p.year_built::float8, p.roof_year::float8, s.year - p.year_built, s.year - p.roof_year,
        p.building_value::float8, p.job_margin::float8, p.contact_cost::float8, p.roof_style, p.roof_material,
        s.hail_size_in, s.wind_gust_mph, s.month, s.days, s.peril,
        coalesce(j.touches, 0)::float8, coalesce(j.inbound, 0)::float8, coalesce(j.storms, 0)::float8, coalesce(j.channels, 0)::float8,
        coalesce(j.conversions, 0)::float8, coalesce(j.value, 0)::float8,
        extract(epoch FROM $2 - j.last_touch)::float8 / 86400, extract(epoch FROM $2 - j.last_inbound)::float8 / 86400,
        extract(epoch FROM $2 - j.last_conversion)::float8 / 86400
    FROM (
        SELECT e.west, e.south, e.east, e.north, e.peril, e.hail_size_in::float8 AS hail_size_in, e.wind_gust_mph::float8 AS wind_gust_mph,
            extract(year FROM e.at AT TIME ZONE 'UTC')::float8 AS year, extract(month FROM e.at AT TIME ZONE 'UTC')::float8 AS month,
            extract(epoch FROM $2 - e.at)::float8 / 86400 AS days
        FROM (
            SELECT t.*, coalesce(t.started_at, t.created_at) AS at FROM stormops.storms AS t
            WHERE t.tenant_id = stormops.current_tenant() AND t.storm_id = $1
        ) AS e
    ) AS s
    CROSS JOIN stormops.properties AS p
    -- Without $5 the server knows before it starts that there is none.
    LEFT JOIN (
        SELECT c.property_id, count(*) AS touches, count(*) FILTER (WHERE c.direction = 'inbound') AS inbound,
            count(*) FILTER (WHERE c.storm_id = $1) AS storms, count(DISTINCT c.channel) AS channels,
            count(*) FILTER (WHERE c.touch = 'conversion') AS conversions,
            sum(c.value) FILTER (WHERE c.touch = 'conversion') AS value, max(c.occurred_at) AS last_touch,
            max(c.occurred_at) FILTER (WHERE c.direction = 'inbound') AS last_inbound,
            max(c.occurred_at) FILTER (WHERE c.touch = 'conversion') AS last_conversion
        FROM stormops.customer_journeys AS c
        WHERE $5 AND c.tenant_id = stormops.current_tenant() AND c.occurred_at <= $2
            AND ($3 IS NULL OR c.property_id >= $3) AND ($4 IS NULL OR c.property_id < $4)
        GROUP BY c.property_id
    ) AS j ON j.property_id = p.property_id
    WHERE p.tenant_id = stormops.current_tenant() AND ($3 IS NULL OR p.property_id >= $3) AND ($4 IS NULL OR p.property_id < $4)
$$;
COMMENT ON FUNCTION stormops_internal.feature_rows(uuid, timestamptz, uuid, uuid, boolean) IS 'The features of every property of the tenant, or of those from from_id to before before_id, for a storm; in_storm: active, and within the storm''s bounding box if it has one. journeys: false leaves those of the journeys at 0 and NULL. No row without such a storm.';

CREATE FUNCTION stormops.storm_features(
    storm_id uuid, as_of timestamptz DEFAULT pg_catalog.now(),
    OUT property_id uuid,
    OUT longitude double precision, OUT latitude double precision, OUT year_built double precision, OUT roof_year double precision,
    OUT building_age double precision, OUT roof_age double precision, OUT building_value double precision, OUT job_margin double precision,
    OUT contact_cost double precision, OUT roof_style text, OUT roof_material text, OUT hail_size_in double precision,
    OUT wind_gust_mph double precision, OUT storm_month double precision, OUT storm_days double precision, OUT peril text,
    OUT touches double precision, OUT inbound_touches double precision, OUT storm_touches double precision,
    OUT channels double precision, OUT conversions double precision, OUT converted_value double precision,
    OUT days_since_touch double precision, OUT days_since_inbound double precision, OUT days_since_conversion double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT f.property_id, f.longitude, f.latitude, f.year_built, f.roof_year, f.building_age, f.roof_age, f.building_value,
        f.job_margin, f.contact_cost, f.roof_style, f.roof_material, f.hail_size_in, f.wind_gust_mph, f.storm_month, f.storm_days,
        f.peril, f.touches, f.inbound_touches, f.storm_touches, f.channels, f.conversions, f.converted_value, f.days_since_touch,
        f.days_since_inbound, f.days_since_conversion
    FROM stormops_internal.feature_rows($1, CASE WHEN isfinite($2) THEN $2 ELSE now() END, NULL, NULL, true) AS f
    WHERE f.in_storm
$$;
COMMENT ON FUNCTION stormops.storm_features(uuid, timestamptz) IS 'The features of model_features() as score_storm() hands them to a model: a row for each property that it would score, active and in the storm''s bounding box if there is one. To train models on: as_of leaves out later touches; NULL or infinite: now. No row without such a storm. Error: 0B000 no tenant.';
