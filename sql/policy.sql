-- Whom to treat after a storm. The decision is one set: policy_decisions(storm, parameters)
-- returns it, preview_policy() counts it, apply_policy() writes it down.

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
    RETURN jsonb_strip_nulls(to_jsonb(chosen) - 'tenant_id') || jsonb_build_object(
        'z', stormops.attitude(chosen.confidence),
        'exploration', CASE WHEN chosen.exploration > 0 THEN greatest(chosen.exploration, 0.02 / (1 - chosen.holdout)) ELSE 0 END
    );
END
$$;
COMMENT ON FUNCTION stormops.policy_parameters(text) IS 'All that decisions of a mode rest on beside the data, as policy_runs.parameters keeps it: the mode''s row, z = attitude(confidence), and the exploration in effect (if any, at least so much that the propensity of treating is 0.02). Errors: 22004, 22023 unknown mode.';

CREATE FUNCTION stormops.policy_candidates(
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
                lead(l.property_id) OVER (ORDER BY l.property_id, l.scored_at, l.model_version) AS next_property
            FROM stormops.lead_uplift AS l
            WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = $1
        ) AS u
        JOIN stormops.properties AS p ON p.tenant_id = stormops.current_tenant() AND p.property_id = u.property_id
        WHERE p.status = 'active' AND u.next_property IS DISTINCT FROM u.property_id -- the latest score
    ) AS s
$$;
COMMENT ON FUNCTION stormops.policy_candidates(uuid, jsonb) IS 'The storm''s active properties with their latest score: value of treating each, and wanted: P(value > 0) >= confidence and a score not below zero. Writes nothing.';

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
        FROM stormops.policy_candidates($1, $2) AS c
        WHERE coalesce($2 ->> 'capacity', $2 ->> 'budget') IS NULL
    ),
    -- Under a limit the best by value per cost are chosen until it is reached: the fractional
    -- knapsack (Goldenberg et al. 2020, arXiv 2008.06293). Equal ones stand in the order of a draw.
    ranked AS (
        SELECT c.*, row_number() OVER best AS place, sum(coalesce(c.cost, 0)) OVER best AS spent
        FROM stormops.policy_candidates($1, $2) AS c
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
            AND coalesce(r.spent <= (SELECT ($2 ->> 'budget')::float8), true) AS chosen
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
COMMENT ON FUNCTION stormops.policy_decisions(uuid, jsonb) IS 'The decision for each property of a storm, with its exact propensity. Writes nothing; the same storm, scores and parameters decide alike. Columns as in policy_decisions_log. For each property: excluded if do_not_contact; held if draw(''holdout'') < holdout; else the rule''s choice, or its opposite by exploration. P(treat) = (1 - holdout) * (1 - e) where the rule treats and (1 - holdout) * e where not; e = exploration, or under capacity or budget the share of a fixed number of swaps.';

CREATE FUNCTION stormops.decidable_storm(storm_id uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    PERFORM stormops.existing_storm(storm_id);
    PERFORM FROM stormops.storms AS s
    WHERE s.tenant_id = stormops.current_tenant() AND s.storm_id = decidable_storm.storm_id AND s.status = 'closed';
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('storm %s is closed', storm_id),
            HINT = 'UPDATE stormops.storms SET status = ''active'' … opens it again.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.decidable_storm(uuid) IS 'Errors: 22004, P0002 no such storm in this tenant, 55000 closed.';

CREATE FUNCTION stormops.no_scores(storm_id uuid) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
        MESSAGE = format('storm %s has no scored property', storm_id),
        DETAIL = 'A property is decided if it is active and has a row in lead_uplift for this storm.',
        HINT = 'INSERT INTO stormops.lead_uplift (storm_id, property_id, model_version, uplift) … first.';
END
$$;
COMMENT ON FUNCTION stormops.no_scores(uuid) IS 'Error: 55000, the storm has no scored property.';

CREATE FUNCTION stormops.policy_tally(
    groups jsonb,
    OUT "treat" bigint, OUT treat_pct numeric, OUT hold bigint, OUT excluded bigint, OUT reasons jsonb, OUT expected_value numeric
)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT t.treat, round(100.0 * t.treat / nullif(t.treat + t.hold, 0), 1), t.hold, t.excluded, t.reasons, t.expected_value
    FROM (
        SELECT coalesce(sum(g.n) FILTER (WHERE g.decision = 'treat'), 0)::bigint AS treat,
            coalesce(sum(g.n) FILTER (WHERE g.decision = 'hold'), 0)::bigint AS hold,
            coalesce(sum(g.n) FILTER (WHERE g.decision = 'exclude'), 0)::bigint AS excluded,
            jsonb_object_agg(g.reason, g.n) AS reasons,
            round(coalesce(sum(g.value) FILTER (WHERE g.decision = 'treat'), 0), 2) AS expected_value
        FROM jsonb_to_recordset($1) AS g (decision text, reason text, n bigint, value numeric)
    ) AS t
$$;
COMMENT ON FUNCTION stormops.policy_tally(jsonb) IS 'Folds counts by decision and reason into one row.';

CREATE FUNCTION stormops.preview_policy(
    storm_id uuid, policy_mode text DEFAULT 'moderate',
    OUT run_id uuid, OUT "treat" bigint, OUT treat_pct numeric, OUT hold bigint, OUT excluded bigint,
    OUT reasons jsonb, OUT expected_value numeric, OUT supersedes uuid
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling the one large statement costs more than it saves
    AS $$
#variable_conflict use_variable
DECLARE
    parameters jsonb;
    groups jsonb;
BEGIN
    PERFORM stormops.decidable_storm(storm_id);
    parameters := stormops.policy_parameters(policy_mode);
    SELECT jsonb_agg(g) INTO groups FROM (
        SELECT d.decision, d.reason, count(*) AS n, sum(d.value) AS value
        FROM stormops.policy_decisions(storm_id, parameters) AS d
        GROUP BY d.decision, d.reason
    ) AS g;
    IF groups IS NULL THEN
        PERFORM stormops.no_scores(storm_id);
    END IF;
    SELECT t.* INTO treat, treat_pct, hold, excluded, reasons, expected_value FROM stormops.policy_tally(groups) AS t;
    SELECT r.run_id INTO supersedes FROM stormops.policy_runs AS r
    WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = preview_policy.storm_id AND r.superseded_at IS NULL;
END
$$;
COMMENT ON FUNCTION stormops.preview_policy(uuid, text) IS 'What apply_policy() would decide now; writes nothing. run_id is NULL, supersedes the run that would be replaced. Other columns and errors as there.';

CREATE FUNCTION stormops.apply_policy(
    storm_id uuid, policy_mode text DEFAULT 'moderate', supersede boolean DEFAULT false,
    OUT run_id uuid, OUT "treat" bigint, OUT treat_pct numeric, OUT hold bigint, OUT excluded bigint,
    OUT reasons jsonb, OUT expected_value numeric, OUT supersedes uuid
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling the one large statement costs more than it saves
    SET enable_hashjoin = off -- a merge join keeps the order of the key, and memory flat
    AS $$
#variable_conflict use_variable
DECLARE
    tenant uuid := stormops.current_tenant();
    parameters jsonb;
    groups jsonb;
    decided_at timestamptz := now();
BEGIN
    IF NOT stormops.may_write('crew_chief') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only a crew_chief or an admin may apply a policy',
            HINT = 'SELECT * FROM stormops.preview_policy(storm_id, policy_mode); writes nothing.';
    END IF;
    -- Two runs of one storm stand in line here, and the second finds what the first has written. An
    -- update, since a mere lock would let a REPEATABLE READ transaction go on with what it saw before.
    UPDATE stormops.storms AS s SET status = s.status WHERE s.tenant_id = tenant AND s.storm_id = apply_policy.storm_id;
    PERFORM stormops.decidable_storm(storm_id);
    parameters := stormops.policy_parameters(policy_mode);
    SELECT r.run_id INTO supersedes FROM stormops.policy_runs AS r
    WHERE r.tenant_id = tenant AND r.storm_id = apply_policy.storm_id AND r.superseded_at IS NULL;
    IF FOUND AND supersede IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('storm %s has a policy applied already', storm_id),
            DETAIL = format('Its current run is %s.', supersedes),
            HINT = 'apply_policy(storm_id, policy_mode, supersede => true) replaces it; the old run stays in the log.';
    END IF;

    run_id := stormops.new_id();
    WITH written AS (
        INSERT INTO stormops.policy_decisions_log AS l (
            tenant_id, run_id, property_id, storm_id, decided_at, propensity, score, score_sd, value,
            decision, reason, policy_mode, model_version
        )
        SELECT tenant, run_id, d.property_id, storm_id, decided_at, d.propensity, d.score, d.score_sd, d.value,
            d.decision, d.reason, policy_mode, d.model_version
        FROM stormops.policy_decisions(storm_id, parameters) AS d
        RETURNING l.decision, l.reason, l.value
    )
    SELECT jsonb_agg(g) INTO groups FROM (
        SELECT w.decision, w.reason, count(*) AS n, sum(w.value) AS value FROM written AS w GROUP BY w.decision, w.reason
    ) AS g;
    IF groups IS NULL THEN
        PERFORM stormops.no_scores(storm_id);
    END IF;
    SELECT t.* INTO treat, treat_pct, hold, excluded, reasons, expected_value FROM stormops.policy_tally(groups) AS t;

    UPDATE stormops.policy_runs AS r SET superseded_at = decided_at WHERE r.tenant_id = tenant AND r.run_id = supersedes;
    INSERT INTO stormops.policy_runs (
        tenant_id, run_id, storm_id, policy_mode, parameters, decided_at, decided_by, acting_user,
        treat, hold, excluded, reasons, expected_value, supersedes
    )
    VALUES (
        tenant, run_id, storm_id, policy_mode, parameters, decided_at, stormops.calling_role(), stormops.current_user_id(),
        treat, hold, excluded, reasons, expected_value, supersedes
    );
END
$$;
COMMENT ON FUNCTION stormops.apply_policy(uuid, text, boolean) IS 'Decides which of a storm''s scored properties to treat and which to hold, and logs each decision with its propensity. policy_mode: a row of policy_modes. A storm that has a current run needs supersede => true, which replaces it visibly. One transaction: all rows or none. Returns run_id; treat, hold, excluded (properties); treat_pct = 100 * treat / (treat + hold); reasons (properties by reason code); expected_value (sum of value over the treated); supersedes (the run replaced). Errors: 0B000 no tenant; 22004, 22023 unknown mode; 42501 a field_user or viewer; 55000 storm closed, without scores or applied already, tenant suspended; P0002 no such storm in this tenant.';
