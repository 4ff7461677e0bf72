-- Where a storm hit, and which properties stand there. What a polygon is, and what stands in it, is Rust.

CREATE FUNCTION stormops_internal.footprint_bands(footprint jsonb) RETURNS TABLE (
    band smallint, min_size_mm double precision, geometry text, positions integer,
    west double precision, south double precision, east double precision, north double precision
)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 5 AS 'MODULE_PATHNAME', 'footprint_bands_wrapper';
COMMENT ON FUNCTION stormops_internal.footprint_bands(jsonb) IS 'A GeoJSON document as bands of size, checked; geometry is GeoJSON. Errors: 22023 no polygons, a ring that is open, has no area, crosses or touches itself, a hole outside, across the antimeridian, a position or size out of range; 54000 more than 20 bands, 5000 rings, 100000 positions, 8 MB.';

CREATE FUNCTION stormops_internal.footprint_take(
    state internal, bands jsonb, property_id uuid, longitude double precision, latitude double precision
) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_footprint_take';
COMMENT ON FUNCTION stormops_internal.footprint_take(internal, jsonb, uuid, double precision, double precision) IS 'Of footprint_agg(): takes in a place.';
CREATE FUNCTION stormops_internal.footprint_finish(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_footprint_finish';
COMMENT ON FUNCTION stormops_internal.footprint_finish(internal) IS 'Of footprint_agg(): what was hit.';

CREATE AGGREGATE stormops_internal.footprint_agg(bands jsonb, property_id uuid, longitude double precision, latitude double precision) (
    SFUNC = stormops_internal.footprint_take, STYPE = internal, FINALFUNC = stormops_internal.footprint_finish, PARALLEL = safe
);
COMMENT ON AGGREGATE stormops_internal.footprint_agg(jsonb, uuid, double precision, double precision) IS 'The places that stand in a footprint, for footprint_hits(). bands: an array of {band, geometry}, the same for all rows. A row with a NULL stands nowhere. Errors: 22023 not such bands; 53200; 54000 more than 50 million.';

CREATE FUNCTION stormops_internal.footprint_hits(hits bytea) RETURNS TABLE (property_id uuid, band smallint)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 100000 AS 'MODULE_PATHNAME', 'footprint_hits_wrapper';
COMMENT ON FUNCTION stormops_internal.footprint_hits(bytea) IS 'What footprint_agg() found, row by row. Error: 22P03 not such bytes.';

CREATE FUNCTION stormops.set_footprint(
    storm_id uuid, footprint jsonb,
    OUT bands integer, OUT positions bigint, OUT west double precision, OUT south double precision, OUT east double precision, OUT north double precision
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET extra_float_digits = 1 -- JSON has the numbers as they print
    AS $$
#variable_conflict use_variable
DECLARE
    tenant uuid := stormops.current_tenant();
BEGIN
    IF NOT stormops.may_write('crew_chief') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only a crew_chief or an admin may set a footprint',
            HINT = 'SELECT * FROM stormops.role_matrix(); shows who may do what.';
    END IF;
    -- Two at once stand in line here. An update, or a REPEATABLE READ transaction would go on with what it saw before.
    UPDATE stormops.storms AS s SET status = s.status WHERE s.tenant_id = tenant AND s.storm_id = set_footprint.storm_id;
    PERFORM stormops_internal.require_storm(storm_id);
    DELETE FROM stormops.storm_footprints AS f WHERE f.tenant_id = tenant AND f.storm_id = set_footprint.storm_id;
    WITH written AS (
        INSERT INTO stormops.storm_footprints AS f (tenant_id, storm_id, band, min_size_mm, geometry, positions, west, south, east, north, set_at, set_by, acting_user)
        SELECT tenant, storm_id, b.band, b.min_size_mm, b.geometry::jsonb, b.positions, b.west, b.south, b.east, b.north,
            now(), stormops_internal.calling_role(), stormops.current_user_id()
        FROM stormops_internal.footprint_bands(footprint) AS b
        RETURNING f.positions, f.west, f.south, f.east, f.north
    )
    SELECT count(*), coalesce(sum(w.positions), 0), min(w.west), min(w.south), max(w.east), max(w.north)
    INTO bands, positions, west, south, east, north FROM written AS w;
END
$$;
COMMENT ON FUNCTION stormops.set_footprint(uuid, jsonb) IS 'Says where a storm hit, instead of what was said before; NULL: nothing is known. footprint: GeoJSON, a FeatureCollection of (Multi)Polygons with the property min_size_mm (0 to 300; default 0), or one alone. Returns bands, positions and bounds. Errors: 22004; 22023 no good polygon; 42501; 54000 too large; 55000 suspended; P0002.';

CREATE FUNCTION stormops.affected_properties(storm_id uuid, OUT property_id uuid, OUT band smallint, OUT min_size_mm numeric) RETURNS SETOF record
    LANGUAGE plpgsql STABLE ROWS 100000
    SET search_path = pg_catalog, pg_temp
    SET extra_float_digits = 1
    SET jit = off -- compiling costs more than it saves
    AS $$
#variable_conflict use_variable
DECLARE
    footprint record;
BEGIN
    PERFORM stormops_internal.require_storm(storm_id);
    SELECT jsonb_agg(jsonb_build_object('band', f.band, 'geometry', f.geometry)) AS bands,
        min(f.west) AS west, min(f.south) AS south, max(f.east) AS east, max(f.north) AS north
    INTO footprint
    FROM stormops.storm_footprints AS f WHERE f.tenant_id = stormops.current_tenant() AND f.storm_id = affected_properties.storm_id;
    IF footprint.bands IS NULL THEN
        RETURN; -- nobody knows where it hit
    END IF;
    RETURN QUERY
        SELECT h.property_id, h.band, f.min_size_mm
        FROM (
            SELECT stormops_internal.footprint_agg(footprint.bands, p.property_id, p.longitude, p.latitude) AS hits
            FROM stormops.properties AS p
            WHERE p.tenant_id = stormops.current_tenant() AND p.status = 'active'
                AND p.longitude BETWEEN footprint.west AND footprint.east AND p.latitude BETWEEN footprint.south AND footprint.north
        ) AS a
        CROSS JOIN LATERAL stormops_internal.footprint_hits(a.hits) AS h
        JOIN stormops.storm_footprints AS f ON f.tenant_id = stormops.current_tenant() AND f.storm_id = affected_properties.storm_id AND f.band = h.band;
END
$$;
COMMENT ON FUNCTION stormops.affected_properties(uuid) IS 'The active properties that stand in a storm''s footprint, each once, with the band of the largest size that they stand in and its min_size_mm. No row where no footprint is set. A filter for scoring, and a feature for models (hail_band). Errors: 0B000; 22004; P0002 no such storm.';
