-- Reading the decision log: blocks as rows, and what is asked of blocks without making rows of them.

CREATE FUNCTION stormops_internal.unpack_decisions(
    property_ids uuid[], classes smallint[], scores double precision[], score_sds double precision[], "values" double precision[],
    decisions text[], reasons text[], propensities double precision[], model_versions text[], models smallint[], wanted uuid,
    OUT property_id uuid, OUT propensity double precision, OUT score double precision, OUT score_sd double precision,
    OUT value double precision, OUT decision text, OUT reason text, OUT model_version text
) RETURNS SETOF record
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 4096 COST 1000 AS 'MODULE_PATHNAME', 'stormops_unpack_decisions';
COMMENT ON FUNCTION stormops_internal.unpack_decisions(uuid[], smallint[], double precision[], double precision[], double precision[], text[], text[], double precision[], text[], smallint[], uuid) IS 'The decisions of a block of policy_decision_blocks, one row each; with wanted that of one property, if the block has it. The planner hook puts it in where a view is asked for property_id = X. Error: XX001 arrays of different lengths, a NULL, a class or model outside its dictionary.';

CREATE FUNCTION stormops_internal.block_may_have(first_property uuid, last_property uuid, wanted uuid[]) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_block_may_have';
COMMENT ON FUNCTION stormops_internal.block_may_have(uuid, uuid, uuid[]) IS 'True if one of wanted lies between the first and the last property of a block. The planner hook asks it where a view is asked for property_id = ANY (array).';

CREATE FUNCTION stormops_internal.find_decisions(
    first_property uuid, last_property uuid, property_ids uuid[], classes smallint[], wanted uuid[], OUT property_id uuid, OUT class smallint
) RETURNS SETOF record
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 200 COST 1000 AS 'MODULE_PATHNAME', 'stormops_find_decisions';
COMMENT ON FUNCTION stormops_internal.find_decisions(uuid, uuid, uuid[], smallint[], uuid[]) IS 'Which of wanted (in order, each once) a block of policy_decision_blocks has, each with its class: a block that cannot have any is not unpacked. Errors: 22023 not in order; XX001 as unpack_decisions().';

CREATE FUNCTION stormops_internal.randomised_of_block(
    property_ids uuid[], classes smallint[], scores double precision[], decisions text[], propensities double precision[], converted_ids uuid[],
    OUT score double precision, OUT treated boolean, OUT converted double precision, OUT propensity double precision
) RETURNS SETOF record
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 4096 COST 1000 AS 'MODULE_PATHNAME', 'stormops_randomised_decisions';
COMMENT ON FUNCTION stormops_internal.randomised_of_block(uuid[], smallint[], double precision[], text[], double precision[], uuid[]) IS 'randomised_decisions() of a block: what uplift_agg() takes in. converted_ids: the run''s properties that converted, in order. Error: XX001 as unpack_decisions().';

CREATE FUNCTION stormops.decisions_about(
    property_id uuid,
    OUT run_id uuid, OUT storm_id uuid, OUT decided_at timestamptz, OUT superseded_at timestamptz, OUT policy_mode text,
    OUT decision text, OUT reason text, OUT propensity double precision, OUT score double precision, OUT score_sd double precision,
    OUT value double precision, OUT model_version text
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE ROWS 12
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- without loops its cost is beyond all measure
    SET enable_hashjoin = off -- by the keys, run by run, whatever the planner knows of them
    SET enable_mergejoin = off
    SET enable_seqscan = off
    AS $$
    SELECT r.run_id, d.storm_id, d.decided_at, r.superseded_at, d.policy_mode, d.decision, d.reason, d.propensity, d.score, d.score_sd, d.value, d.model_version
    FROM stormops.policy_runs AS r
    CROSS JOIN LATERAL (
        SELECT b.storm_id, b.decided_at, b.policy_mode, u.decision, u.reason, u.propensity, u.score, u.score_sd, u.value, u.model_version
        FROM (
            -- The one block that may have it.
            SELECT k.* FROM stormops.policy_decision_blocks AS k
            WHERE k.tenant_id = stormops.current_tenant() AND k.run_id = r.run_id AND k.first_property <= $1
            ORDER BY k.first_property DESC LIMIT 1
        ) AS b
        CROSS JOIN LATERAL stormops_internal.unpack_decisions(
            b.property_ids, b.classes, b.scores, b.score_sds, b."values", b.decisions, b.reasons, b.propensities, b.model_versions, b.models, $1) AS u
        WHERE b.last_property >= $1
        UNION ALL
        SELECT k.storm_id, k.decided_at, k.policy_mode, k.decision, k.reason, k.propensity, k.score, k.score_sd, k.value, k.model_version
        FROM stormops.policy_decision_rows AS k
        WHERE k.tenant_id = stormops.current_tenant() AND k.run_id = r.run_id AND k.property_id = $1
    ) AS d
    WHERE r.tenant_id = stormops.current_tenant() AND $1 IS NOT NULL
    ORDER BY r.run_id DESC
$$;
COMMENT ON FUNCTION stormops.decisions_about(uuid) IS 'What was decided about a property, in every run, the latest first. superseded_at: NULL for a decision that stands. Other columns as in policy_decisions_log. Reads one block of each run; of many properties at once, JOIN LATERAL. Error: 0B000 no tenant.';
