-- What vouches for the decisions of a run: a print of each block, or, where 0.1.0 wrote it, a fingerprint of each decision.

CREATE FUNCTION stormops_internal.seal_take(
    state internal, tenant_id uuid, run_id uuid, property_id uuid, storm_id uuid, decided_at timestamptz,
    propensity double precision, score double precision, score_sd double precision, value double precision,
    decision text, reason text, policy_mode text, model_version text
) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_seal_take';
COMMENT ON FUNCTION stormops_internal.seal_take(internal, uuid, uuid, uuid, uuid, timestamptz, double precision, double precision, double precision, double precision, text, text, text, text) IS 'Of decisions_seal(): takes in a decision.';
CREATE FUNCTION stormops_internal.seal_finish(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_seal_finish';
COMMENT ON FUNCTION stormops_internal.seal_finish(internal) IS 'Of decisions_seal(): the digest and the fingerprints.';

CREATE AGGREGATE stormops_internal.decisions_seal(
    tenant_id uuid, run_id uuid, property_id uuid, storm_id uuid, decided_at timestamptz,
    propensity double precision, score double precision, score_sd double precision, value double precision,
    decision text, reason text, policy_mode text, model_version text
) (
    SFUNC = stormops_internal.seal_take, STYPE = internal, FINALFUNC = stormops_internal.seal_finish, PARALLEL = safe
);
COMMENT ON AGGREGATE stormops_internal.decisions_seal(uuid, uuid, uuid, uuid, timestamptz, double precision, double precision, double precision, double precision, text, text, text, text) IS 'Over decisions that come in the order of property_id: 32 bytes, SHA-256 over the SHA-256 of each canonical form, and 8 bytes for each, the last four of its property_id and the first four of its digest. Errors: 22023 another order; 54000 more than 134 million.';

CREATE FUNCTION stormops_internal.counts_take(state internal, decision text, reason text, value double precision) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_counts_take';
COMMENT ON FUNCTION stormops_internal.counts_take(internal, text, text, double precision) IS 'Of decision_counts(): takes in a decision.';
CREATE FUNCTION stormops_internal.counts_finish(state internal) RETURNS jsonb
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_counts_finish';
COMMENT ON FUNCTION stormops_internal.counts_finish(internal) IS 'Of decision_counts(): the counts.';

CREATE AGGREGATE stormops_internal.decision_counts(decision text, reason text, value double precision) (
    SFUNC = stormops_internal.counts_take, STYPE = internal, FINALFUNC = stormops_internal.counts_finish, PARALLEL = safe
);
COMMENT ON AGGREGATE stormops_internal.decision_counts(text, text, double precision) IS 'A JSON array with an object for each decision and reason: decision, reason, n (rows) and value (its sum); NULL of none. Leaves out rows with a NULL. Error: 54000 more than 64 different ones.';

CREATE FUNCTION stormops_internal.decisions_digest(tenant_id uuid, run_id uuid, OUT decisions bigint, OUT digest bytea, OUT fingerprints bytea)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_seqscan = off -- by the key, whatever the planner knows of rows just written
    SET enable_bitmapscan = off
    AS $$
DECLARE
    seal bytea;
BEGIN
    -- Executed, so that it is planned for this run and locks the partition of this run alone: a run under
    -- way would hold up maintain_partitions() otherwise, and that every other run.
    EXECUTE 'SELECT stormops_internal.decisions_seal(d.tenant_id, d.run_id, d.property_id, d.storm_id, d.decided_at, d.propensity,'
        '    d.score, d.score_sd, d.value, d.decision, d.reason, d.policy_mode, d.model_version)'
        ' FROM (SELECT l.* FROM stormops.policy_decisions_log AS l WHERE l.tenant_id = $1 AND l.run_id = $2 ORDER BY l.property_id) AS d'
    INTO seal USING tenant_id, run_id;
    decisions := (octet_length(seal) - 32) / 8;
    digest := substr(seal, 1, 32);
    fingerprints := substr(seal, 33);
    seal := NULL; -- of a large run it is not kept twice
END
$$;
COMMENT ON FUNCTION stormops_internal.decisions_digest(uuid, uuid) IS 'How many decisions a run has now, in whatever form they are kept, and what decisions_seal() gives for them: how 0.1.0 sealed. Columns as in policy_run_digests.';

CREATE FUNCTION stormops_internal.block_print(
    tenant_id uuid, run_id uuid, block_no integer, storm_id uuid, decided_at timestamptz, policy_mode text,
    first_property uuid, last_property uuid, n integer, property_ids uuid[], classes smallint[],
    scores double precision[], score_sds double precision[], "values" double precision[],
    decisions text[], reasons text[], propensities double precision[], counts integer[], model_versions text[], models smallint[]
) RETURNS bytea
    LANGUAGE c IMMUTABLE PARALLEL SAFE COST 1000 AS 'MODULE_PATHNAME', 'stormops_block_print';
COMMENT ON FUNCTION stormops_internal.block_print(uuid, uuid, integer, uuid, timestamptz, text, uuid, uuid, integer, uuid[], smallint[], double precision[], double precision[], double precision[], text[], text[], double precision[], integer[], text[], smallint[]) IS 'What policy_run_digests.fingerprints has of a block: its first property, n, the SHA-256 of its canonical form, and for each decision two bytes of SipHash-1-3 over its fields. Arrays of another form than apply_policy() writes give a print that no written block has.';

CREATE FUNCTION stormops_internal.block_difference(
    kept bytea, now bytea,
    OUT what text, OUT block integer, OUT decision integer, OUT first_property uuid, OUT expected bytea, OUT actual bytea
) RETURNS SETOF record
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'block_difference_wrapper';
COMMENT ON FUNCTION stormops_internal.block_difference(bytea, bytea) IS 'The first difference between prints of a run''s blocks: what (changed, missing, added); block: its place, from 0, among those of now, of a missing block among those that were kept; decision: place from 1 of the one that is meant, NULL the whole block; its first property; its digests. No row if they are the same.';

CREATE FUNCTION stormops_internal.run_seal(
    tenant_id uuid, run_id uuid, by_block boolean,
    OUT decisions bigint, OUT blocks integer, OUT digest bytea, OUT fingerprints bytea
)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_seqscan = off -- by the key, whatever the planner knows of rows just written
    SET enable_bitmapscan = off
    AS $$
#variable_conflict use_variable
BEGIN
    IF NOT by_block THEN
        SELECT d.decisions, d.digest, d.fingerprints INTO decisions, digest, fingerprints
        FROM stormops_internal.decisions_digest(tenant_id, run_id) AS d;
        RETURN;
    END IF;
    -- Executed as in decisions_digest().
    EXECUTE 'SELECT coalesce(sum(b.n), 0), count(*), sha256(coalesce(string_agg(substr(b.print, 21, 32), NULL ORDER BY b.first_property), '''')),'
        '    coalesce(string_agg(b.print, NULL ORDER BY b.first_property), '''')'
        ' FROM (SELECT l.n, l.first_property, stormops_internal.block_print(l.tenant_id, l.run_id, l.block_no, l.storm_id, l.decided_at, l.policy_mode,'
        '    l.first_property, l.last_property, l.n, l.property_ids, l.classes, l.scores, l.score_sds, l."values",'
        '    l.decisions, l.reasons, l.propensities, l.counts, l.model_versions, l.models) AS print'
        ' FROM stormops.policy_decision_blocks AS l WHERE l.tenant_id = $1 AND l.run_id = $2 OFFSET 0) AS b'
    INTO decisions, blocks, digest, fingerprints USING tenant_id, run_id;
END
$$;
COMMENT ON FUNCTION stormops_internal.run_seal(uuid, uuid, boolean) IS 'What vouches for the decisions that a run has now. by_block: by the prints of its blocks; otherwise as 0.1.0 did, by those of its decisions, and blocks is NULL. Columns as in policy_run_digests.';
