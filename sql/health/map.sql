-- Where a storm's properties stand, and what was decided about them: the page's map.

CREATE FUNCTION stormops_internal.storm_map(storm_id uuid) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET extra_float_digits = 1 -- JSON has the numbers as they print
    SET jit = off -- compiling large statements costs more than it saves
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    AS $$
#variable_conflict use_variable
DECLARE
    run record;
    box record;
    view record;
    bands jsonb;
    places jsonb;
    columns constant integer := 48;
    rows constant integer := 32;
    most_points constant integer := 3000;
BEGIN
    SELECT r.run_id, r.treat + r.hold + r.excluded AS n INTO run FROM stormops.policy_runs AS r
    WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = storm_map.storm_id AND r.superseded_at IS NULL;
    -- Across the date line the west stands beyond the east: what lies behind it is counted on.
    SELECT s.west, s.south, s.east + CASE WHEN s.west > s.east THEN 360 ELSE 0 END AS east, s.north,
        coalesce(s.west > s.east, false) AS wraps
    INTO box FROM stormops.storms AS s WHERE s.tenant_id = stormops.current_tenant() AND s.storm_id = storm_map.storm_id;
    SELECT coalesce(jsonb_agg(jsonb_build_object('size', f.min_size_mm, 'geometry', f.geometry) ORDER BY f.band), '[]') INTO bands
    FROM stormops.storm_footprints AS f
    WHERE f.tenant_id = stormops.current_tenant() AND f.storm_id = storm_map.storm_id AND f.positions <= 20000; -- more than a page can show
    SELECT least(box.west, min(f.west)) AS west, least(box.south, min(f.south)) AS south,
        greatest(box.east, max(f.east)) AS east, greatest(box.north, max(f.north)) AS north
    INTO view FROM stormops.storm_footprints AS f
    WHERE f.tenant_id = stormops.current_tenant() AND f.storm_id = storm_map.storm_id;
    IF view.west IS NULL AND run.run_id IS NOT NULL THEN
        SELECT min(p.longitude) AS west, min(p.latitude) AS south, max(p.longitude) AS east, max(p.latitude) AS north INTO view
        FROM stormops.policy_decisions_log AS d
        JOIN stormops.properties AS p ON p.tenant_id = stormops.current_tenant() AND p.property_id = d.property_id
        WHERE d.tenant_id = stormops.current_tenant() AND d.run_id = run.run_id;
    END IF;
    IF view.west IS NULL THEN
        RETURN NULL;
    END IF;
    WITH placed AS (
        SELECT d.decision, p.longitude + CASE WHEN box.wraps AND p.longitude < 0 THEN 360 ELSE 0 END AS x, p.latitude AS y
        FROM stormops.policy_decisions_log AS d
        JOIN stormops.properties AS p ON p.tenant_id = stormops.current_tenant() AND p.property_id = d.property_id
        WHERE d.tenant_id = stormops.current_tenant() AND d.run_id = run.run_id AND p.longitude IS NOT NULL
    ), cells AS (
        SELECT c.x, c.y, c.inside, count(*) FILTER (WHERE c.decision = 'treat') AS treated, count(*) FILTER (WHERE c.decision = 'hold') AS held,
            count(*) FILTER (WHERE c.decision = 'exclude') AS excluded
        FROM (
            SELECT p.decision, i.inside,
                CASE WHEN i.inside THEN CASE WHEN run.n <= most_points THEN p.x ELSE least(floor((p.x - view.west) / nullif(view.east - view.west, 0) * columns), columns - 1) END END AS x,
                CASE WHEN i.inside THEN CASE WHEN run.n <= most_points THEN p.y ELSE least(floor((p.y - view.south) / nullif(view.north - view.south, 0) * rows), rows - 1) END END AS y
            FROM placed AS p
            CROSS JOIN LATERAL (SELECT p.x BETWEEN view.west AND view.east AND p.y BETWEEN view.south AND view.north AS inside) AS i
        ) AS c
        GROUP BY c.x, c.y, c.inside
    )
    SELECT jsonb_build_object('places', coalesce(jsonb_agg(jsonb_build_array(coalesce(c.x, 0), coalesce(c.y, 0), c.treated, c.held, c.excluded)) FILTER (WHERE c.inside), '[]'),
        'outside', coalesce(sum(c.treated + c.held + c.excluded) FILTER (WHERE NOT c.inside), 0),
        'placed', coalesce(sum(c.treated + c.held + c.excluded), 0))
    INTO places FROM cells AS c;
    RETURN places || jsonb_build_object('view', jsonb_build_array(view.west, view.south, view.east, view.north),
        'storm', CASE WHEN box.west IS NOT NULL THEN jsonb_build_array(box.west, box.south, box.east, box.north) END,
        'bands', bands, 'decided', coalesce(run.n, 0),
        'grid', CASE WHEN run.n > most_points THEN jsonb_build_array(columns, rows) END);
END
$$;
COMMENT ON FUNCTION stormops_internal.storm_map(uuid) IS 'What the map of a storm''s page is drawn from, as a JSON object; NULL where nothing has a place. places: x, y, treated, held, excluded, by property, or by cell of a grid above some thousands.';
