-- The rule as a set, for guardrails that give what is short to the best: what the library's pass decides by, less the chance.

CREATE FUNCTION stormops_internal.policy_candidates(
    storm_id uuid, parameters jsonb,
    OUT property_id uuid, OUT do_not_contact boolean, OUT score double precision, OUT score_sd double precision,
    OUT model_version text, OUT cost double precision, OUT value double precision, OUT wanted boolean,
    OUT area text
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    -- A sub-select without a table is computed once, not for each row.
    SELECT s.property_id, s.do_not_contact, s.uplift, s.sd, s.model_version, s.cost,
        CASE WHEN s.margin * s.cost IS NULL THEN s.uplift - s.breakeven ELSE s.margin * s.uplift - s.cost END,
        s.uplift >= 0 AND s.uplift + (SELECT ($2 ->> 'z')::float8) * s.sd
            >= CASE WHEN s.margin * s.cost IS NULL THEN s.breakeven ELSE s.cost / s.margin END,
        s.area
    FROM (
        SELECT u.property_id, p.do_not_contact, u.uplift, u.model_version, stormops_internal.area_of(p.area, p.longitude, p.latitude) AS area,
            coalesce(u.uplift_sd, (SELECT ($2 ->> 'default_sd')::float8)) AS sd,
            coalesce(p.job_margin::float8, (SELECT ($2 ->> 'margin')::float8)) AS margin,
            coalesce(p.contact_cost::float8, (SELECT ($2 ->> 'contact_cost')::float8)) AS cost,
            (SELECT ($2 ->> 'breakeven_uplift')::float8) AS breakeven
        FROM (
            SELECT l.property_id, l.uplift, l.uplift_sd, l.model_version,
                lead(l.property_id) OVER (ORDER BY l.property_id, l.scored_at, l.model_version COLLATE "C") AS next_property
            FROM stormops.lead_uplift AS l
            WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = $1
        ) AS u
        JOIN stormops.properties AS p ON p.tenant_id = stormops.current_tenant() AND p.property_id = u.property_id
        WHERE p.status = 'active' AND u.next_property IS DISTINCT FROM u.property_id -- the latest score
    ) AS s
$$;
COMMENT ON FUNCTION stormops_internal.policy_candidates(uuid, jsonb) IS 'The storm''s active properties with their latest score, whatever guardrails say: value of treating each, wanted: P(value > 0) >= confidence and a score not below zero, and its area_of(). Writes nothing.';
