-- The rule of a policy as one set, in SQL alone: what policy_decisions() was before it was a pass of the library, and what it has
-- to give to the last bit. It shares stormops.draw() with it, which has tests of its own, and nothing else.
CREATE SCHEMA oracle;
CREATE FUNCTION oracle.policy_candidates(
    storm_id uuid, parameters jsonb,
    OUT property_id uuid, OUT do_not_contact boolean, OUT score double precision, OUT score_sd double precision,
    OUT model_version text, OUT cost double precision, OUT value double precision, OUT wanted boolean
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    -- A sub-select without a table is computed once, not for each row.
    SELECT s.property_id, s.do_not_contact, s.uplift, s.sd, s.model_version, s.cost,
        CASE WHEN s.margin * s.cost IS NULL THEN s.uplift - s.breakeven ELSE s.margin * s.uplift - s.cost END,
        s.uplift >= 0 AND s.uplift + (SELECT ($2 ->> 'z')::float8) * s.sd
            >= CASE WHEN s.margin * s.cost IS NULL THEN s.breakeven ELSE s.cost / s.margin END
    FROM (
        SELECT u.property_id, p.do_not_contact, u.uplift, u.model_version,
            coalesce(u.uplift_sd, (SELECT ($2 ->> 'default_sd')::float8)) AS sd,
            coalesce(p.job_margin::float8, (SELECT ($2 ->> 'margin')::float8)) AS margin,
            coalesce(p.contact_cost::float8, (SELECT ($2 ->> 'contact_cost')::float8)) AS cost,
            (SELECT ($2 ->> 'breakeven_uplift')::float8) AS breakeven
        FROM (
            -- In the order of the key, so that the log's key is written in order too.
            SELECT l.property_id, l.uplift, l.uplift_sd, l.model_version,
                lead(l.property_id) OVER (ORDER BY l.property_id, l.scored_at, l.model_version COLLATE "C") AS next_property
            FROM stormops.lead_uplift AS l
            WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = $1
        ) AS u
        JOIN stormops.properties AS p ON p.tenant_id = stormops.current_tenant() AND p.property_id = u.property_id
        WHERE p.status = 'active' AND u.next_property IS DISTINCT FROM u.property_id -- the latest score
    ) AS s
$$;

CREATE FUNCTION oracle.policy_decisions(
    storm_id uuid, parameters jsonb,
    OUT property_id uuid, OUT decision text, OUT reason text, OUT propensity double precision,
    OUT score double precision, OUT score_sd double precision, OUT value double precision, OUT model_version text
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    -- Without a limit each property is decided by itself, in one pass.
    WITH free AS (
        SELECT c.*, c.wanted AS chosen, (SELECT ($2 ->> 'exploration')::float8) AS flip_rate,
            stormops.draw(stormops.current_tenant(), $1, c.property_id, 'explore') < (SELECT ($2 ->> 'exploration')::float8) AS flip
        FROM oracle.policy_candidates($1, $2) AS c
        WHERE coalesce($2 ->> 'capacity', $2 ->> 'budget') IS NULL
    ),
    -- Under a limit the best by value per cost are chosen until it is reached: the fractional
    -- knapsack (Goldenberg et al. 2020, arXiv 2008.06293). Equal ones stand in the order of a draw.
    ranked AS (
        SELECT c.*, row_number() OVER best AS place, sum(round(coalesce(c.cost, 0) * 100)) OVER best AS spent -- in whole cents, which a double adds up exactly
        FROM oracle.policy_candidates($1, $2) AS c
        WHERE coalesce($2 ->> 'capacity', $2 ->> 'budget') IS NOT NULL
        WINDOW best AS (
            ORDER BY c.wanted AND NOT c.do_not_contact DESC, c.value / nullif(coalesce(c.cost, 1), 0) DESC NULLS FIRST, c.value DESC,
                stormops.draw(stormops.current_tenant(), $1, c.property_id, 'tie')
            ROWS UNBOUNDED PRECEDING
        )
    ),
    cut AS (
        SELECT r.*, r.wanted AND NOT r.do_not_contact
            AND coalesce(r.place <= (SELECT ($2 ->> 'capacity')::bigint), true)
            AND coalesce(r.spent <= (SELECT round(($2 ->> 'budget')::float8 * 100)), true) AS chosen
        FROM ranked AS r
    ),
    -- Exploration then swaps a fixed number of chosen ones against as many others, drawn at
    -- random, so that it never treats more than the limit.
    counted AS (
        SELECT c.*, count(*) OVER side AS members,
            least(round((SELECT ($2 ->> 'exploration')::float8) * count(*) FILTER (WHERE c.chosen) OVER everyone),
                count(*) FILTER (WHERE NOT c.chosen AND NOT c.do_not_contact) OVER everyone)::float8 AS swaps,
            row_number() OVER (
                PARTITION BY c.chosen, c.do_not_contact
                ORDER BY stormops.draw(stormops.current_tenant(), $1, c.property_id, 'explore'), c.property_id
            ) AS turn
        FROM cut AS c
        WINDOW everyone AS (), side AS (PARTITION BY c.chosen, c.do_not_contact)
    ),
    explored AS (
        SELECT f.property_id, f.do_not_contact, f.score, f.score_sd, f.model_version, f.value, f.wanted, f.chosen, f.flip_rate, f.flip
        FROM free AS f
        UNION ALL
        SELECT c.property_id, c.do_not_contact, c.score, c.score_sd, c.model_version, c.value, c.wanted, c.chosen,
            c.swaps / c.members, c.turn <= c.swaps
        FROM counted AS c
    ),
    drawn AS (
        SELECT e.*, stormops.draw(stormops.current_tenant(), $1, e.property_id, 'holdout') < (SELECT ($2 ->> 'holdout')::float8) AS held_out
        FROM explored AS e
        OFFSET 0 -- a fence: without it each use below would draw again
    ),
    decided AS (
        SELECT d.*, d.chosen <> d.flip AND NOT d.held_out AS treated,
            (SELECT 1 - ($2 ->> 'holdout')::float8) * CASE WHEN d.chosen THEN 1 - d.flip_rate ELSE d.flip_rate END AS treat_rate
        FROM drawn AS d
    )
    SELECT d.property_id,
        CASE WHEN d.do_not_contact THEN 'exclude' WHEN d.treated THEN 'treat' ELSE 'hold' END,
        CASE
            WHEN d.do_not_contact THEN 'do_not_contact'
            WHEN d.held_out THEN 'holdout'
            WHEN d.chosen THEN CASE WHEN d.flip THEN 'explore_hold' ELSE 'above_threshold' END
            WHEN d.flip THEN 'explore_treat'
            WHEN d.wanted THEN 'over_capacity'
            ELSE 'below_threshold'
        END,
        CASE WHEN d.do_not_contact THEN 1 WHEN d.treated THEN d.treat_rate ELSE 1 - d.treat_rate END,
        d.score, d.score_sd, d.value, d.model_version
    FROM decided AS d
$$;
GRANT USAGE ON SCHEMA oracle TO PUBLIC;
