-- Whom to treat after a storm. The decision is one set: policy_decisions(storm, parameters).

CREATE FUNCTION stormops_internal.attitude(confidence double precision) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'attitude_sql_wrapper';
COMMENT ON FUNCTION stormops_internal.attitude(double precision) IS 'z, the (1 - confidence) quantile of the standard normal distribution: with uplift ~ N(score, sd), P(uplift > b) >= confidence where score + z * sd >= b. NULL outside (0, 1).';

CREATE FUNCTION stormops.draw(tenant_id uuid, storm_id uuid, property_id uuid, purpose text) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'draw_sql_wrapper';
COMMENT ON FUNCTION stormops.draw(uuid, uuid, uuid, text) IS 'A number in [0, 1) from tenant, storm, property and purpose (SipHash-2-4, 53 bits): uniform, independent between purposes, the same in every run, on every machine, in every version.';

CREATE FUNCTION stormops.default_policy_modes(
    OUT policy_mode text, OUT confidence double precision, OUT exploration double precision, OUT holdout double precision
) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT m.policy_mode, m.confidence, m.exploration, m.holdout
    FROM (VALUES
        ('conservative', 0.95::float8, 0.02::float8, 0.20::float8),
        ('moderate', 0.50::float8, 0.05::float8, 0.10::float8),
        ('aggressive', 0.20::float8, 0.10::float8, 0.05::float8)
    ) AS m (policy_mode, confidence, exploration, holdout)
$$;
COMMENT ON FUNCTION stormops.default_policy_modes() IS 'The modes that a new tenant gets. confidence, exploration and holdout as in policy_modes.';

CREATE FUNCTION stormops.policy_parameters(policy_mode text) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET extra_float_digits = 1 -- JSON has the numbers as they print: exact, whatever the caller has set
    AS $$
#variable_conflict use_variable
DECLARE
    chosen record;
BEGIN
    SELECT m.* INTO chosen FROM stormops.policy_modes AS m
    WHERE m.tenant_id = stormops.current_tenant() AND m.policy_mode = policy_parameters.policy_mode;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN policy_mode IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = format('unknown policy mode "%s"', left(policy_mode, 50)),
            HINT = format('This tenant''s modes are %s.', (
                SELECT string_agg(m.policy_mode, ', ' ORDER BY m.confidence DESC) FROM stormops.policy_modes AS m
                WHERE m.tenant_id = stormops.current_tenant()));
    END IF;
    -- Exploring with too small a probability would give weights above 50 to whoever values the
    -- log later: where there is exploration, the least propensity of treating is 0.02.
    RETURN jsonb_strip_nulls(to_jsonb(chosen) - 'tenant_id') || stormops_internal.guardrails_in_force() || jsonb_build_object(
        'z', stormops_internal.attitude(chosen.confidence),
        'exploration', CASE WHEN chosen.exploration > 0 THEN greatest(chosen.exploration, 0.02 / (1 - chosen.holdout)) ELSE 0 END
    );
END
$$;
COMMENT ON FUNCTION stormops.policy_parameters(text) IS 'All that decisions of a mode rest on beside the data, as policy_runs.parameters keeps it: the mode''s row, the enabled guardrails, z = attitude(confidence), and the exploration in effect (if any, at least so much that the propensity of treating is 0.02). Errors: 22004, 22023 unknown mode.';

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
            -- In the order of the key, so that the log's key is written in order too.
            SELECT l.property_id, l.uplift, l.uplift_sd, l.model_version,
                lead(l.property_id) OVER (ORDER BY l.property_id, l.scored_at, l.model_version) AS next_property
            FROM stormops.lead_uplift AS l
            WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = $1
        ) AS u
        JOIN stormops.properties AS p ON p.tenant_id = stormops.current_tenant() AND p.property_id = u.property_id
        WHERE p.status = 'active' AND u.next_property IS DISTINCT FROM u.property_id -- the latest score
    ) AS s
$$;
COMMENT ON FUNCTION stormops_internal.policy_candidates(uuid, jsonb) IS 'The storm''s active properties with their latest score, whatever guardrails say: value of treating each, wanted: P(value > 0) >= confidence and a score not below zero, and its area_of(). Writes nothing.';

CREATE FUNCTION stormops.policy_decisions(
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
        FROM stormops_internal.guarded_candidates($1, $2) AS c
        WHERE coalesce($2 ->> 'capacity', $2 ->> 'budget') IS NULL
    ),
    -- Under a limit the best by value per cost are chosen until it is reached: the fractional
    -- knapsack (Goldenberg et al. 2020, arXiv 2008.06293). Equal ones stand in the order of a draw.
    ranked AS (
        SELECT c.*, row_number() OVER best AS place, sum(round(coalesce(c.cost, 0) * 100)) OVER best AS spent -- in whole cents, which a double adds up exactly
        FROM stormops_internal.guarded_candidates($1, $2) AS c
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
        SELECT f.property_id, f.do_not_contact, f.blocked, f.score, f.score_sd, f.model_version, f.value, f.wanted, f.chosen, f.flip_rate, f.flip
        FROM free AS f
        UNION ALL
        SELECT c.property_id, c.do_not_contact, c.blocked, c.score, c.score_sd, c.model_version, c.value, c.wanted, c.chosen,
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
            WHEN d.do_not_contact THEN d.blocked
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
COMMENT ON FUNCTION stormops.policy_decisions(uuid, jsonb) IS 'The decision for each property of a storm, with its propensity; writes nothing. parameters: as policy_runs.parameters or policy_parameters() has them; the same scores, guardrails'' counts and parameters always decide alike. Columns as in policy_decisions_log. The rule and its chances: docs/policy.md.';
