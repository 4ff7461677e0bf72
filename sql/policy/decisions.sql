-- Whom to treat after a storm. The decision is one pass of the library over scores and exceptions: policy_decisions(storm,
-- parameters) shows it.

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
    ) || coalesce((
        SELECT jsonb_build_object('calibrations', jsonb_object_agg(c.model_version,
            jsonb_build_object('scores', c.scores, 'effects', c.effects, 'sds', c.effect_sds)))
        FROM stormops.uplift_calibrations AS c WHERE c.tenant_id = stormops.current_tenant()
        HAVING count(*) > 0), '{}');
END
$$;
COMMENT ON FUNCTION stormops.policy_parameters(text) IS 'All that decisions of a mode rest on beside the data, as policy_runs.parameters keeps it: the mode''s row, the enabled guardrails, uplift_calibrations by model, z = attitude(confidence), and the exploration in effect (if any, at least so much that the propensity of treating is 0.02). Errors: 22004, 22023 unknown mode.';

CREATE FUNCTION stormops_internal.policy_exceptions(
    storm_id uuid, parameters jsonb, few boolean,
    OUT property_id uuid, OUT left_out boolean, OUT reason text, OUT margin double precision, OUT cost double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT p.property_id, p.status <> 'active', CASE WHEN p.do_not_contact THEN 'do_not_contact' END,
        p.job_margin::float8, p.contact_cost::float8
    FROM stormops.properties AS p
    WHERE NOT $3 AND p.tenant_id = stormops.current_tenant()
        AND (p.status <> 'active' OR p.do_not_contact OR p.job_margin IS NOT NULL OR p.contact_cost IS NOT NULL)
    UNION ALL
    -- The same of the properties that the storm scores: a small storm of a large tenant asks for no others.
    SELECT p.property_id, p.status <> 'active', CASE WHEN p.do_not_contact THEN 'do_not_contact' END,
        p.job_margin::float8, p.contact_cost::float8
    FROM stormops.properties AS p
    WHERE $3 AND p.tenant_id = stormops.current_tenant()
        AND (p.status <> 'active' OR p.do_not_contact OR p.job_margin IS NOT NULL OR p.contact_cost IS NOT NULL)
        AND p.property_id IN (
            SELECT l.property_id FROM stormops.lead_uplift AS l WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = $1)
    UNION ALL
    SELECT g.property_id, false, g.reason, NULL, NULL FROM stormops_internal.guarded_properties($1, $2) AS g
    UNION ALL
    -- Where the database's own policies hide properties, who is hidden is not decided; where there are none, nobody looks.
    SELECT l.property_id, true, NULL, NULL, NULL
    FROM stormops.lead_uplift AS l
    WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = $1
        AND EXISTS (
            SELECT FROM pg_catalog.pg_policy AS y
            WHERE y.polrelid = 'stormops.properties'::pg_catalog.regclass AND y.polname <> ALL ('{tenant,tenant_floor,installed,role_select,role_insert,role_update,role_delete}'))
        AND NOT EXISTS (SELECT FROM stormops.properties AS p WHERE p.tenant_id = l.tenant_id AND p.property_id = l.property_id)
$$;
COMMENT ON FUNCTION stormops_internal.policy_exceptions(uuid, jsonb, boolean) IS 'All that decisions of a storm need to know of properties: those of the tenant that are not like the others, or that guardrails exclude. left_out: not decided at all; reason: excluded for it; margin and cost of their own. A property may have several rows: do_not_contact goes first, others by name. few: of scored properties alone. What else excludes is a further SELECT here.';

CREATE FUNCTION stormops_internal.kept_exceptions(
    run_id uuid, OUT property_id uuid, OUT left_out boolean, OUT reason text, OUT margin double precision, OUT cost double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT d.property_id, false, d.reason, NULL::float8, NULL::float8
    FROM stormops.policy_decisions_log AS d
    WHERE d.tenant_id = stormops.current_tenant() AND d.run_id = $1 AND d.decision = 'exclude'
    UNION ALL
    SELECT i.property_id, false, NULL, i.margin::float8, i.cost::float8
    FROM stormops_internal.run_inputs($1) AS i WHERE num_nonnulls(i.margin, i.cost) > 0
$$;
COMMENT ON FUNCTION stormops_internal.kept_exceptions(uuid) IS 'policy_exceptions() as a run found them, by its log and its inputs.';

CREATE FUNCTION stormops_internal.doubles_of(numbers jsonb) RETURNS double precision[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT ARRAY(SELECT e.x::float8 FROM jsonb_array_elements_text($1) WITH ORDINALITY AS e (x, place) ORDER BY e.place) $$;
COMMENT ON FUNCTION stormops_internal.doubles_of(jsonb) IS 'The numbers of a JSON array, in its order.';

CREATE FUNCTION stormops_internal.policy_numbers(parameters jsonb) RETURNS double precision[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT ARRAY[
        ($1 ->> 'z')::float8, ($1 ->> 'default_sd')::float8, ($1 ->> 'margin')::float8, ($1 ->> 'contact_cost')::float8,
        ($1 ->> 'breakeven_uplift')::float8, ($1 ->> 'exploration')::float8, ($1 ->> 'holdout')::float8,
        ($1 ->> 'capacity')::bigint::float8, ($1 ->> 'budget')::float8]
        -- For each calibrated model the first six bytes of its name's SHA-256, the number of points, and these.
        || ARRAY(
            SELECT n.number
            FROM jsonb_each($1 -> 'calibrations') AS c (model_version, points)
            CROSS JOIN LATERAL unnest(
                ARRAY[('x' || left(encode(sha256(convert_to(c.model_version, 'UTF8')), 'hex'), 12))::bit(48)::bigint::float8,
                    jsonb_array_length(c.points -> 'scores')::float8]
                || stormops_internal.doubles_of(c.points -> 'scores') || stormops_internal.doubles_of(c.points -> 'effects')
                || stormops_internal.doubles_of(c.points -> 'sds')
            ) WITH ORDINALITY AS n (number, place)
            ORDER BY c.model_version, n.place)
$$;
COMMENT ON FUNCTION stormops_internal.policy_numbers(jsonb) IS 'The numbers of policy_parameters() in the order in which the library reads them.';

CREATE FUNCTION stormops_internal.decide_policy(
    tenant_id uuid, storm_id uuid, numbers double precision[], parameters text, again boolean,
    OUT property_id uuid, OUT decision text, OUT reason text, OUT propensity double precision,
    OUT score double precision, OUT score_sd double precision, OUT value double precision, OUT model_version text
) RETURNS SETOF record
    LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000 ROWS 10000 AS 'MODULE_PATHNAME', 'stormops_decide_policy';
COMMENT ON FUNCTION stormops_internal.decide_policy(uuid, uuid, double precision[], text, boolean) IS 'Of policy_decisions(): the decisions, in the order of property_id, read as its caller. numbers: as policy_numbers() gives them; parameters: the guardrails, as JSON; again: scores and exceptions are those that the run in the parameters'' run_id has kept. Errors: 22023 one is missing; 53200.';

CREATE FUNCTION stormops_internal.count_policy(tenant_id uuid, storm_id uuid, numbers double precision[], parameters text) RETURNS jsonb
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED COST 1000 AS 'MODULE_PATHNAME', 'count_policy_wrapper';
COMMENT ON FUNCTION stormops_internal.count_policy(uuid, uuid, double precision[], text) IS 'Of preview_policy(): the decisions of decide_policy(), counted as decision_counts() does. Errors as there; 54000 more than 64 different ones.';

CREATE FUNCTION stormops_internal.write_decisions(
    tenant_id uuid, run_id uuid, storm_id uuid, decided_at timestamptz, policy_mode text, numbers double precision[], parameters text,
    OUT decisions bigint, OUT blocks integer, OUT digest bytea, OUT fingerprints bytea, OUT counts jsonb
) RETURNS SETOF record
    LANGUAGE c VOLATILE STRICT ROWS 1 AS 'MODULE_PATHNAME', 'write_decisions_wrapper';
COMMENT ON FUNCTION stormops_internal.write_decisions(uuid, uuid, uuid, timestamptz, text, double precision[], text) IS 'Of apply_policy(): writes the decisions of decide_policy() into policy_decision_blocks and tells what policy_run_digests keeps of them, and their counts. Errors as count_policy(); 23505, 23514 scores that no table holds.';

CREATE FUNCTION stormops.policy_decisions(
    storm_id uuid, parameters jsonb,
    OUT property_id uuid, OUT decision text, OUT reason text, OUT propensity double precision,
    OUT score double precision, OUT score_sd double precision, OUT value double precision, OUT model_version text
) RETURNS SETOF record
    LANGUAGE sql STABLE -- inlined, so its caller's search_path holds
    AS $$
    SELECT d.property_id, d.decision, d.reason, d.propensity, d.score, d.score_sd, d.value, d.model_version
    FROM stormops_internal.decide_policy(stormops.current_tenant(), $1, stormops_internal.policy_numbers($2), $2::text, $2 ? 'again') AS d
$$;
COMMENT ON FUNCTION stormops.policy_decisions(uuid, jsonb) IS 'The decision for each property of a storm, with its propensity; writes nothing. parameters: as policy_runs.parameters or policy_parameters() has them; the same scores, guardrails'' counts and parameters decide alike. Columns as in policy_decisions_log. The rule and its chances: docs/policy.md. Errors: 0B000 no tenant; 22023 parameters lack a number.';
