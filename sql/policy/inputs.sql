-- What a run rests on beside scores and parameters, kept with it, so that it can be decided again whatever becomes of the
-- properties, the touches and the guardrails.

CREATE FUNCTION stormops_internal.run_inputs(
    run_id uuid, OUT property_id uuid, OUT margin numeric, OUT cost numeric, OUT reason text, OUT guardrail text, OUT measured double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT u.property_id, u.margin, u.cost, u.reason, u.guardrail, u.measured
    FROM stormops.policy_run_inputs AS i
    CROSS JOIN LATERAL unnest(i.property_ids, i.margins, i.costs, i.reasons, i.guardrails, i.measured) AS u (property_id, margin, cost, reason, guardrail, measured)
    WHERE i.tenant_id = stormops.current_tenant() AND i.run_id = $1
$$;
COMMENT ON FUNCTION stormops_internal.run_inputs(uuid) IS 'The rows of policy_run_inputs of a run, one a property.';

CREATE FUNCTION stormops_internal.keep_inputs(storm_id uuid, run_id uuid, parameters jsonb) RETURNS jsonb
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET extra_float_digits = 1
    SET work_mem = '64MB'
    SET enable_hashjoin = on
    SET enable_sort = on
    SET enable_incremental_sort = on
    SET jit = off -- compiling large statements costs more than it saves
    AS $$
    WITH own AS (
        SELECT p.property_id, p.job_margin, p.contact_cost
        FROM stormops.properties AS p
        WHERE p.tenant_id = stormops.current_tenant() AND p.status = 'active' AND num_nonnulls(p.job_margin, p.contact_cost) > 0
            AND p.property_id IN (SELECT l.property_id FROM stormops.lead_uplift AS l WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = $1)
    ), known AS (
        SELECT coalesce(o.property_id, g.property_id) AS property_id, o.job_margin, o.contact_cost, g.reason, g.guardrail, g.measured
        FROM own AS o FULL JOIN stormops_internal.guarded_properties($1, $3) AS g ON g.property_id = o.property_id
    ), placed AS (
        -- In order by both, so that it is sorted once, not for each array.
        SELECT k.*, (row_number() OVER (ORDER BY k.property_id) - 1) / 4096 AS block_no FROM known AS k ORDER BY block_no, property_id
    ), written AS (
        INSERT INTO stormops.policy_run_inputs AS i (tenant_id, run_id, block_no, property_ids, margins, costs, reasons, guardrails, measured)
        SELECT stormops.current_tenant(), $2, p.block_no, array_agg(p.property_id), array_agg(p.job_margin), array_agg(p.contact_cost),
            array_agg(p.reason), array_agg(p.guardrail), array_agg(p.measured)
        FROM placed AS p
        GROUP BY p.block_no
        RETURNING i.block_no, cardinality(i.property_ids) AS properties,
            stormops_internal.inputs_digest(i.property_ids, i.margins, i.costs, i.reasons, i.guardrails, i.measured) AS digest
    )
    SELECT jsonb_build_object('inputs', jsonb_build_object('properties', coalesce(sum(w.properties), 0),
        'digest', encode(sha256(coalesce(string_agg(w.digest, '' ORDER BY w.block_no), '')), 'hex')))
    FROM written AS w
$$;
COMMENT ON FUNCTION stormops_internal.keep_inputs(uuid, uuid, jsonb) IS 'Writes policy_run_inputs of a run that is about to be decided, and gives what its parameters are to say of them: how many properties, and the SHA-256, in hex, over the digests of the blocks, so that the log of runs vouches for them.';

CREATE FUNCTION stormops_internal.inputs_digest(
    property_ids uuid[], margins numeric[], costs numeric[], reasons text[], guardrails text[], measured double precision[]
) RETURNS bytea
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET extra_float_digits = 1 -- exact, whatever the caller has set
    AS $$ SELECT sha256(convert_to(ROW ($1, $2, $3, $4, $5, $6)::text, 'UTF8')) $$;
COMMENT ON FUNCTION stormops_internal.inputs_digest(uuid[], numeric[], numeric[], text[], text[], double precision[]) IS 'SHA-256 of a block of policy_run_inputs as it prints.';

CREATE FUNCTION stormops_internal.draws_are_known(parameters jsonb) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT coalesce($1 ->> 'drawn_for' = encode(sha256(uuid_send(stormops.current_tenant())), 'hex'), true) $$;
COMMENT ON FUNCTION stormops_internal.draws_are_known(jsonb) IS 'False for a run that was brought in from another tenant id, which its draws are of: import_tenant_rows() notes the SHA-256 of that id in its parameters.';

CREATE FUNCTION stormops.decide_again(
    run_id uuid,
    OUT property_id uuid, OUT decision text, OUT reason text, OUT propensity double precision,
    OUT score double precision, OUT score_sd double precision, OUT value double precision, OUT model_version text
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling the one large statement costs more than it saves
    SET enable_nestloop = off -- nothing is known of how many inputs there are
    AS $$
#variable_conflict use_column
DECLARE
    r record;
    kept jsonb;
BEGIN
    SELECT p.storm_id, p.parameters INTO r FROM stormops.policy_runs AS p
    WHERE p.tenant_id = stormops.current_tenant() AND p.run_id = $1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = CASE WHEN $1 IS NULL THEN 'null_value_not_allowed' ELSE 'no_data_found' END,
            MESSAGE = format('run %s does not exist', coalesce($1::text, 'NULL')),
            HINT = 'SELECT run_id, storm_id, decided_at FROM stormops.policy_runs; shows this tenant''s runs.';
    END IF;
    IF NOT r.parameters ? 'inputs' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('run %s has kept no inputs', $1),
            DETAIL = 'Runs keep them from version 0.2.0 on.',
            HINT = 'policy_decisions(storm_id, parameters) decides by the properties as they are now.';
    END IF;
    IF NOT stormops_internal.draws_are_known(r.parameters) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('run %s was decided under another tenant''s id', $1),
            DETAIL = 'Its draws are of that id, which is not kept here.',
            HINT = 'Decide it again where it was exported; policy_decisions_log has what was decided.';
    END IF;
    IF r.parameters #>> '{inputs,digest}' <> (
        SELECT encode(sha256(coalesce(string_agg(stormops_internal.inputs_digest(i.property_ids, i.margins, i.costs, i.reasons, i.guardrails, i.measured),
            '' ORDER BY i.block_no), '')), 'hex')
        FROM stormops.policy_run_inputs AS i WHERE i.tenant_id = stormops.current_tenant() AND i.run_id = $1)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'data_corrupted', MESSAGE = format('the inputs of run %s are not those that it was decided by', $1),
            HINT = 'SELECT * FROM stormops.verify_log(); says what else was changed.';
    END IF;
    kept := r.parameters || jsonb_build_object('run_id', $1, 'again', true);
    RETURN QUERY SELECT d.* FROM stormops.policy_decisions(r.storm_id, kept) AS d;
END
$$;
COMMENT ON FUNCTION stormops.decide_again(uuid) IS 'Decides a run again from what was kept with it alone: scores from the log, money and guardrails'' verdicts from policy_run_inputs, the rule from its parameters. Gives what the log has, whatever the tables say now. Columns as policy_decisions(). Errors: 22004; 55000 a run of before 0.2.0, or of another tenant id; P0002 no such run in this tenant; XX001 its inputs were changed.';
