-- Whom guardrails exclude, as one set: guarded_properties(storm, parameters). What each kind means: docs/guardrails.md.

CREATE FUNCTION stormops_internal.area_of(area text, longitude double precision, latitude double precision) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$ SELECT coalesce($1, stormops_internal.neighbourhood($2, $3), 'unknown') $$;
COMMENT ON FUNCTION stormops_internal.area_of(text, double precision, double precision) IS 'The area of a property: the tenant''s name of it, else its neighbourhood(), else unknown.';

CREATE FUNCTION stormops_internal.guardrail_rows(
    parameters jsonb,
    OUT name text, OUT kind text, OUT place integer, OUT channel text, OUT opt_in boolean, OUT most bigint, OUT since timestamptz,
    OUT amount double precision, OUT contact_cost double precision, OUT area text, OUT metres double precision, OUT is_quiet boolean
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT r.name, r.kind, array_position('{consent,experiment_control,quiet_window,frequency_cap,spacing,area_capacity,budget}'::text[], r.kind),
        r.channel, coalesce(r.opt_in, false), r.most, now() - make_interval(days => r.days), round(r.amount * 100)::float8,
        round(r.contact_cost * 100)::float8, r.area, r.metres,
        l.local::date >= coalesce(r.from_date, '-infinity') AND l.local::date <= coalesce(r.until_date, 'infinity')
            AND coalesce(extract(isodow FROM l.local)::integer = ANY (r.weekdays), true)
            AND coalesce(CASE WHEN r.from_time < r.until_time THEN l.local::time >= r.from_time AND l.local::time < r.until_time
                ELSE l.local::time >= r.from_time OR l.local::time < r.until_time END, true)
    FROM jsonb_to_recordset(coalesce($1 -> 'guardrails', '[]')) AS r (
        name text, kind text, channel text, opt_in boolean, most bigint, days integer, amount numeric, contact_cost numeric, area text,
        metres double precision, time_zone text, from_date date, until_date date, weekdays integer[], from_time time, until_time time)
    CROSS JOIN LATERAL (SELECT now() AT TIME ZONE r.time_zone AS local) AS l
$$;
COMMENT ON FUNCTION stormops_internal.guardrail_rows(jsonb) IS 'The guardrails that a run''s parameters hold, as they stand now. place: the order in which they are asked; since: from when on it counts; amount, contact_cost: in cents; is_quiet: now is in its window.';

CREATE FUNCTION stormops_internal.guard_storm(
    storm_id uuid, parameters jsonb, few boolean, OUT property_id uuid, OUT reason text, OUT guardrail text, OUT measured double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    WITH rules AS MATERIALIZED (
        SELECT g.* FROM stormops_internal.guardrail_rows($2) AS g
    ), scored AS MATERIALIZED (
        SELECT DISTINCT l.property_id FROM stormops.lead_uplift AS l WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = $1
    ),
    -- What people said last, by channel. Nobody agrees ahead of time: a consent dated later would outlive every refusal until then.
    consents AS (
        SELECT DISTINCT ON (c.property_id, c.channel) c.property_id, c.channel, c.consented
        FROM stormops.contact_consents AS c JOIN scored AS s ON s.property_id = c.property_id
        WHERE c.tenant_id = stormops.current_tenant() AND (c.recorded_at <= now() OR NOT c.consented)
            AND EXISTS (SELECT FROM rules AS r WHERE r.kind = 'consent')
        ORDER BY c.property_id, c.channel, c.recorded_at DESC, c.consent_id DESC
    ), said AS MATERIALIZED (
        SELECT c.property_id, r.name, bool_or(c.consented) AS consented
        FROM consents AS c JOIN rules AS r ON r.kind = 'consent' AND coalesce(r.channel = c.channel, true)
        GROUP BY c.property_id, r.name
    ),
    -- What was treated: what stands decided for other storms, and what of any run was touched, while that run stood.
    decided AS MATERIALIZED (
        SELECT d.* FROM stormops_internal.treated_since($1, (
            SELECT min(g.since) FROM rules AS g WHERE g.kind IN ('frequency_cap', 'spacing', 'area_capacity', 'budget'))) AS d
    ), treated AS MATERIALIZED (
        SELECT d.storm_id, d.property_id, max(d.decided_at) AS decided_at, bool_or(d.touched) AS touched, max(coalesce(i.cost, d.mode_cost)) AS cost
        FROM decided AS d
        LEFT JOIN (
            SELECT i.run_id, u.property_id, round(u.cost * 100)::float8 AS cost
            FROM stormops.policy_run_inputs AS i CROSS JOIN LATERAL unnest(i.property_ids, i.costs) AS u (property_id, cost)
            WHERE i.tenant_id = stormops.current_tenant() AND u.cost IS NOT NULL AND array_remove(i.costs, NULL) <> '{}'
                AND i.run_id IN (SELECT d.run_id FROM decided AS d WHERE d.decided_at > (SELECT min(g.since) FROM rules AS g WHERE g.kind = 'budget'))
        ) AS i ON i.run_id = d.run_id AND i.property_id = d.property_id
        GROUP BY d.storm_id, d.property_id
    ), caps AS MATERIALIZED (
        SELECT row_number() OVER (ORDER BY r.name) AS cap, r.name, r.place, coalesce('=' || r.channel, '') AS channel,
            coalesce(r.since, 'infinity') AS since, coalesce(r.most, 9223372036854775807) AS most
        FROM rules AS r WHERE r.kind = 'frequency_cap'
    ), contacts AS (
        SELECT j.property_id, j.channel, j.occurred_at
        FROM stormops.customer_journeys AS j
        WHERE NOT $3 AND j.tenant_id = stormops.current_tenant() AND j.direction = 'outbound' AND j.touch <> 'conversion'
            AND j.occurred_at > (SELECT min(c.since) FROM caps AS c)
        UNION ALL
        SELECT j.property_id, j.channel, j.occurred_at
        FROM scored AS s JOIN stormops.customer_journeys AS j ON j.property_id = s.property_id
        WHERE $3 AND j.tenant_id = stormops.current_tenant() AND j.direction = 'outbound' AND j.touch <> 'conversion'
            AND j.occurred_at > (SELECT min(c.since) FROM caps AS c)
        UNION ALL
        -- One that is to come may come by any channel.
        SELECT t.property_id, NULL, t.decided_at FROM treated AS t WHERE NOT t.touched
    ), capped AS (
        SELECT p.property_id, c.name, c.place, p.contacts
        FROM stormops_internal.capped_properties((
            SELECT stormops_internal.capped_agg(j.property_id, j.channel, j.occurred_at,
                (SELECT array_agg(s.property_id) FROM scored AS s), (SELECT array_agg(c.channel ORDER BY c.cap) FROM caps AS c),
                (SELECT array_agg(c.since ORDER BY c.cap) FROM caps AS c), (SELECT array_agg(c.most ORDER BY c.cap) FROM caps AS c))
            FROM contacts AS j WHERE EXISTS (SELECT FROM caps))) AS p
        JOIN caps AS c ON c.cap = p.cap
    ),
    early AS (
        SELECT c.property_id, r.name, r.place, NULL::float8 AS measured
        FROM said AS c JOIN rules AS r ON r.name = c.name WHERE NOT c.consented
        UNION ALL
        SELECT s.property_id, r.name, r.place, NULL
        FROM rules AS r CROSS JOIN scored AS s LEFT JOIN said AS c ON c.property_id = s.property_id AND c.name = r.name
        WHERE r.kind = 'consent' AND r.opt_in AND c.property_id IS NULL
        UNION ALL
        -- While an experiment runs, and as long as the control's outcomes count for it.
        SELECT a.property_id, r.name, r.place, NULL
        FROM rules AS r CROSS JOIN stormops.experiments AS e
        JOIN stormops.experiment_assignments AS a ON a.tenant_id = stormops.current_tenant() AND a.experiment_id = e.experiment_id AND a.arm = e.control
        WHERE r.kind = 'experiment_control' AND e.tenant_id = stormops.current_tenant() AND e.untouched_control
            AND (e.status = 'running' OR a.assigned_at + make_interval(days => e.outcome_days) > now())
            AND a.property_id IN (SELECT s.property_id FROM scored AS s)
        UNION ALL
        SELECT s.property_id, r.name, r.place, NULL FROM rules AS r CROSS JOIN scored AS s WHERE r.kind = 'quiet_window' AND r.is_quiet
        UNION ALL
        SELECT c.property_id, c.name, c.place, c.contacts FROM capped AS c
        UNION ALL
        -- most = 0: nobody, whether there were contacts or none.
        SELECT s.property_id, r.name, r.place, 0 FROM rules AS r CROSS JOIN scored AS s WHERE r.kind = 'frequency_cap' AND r.most = 0
    ), first AS MATERIALIZED (
        SELECT DISTINCT ON (f.property_id) f.property_id, f.name, f.measured FROM early AS f ORDER BY f.property_id, f.place, f.name, f.measured DESC
    ),
    -- Points in space, on a sphere of the earth's mean radius: a metre along it is a little less straight through it.
    reach AS MATERIALIZED (
        SELECT row_number() OVER (ORDER BY r.name) AS reach, r.name, coalesce(r.since, 'infinity') AS since,
            2 * 6371008.8 * sin(r.metres / (2 * 6371008.8)) AS chord
        FROM rules AS r WHERE r.kind = 'spacing' AND r.metres > 0
    ), elsewhere AS MATERIALIZED (
        SELECT t.property_id, max(t.decided_at) AS decided_at
        FROM treated AS t WHERE t.storm_id <> $1 AND t.decided_at > (SELECT min(r.since) FROM reach AS r)
        GROUP BY t.property_id
    ),
    -- Who is not excluded by then.
    asked AS MATERIALIZED (
        SELECT s.property_id FROM scored AS s LEFT JOIN first AS f ON f.property_id = s.property_id
        WHERE f.property_id IS NULL AND EXISTS (SELECT FROM elsewhere)
    ), homes AS (
        SELECT p.property_id, p.longitude, p.latitude
        FROM stormops.properties AS p
        WHERE NOT $3 AND p.tenant_id = stormops.current_tenant() AND p.latitude IS NOT NULL
        UNION ALL
        SELECT p.property_id, p.longitude, p.latitude
        FROM (SELECT a.property_id FROM asked AS a UNION SELECT e.property_id FROM elsewhere AS e) AS s
        JOIN stormops.properties AS p ON p.property_id = s.property_id
        WHERE $3 AND p.tenant_id = stormops.current_tenant() AND p.latitude IS NOT NULL
    ), near AS (
        SELECT p.property_id, r.name
        FROM stormops_internal.capped_properties((
            SELECT stormops_internal.near_agg(h.property_id, q.x, q.y, q.z, (SELECT array_agg(a.property_id) FROM asked AS a),
                (SELECT array_agg(e.property_id ORDER BY e.property_id) FROM elsewhere AS e),
                (SELECT array_agg(e.decided_at ORDER BY e.property_id) FROM elsewhere AS e),
                (SELECT array_agg(r.since ORDER BY r.reach) FROM reach AS r), (SELECT array_agg(r.chord ORDER BY r.reach) FROM reach AS r))
            FROM homes AS h CROSS JOIN LATERAL stormops_internal.point_of(h.longitude, h.latitude) AS q
            WHERE EXISTS (SELECT FROM elsewhere))) AS p
        JOIN reach AS r ON r.reach = p.cap
    ), single AS MATERIALIZED (
        SELECT f.* FROM first AS f
        UNION ALL
        SELECT n.property_id, n.name, NULL FROM near AS n
    ),
    -- What is short goes to the best by value per cost, wanted ones first; the others leave the policy, so that exploration cannot
    -- take more than there is.
    open AS MATERIALIZED (
        SELECT s.property_id FROM scored AS s LEFT JOIN single AS f ON f.property_id = s.property_id
        WHERE f.property_id IS NULL AND EXISTS (SELECT FROM rules AS r WHERE r.kind IN ('area_capacity', 'budget'))
    ), places AS MATERIALIZED (
        SELECT stormops_internal.area_of(p.area, p.longitude, p.latitude) AS area,
            round(coalesce(p.contact_cost::float8, (SELECT ($2 ->> 'contact_cost')::float8)) * 100) AS cost
        FROM open AS o JOIN stormops.properties AS p ON p.tenant_id = stormops.current_tenant() AND p.property_id = o.property_id
        WHERE p.status = 'active' AND NOT p.do_not_contact
    ), treated_places AS MATERIALIZED (
        SELECT t.property_id, t.decided_at, stormops_internal.area_of(p.area, p.longitude, p.latitude) AS area
        FROM treated AS t JOIN stormops.properties AS p ON p.tenant_id = stormops.current_tenant() AND p.property_id = t.property_id
        WHERE t.decided_at > (SELECT min(r.since) FROM rules AS r WHERE r.kind = 'area_capacity')
    ), taken AS MATERIALIZED (
        SELECT r.name, t.area, count(DISTINCT t.property_id) AS n
        FROM rules AS r JOIN treated_places AS t ON t.decided_at > r.since
        WHERE r.kind = 'area_capacity'
        GROUP BY 1, 2
    ), spent AS MATERIALIZED (
        SELECT r.name, sum(coalesce(t.cost, r.contact_cost)) AS spent
        FROM rules AS r JOIN treated AS t ON t.decided_at > r.since
        WHERE r.kind = 'budget' GROUP BY r.name
    ),
    -- Nobody is put in order, and no score is read, where there is enough for all.
    full_areas AS MATERIALIZED (
        SELECT c.area
        FROM rules AS r JOIN (SELECT c.area, count(*) AS n FROM places AS c GROUP BY c.area) AS c ON coalesce(r.area = c.area, true)
        LEFT JOIN taken AS t ON t.name = r.name AND t.area = c.area
        WHERE r.kind = 'area_capacity' AND c.n + coalesce(t.n, 0) > r.most
    ), short AS MATERIALIZED (
        SELECT FROM rules AS r LEFT JOIN spent AS t ON t.name = r.name
        WHERE r.kind = 'budget' AND r.amount < coalesce(t.spent, 0) + (SELECT sum(coalesce(c.cost, r.contact_cost)) FROM places AS c)
    ), candidates AS (
        SELECT c.property_id, c.area, round(c.cost * 100) AS cost, c.wanted, c.value, c.cost AS exact_cost
        FROM stormops_internal.policy_candidates($1, $2) AS c JOIN open AS o ON o.property_id = c.property_id
        WHERE NOT c.do_not_contact AND (EXISTS (SELECT FROM full_areas) OR EXISTS (SELECT FROM short))
    ), ranked AS MATERIALIZED (
        SELECT c.property_id, c.area, c.cost, row_number() OVER (
            ORDER BY c.wanted DESC, c.value / nullif(coalesce(c.exact_cost, 1), 0) DESC NULLS FIRST, c.value DESC,
                stormops.draw(stormops.current_tenant(), $1, c.property_id, 'tie')) AS place
        FROM candidates AS c
        WHERE c.area IN (SELECT a.area FROM full_areas AS a) OR EXISTS (SELECT FROM short)
    ), crowded AS MATERIALIZED (
        SELECT DISTINCT ON (w.property_id) w.property_id, w.name, w.measured
        FROM (
            SELECT c.property_id, r.name, r.most,
                (coalesce(t.n, 0) + row_number() OVER (PARTITION BY r.name, c.area ORDER BY c.place))::float8 AS measured
            FROM rules AS r JOIN ranked AS c ON coalesce(r.area = c.area, true) LEFT JOIN taken AS t ON t.name = r.name AND t.area = c.area
            WHERE r.kind = 'area_capacity'
        ) AS w
        WHERE w.measured > w.most
        ORDER BY w.property_id, w.name
    ), costly AS (
        SELECT DISTINCT ON (w.property_id) w.property_id, w.name, w.measured
        FROM (
            SELECT c.property_id, r.name, r.amount, coalesce(t.spent, 0)
                + sum(coalesce(c.cost, r.contact_cost)) OVER (PARTITION BY r.name ORDER BY c.place ROWS UNBOUNDED PRECEDING) AS measured
            FROM rules AS r CROSS JOIN ranked AS c LEFT JOIN crowded AS x ON x.property_id = c.property_id
            LEFT JOIN spent AS t ON t.name = r.name
            WHERE r.kind = 'budget' AND x.property_id IS NULL
        ) AS w
        WHERE w.measured > w.amount
        ORDER BY w.property_id, w.name
    )
    SELECT f.property_id, r.kind, f.name, f.measured FROM single AS f JOIN rules AS r ON r.name = f.name
    UNION ALL
    SELECT c.property_id, 'area_capacity', c.name, c.measured FROM crowded AS c
    UNION ALL
    SELECT c.property_id, 'budget', c.name, c.measured / 100 FROM costly AS c
$$;
COMMENT ON FUNCTION stormops_internal.guard_storm(uuid, jsonb, boolean) IS 'guarded_properties(), by what is there now. few: touches are looked up for each scored property, not read as they lie.';

CREATE FUNCTION stormops_internal.point_of(
    longitude double precision, latitude double precision, OUT x double precision, OUT y double precision, OUT z double precision
) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 1 -- inlined, so its caller's search_path holds
    AS $$ SELECT 6371008.8 * cosd($2) * cosd($1), 6371008.8 * cosd($2) * sind($1), 6371008.8 * sind($2) $$;
COMMENT ON FUNCTION stormops_internal.point_of(double precision, double precision) IS 'One row, a point of the earth, a sphere of 6,371,008.8 metres, in space: metres from its centre.';

CREATE FUNCTION stormops_internal.guard_many(
    storm_id uuid, parameters jsonb, OUT property_id uuid, OUT reason text, OUT guardrail text, OUT measured double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    SET work_mem = '64MB' -- what is hashed and sorted here is held but once
    SET enable_hashjoin = on
    SET enable_sort = on
    SET enable_incremental_sort = on
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    SET enable_mergejoin = off -- what is hashed needs not be sorted, neither to be joined nor to be counted
    SET jit = off -- without loops its cost is beyond all measure
    AS $$ SELECT g.* FROM stormops_internal.guard_storm($1, $2, false) AS g $$;
COMMENT ON FUNCTION stormops_internal.guard_many(uuid, jsonb) IS 'guard_storm() of a storm with many scores.';

CREATE FUNCTION stormops_internal.guard_few(
    storm_id uuid, parameters jsonb, OUT property_id uuid, OUT reason text, OUT guardrail text, OUT measured double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    SET work_mem = '64MB' -- what is hashed and sorted here is held but once
    SET enable_hashjoin = on
    SET enable_sort = on
    SET enable_incremental_sort = on
    SET jit = off -- compiling the one large statement costs more than it saves
    AS $$ SELECT g.* FROM stormops_internal.guard_storm($1, $2, true) AS g $$;
COMMENT ON FUNCTION stormops_internal.guard_few(uuid, jsonb) IS 'guard_storm() of a storm with few scores, whose properties are found one by one.';

CREATE FUNCTION stormops_internal.guarded_properties(
    storm_id uuid, parameters jsonb, OUT property_id uuid, OUT reason text, OUT guardrail text, OUT measured double precision
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED COST 10000 ROWS 10000 -- once, not in each worker
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    IF parameters ? 'run_id' THEN
        RETURN QUERY SELECT i.property_id, i.reason, i.guardrail, i.measured
            FROM stormops_internal.run_inputs((parameters ->> 'run_id')::uuid) AS i WHERE i.reason IS NOT NULL;
    ELSIF jsonb_array_length(coalesce(parameters -> 'guardrails', '[]')) > 0 THEN
        IF (SELECT count(*) <= 5000 FROM (
            SELECT FROM stormops.lead_uplift AS l WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = $1 LIMIT 5001) AS l)
        THEN
            RETURN QUERY SELECT g.* FROM stormops_internal.guard_few($1, $2) AS g;
        ELSE
            RETURN QUERY SELECT g.* FROM stormops_internal.guard_many($1, $2) AS g;
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.guarded_properties(uuid, jsonb) IS 'The scored properties of a storm that the guardrails in a run''s parameters exclude, each once: reason (the kind), guardrail (its name) and what it measured. With run_id in the parameters those that run excluded, as it kept them. do_not_contact goes before all of these, and is the property''s own. Writes nothing.';
