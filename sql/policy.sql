-- Whom to treat after a storm. The decision is one set: policy_decisions(storm, parameters)
-- returns it, preview_policy() counts it, apply_policy() writes it down.

CREATE FUNCTION stormops.default_policy_modes(
    OUT policy_mode text, OUT confidence double precision, OUT exploration double precision, OUT holdout double precision
) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT m.policy_mode, m.confidence, m.exploration, m.holdout
    FROM (VALUES
        ('conservative', 0.95::pg_catalog.float8, 0.02::pg_catalog.float8, 0.20::pg_catalog.float8),
        ('moderate', 0.50::pg_catalog.float8, 0.05::pg_catalog.float8, 0.10::pg_catalog.float8),
        ('aggressive', 0.20::pg_catalog.float8, 0.10::pg_catalog.float8, 0.05::pg_catalog.float8)
    ) AS m (policy_mode, confidence, exploration, holdout)
$$;

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

CREATE FUNCTION stormops.policy_candidates(
    storm_id uuid, parameters jsonb,
    OUT property_id uuid, OUT do_not_contact boolean, OUT score double precision, OUT score_sd double precision,
    OUT model_version text, OUT cost double precision, OUT value double precision, OUT wanted boolean
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    SELECT s.property_id, s.do_not_contact, s.uplift, s.sd, s.model_version, s.cost,
        CASE WHEN s.money THEN s.margin * s.uplift - s.cost ELSE s.uplift - s.breakeven_uplift END,
        s.uplift >= 0
            AND s.uplift + s.z * s.sd > CASE WHEN s.money THEN s.cost / s.margin ELSE s.breakeven_uplift END
    FROM (
        SELECT u.property_id, p.do_not_contact, u.uplift, u.model_version,
            coalesce(u.uplift_sd, m.default_sd) AS sd, m.z, m.breakeven_uplift,
            coalesce(p.job_margin, m.margin)::float8 AS margin,
            coalesce(p.contact_cost, m.contact_cost)::float8 AS cost,
            coalesce(p.job_margin, m.margin) IS NOT NULL AND coalesce(p.contact_cost, m.contact_cost) IS NOT NULL AS money
        FROM jsonb_to_record($2) AS m (
            z float8, default_sd float8, breakeven_uplift float8, margin numeric, contact_cost numeric
        )
        CROSS JOIN (
            -- The latest score of each property, in the order of the key.
            SELECT DISTINCT ON (l.property_id) l.property_id, l.uplift, l.uplift_sd, l.model_version
            FROM stormops.lead_uplift AS l
            WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = $1
            ORDER BY l.property_id DESC, l.scored_at DESC, l.model_version DESC
        ) AS u
        JOIN stormops.properties AS p ON p.tenant_id = stormops.current_tenant() AND p.property_id = u.property_id
        WHERE p.status = 'active'
    ) AS s
$$;

CREATE FUNCTION stormops.policy_decisions(
    storm_id uuid, parameters jsonb,
    OUT property_id uuid, OUT decision text, OUT reason text, OUT propensity double precision,
    OUT score double precision, OUT score_sd double precision, OUT value double precision, OUT model_version text
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    WITH mode AS (
        SELECT m.* FROM jsonb_to_record($2) AS m (holdout float8, exploration float8, capacity bigint, budget float8)
    ),
    -- Without a limit each property is decided by itself, in one pass.
    free AS (
        SELECT c.*, c.wanted AS chosen, m.exploration AS flip_rate,
            stormops.draw(stormops.current_tenant(), $1, c.property_id, 'explore') < m.exploration AS flip
        FROM mode AS m CROSS JOIN stormops.policy_candidates($1, $2) AS c
        WHERE m.capacity IS NULL AND m.budget IS NULL
    ),
    -- Under a limit the best by value per cost are chosen until it is reached: the fractional
    -- knapsack (Goldenberg et al. 2020, arXiv 2008.06293). Equal ones stand in the order of a draw.
    ranked AS (
        SELECT c.*, m.exploration, m.capacity, m.budget,
            row_number() OVER best AS place, sum(coalesce(c.cost, 0)) OVER best AS spent
        FROM mode AS m CROSS JOIN stormops.policy_candidates($1, $2) AS c
        WHERE m.capacity IS NOT NULL OR m.budget IS NOT NULL
        WINDOW best AS (
            ORDER BY c.wanted AND NOT c.do_not_contact DESC, c.value / nullif(coalesce(c.cost, 1), 0) DESC NULLS FIRST,
                stormops.draw(stormops.current_tenant(), $1, c.property_id, 'tie')
            ROWS UNBOUNDED PRECEDING
        )
    ),
    cut AS (
        SELECT r.*, r.wanted AND NOT r.do_not_contact AND r.place <= coalesce(r.capacity, r.place)
            AND r.spent <= coalesce(r.budget, r.spent) AS chosen
        FROM ranked AS r
    ),
    -- Exploration then swaps a fixed number of chosen ones against as many others, drawn at
    -- random, so that it never treats more than the limit.
    counted AS (
        SELECT c.*, count(*) OVER side AS members,
            least(round(c.exploration * count(*) FILTER (WHERE c.chosen) OVER everyone),
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
        SELECT e.*, m.holdout,
            stormops.draw(stormops.current_tenant(), $1, e.property_id, 'holdout') < m.holdout AS held_out,
            (1 - m.holdout) * CASE WHEN e.chosen THEN 1 - e.flip_rate ELSE e.flip_rate END AS treat_rate
        FROM mode AS m CROSS JOIN explored AS e
    )
    SELECT d.property_id, a.decision, a.reason,
        CASE a.decision WHEN 'treat' THEN d.treat_rate WHEN 'hold' THEN 1 - d.treat_rate ELSE 1 END,
        d.score, d.score_sd, d.value, d.model_version
    FROM drawn AS d
    CROSS JOIN LATERAL (
        SELECT
            CASE WHEN d.do_not_contact THEN 'exclude' WHEN d.chosen <> d.flip AND NOT d.held_out THEN 'treat' ELSE 'hold' END AS decision,
            CASE
                WHEN d.do_not_contact THEN 'do_not_contact'
                WHEN d.held_out THEN 'holdout'
                WHEN d.chosen THEN CASE WHEN d.flip THEN 'explore_hold' ELSE 'above_threshold' END
                WHEN d.flip THEN 'explore_treat'
                WHEN d.wanted THEN 'over_capacity'
                ELSE 'below_threshold'
            END AS reason
    ) AS a
$$;

CREATE FUNCTION stormops.decidable_storm(storm_id uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    found_status text;
BEGIN
    SELECT s.status INTO found_status FROM stormops.storms AS s
    WHERE s.tenant_id = stormops.current_tenant() AND s.storm_id = decidable_storm.storm_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN storm_id IS NULL THEN 'null_value_not_allowed' ELSE 'no_data_found' END,
            MESSAGE = format('storm %s does not exist', coalesce(storm_id::text, 'NULL')),
            HINT = 'SELECT storm_id, name, status FROM stormops.storms; shows this tenant''s storms.';
    END IF;
    IF found_status = 'closed' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('storm %s is closed', storm_id),
            HINT = 'UPDATE stormops.storms SET status = ''active'' … opens it again.';
    END IF;
END
$$;

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

CREATE FUNCTION stormops.policy_tally(
    groups jsonb,
    OUT "treat" bigint, OUT treat_pct numeric, OUT hold bigint, OUT excluded bigint, OUT reasons jsonb, OUT expected_value numeric
)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
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

CREATE FUNCTION stormops.preview_policy(
    storm_id uuid, policy_mode text DEFAULT 'moderate',
    OUT run_id uuid, OUT "treat" bigint, OUT treat_pct numeric, OUT hold bigint, OUT excluded bigint,
    OUT reasons jsonb, OUT expected_value numeric, OUT supersedes uuid
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
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

CREATE FUNCTION stormops.apply_policy(
    storm_id uuid, policy_mode text DEFAULT 'moderate', supersede boolean DEFAULT false,
    OUT run_id uuid, OUT "treat" bigint, OUT treat_pct numeric, OUT hold bigint, OUT excluded bigint,
    OUT reasons jsonb, OUT expected_value numeric, OUT supersedes uuid
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
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
    -- Two runs of one storm stand in line here; the second finds what the first has written.
    PERFORM FROM stormops.storms AS s
    WHERE s.tenant_id = tenant AND s.storm_id = apply_policy.storm_id FOR NO KEY UPDATE;
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
    INSERT INTO stormops.policy_decisions_log (
        tenant_id, run_id, property_id, storm_id, decided_at, propensity, score, score_sd, value,
        decision, reason, policy_mode, model_version
    )
    SELECT tenant, run_id, d.property_id, storm_id, decided_at, d.propensity, d.score, d.score_sd, d.value,
        d.decision, d.reason, policy_mode, d.model_version
    FROM stormops.policy_decisions(storm_id, parameters) AS d;
    SELECT jsonb_agg(g) INTO groups FROM (
        SELECT l.decision, l.reason, count(*) AS n, sum(l.value) AS value
        FROM stormops.policy_decisions_log AS l
        WHERE l.tenant_id = tenant AND l.run_id = apply_policy.run_id
        GROUP BY l.decision, l.reason
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
