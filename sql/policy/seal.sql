-- The digest over the decisions of a run, with a fingerprint of each; and their counts, from the same pass.

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

CREATE FUNCTION stormops_internal.decisions_digest(tenant_id uuid, run_id uuid, OUT decisions bigint, OUT digest bytea, OUT fingerprints bytea, OUT counts jsonb)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- one pass in the order of the key, whatever the planner knows of rows just written
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_sort = off
    AS $$
DECLARE
    seal bytea;
BEGIN
    -- Executed, so that it is planned for this run and locks the partition of this run alone: a run under
    -- way would hold up maintain_partitions() otherwise, and that every other run.
    EXECUTE 'SELECT stormops_internal.decisions_seal(d.tenant_id, d.run_id, d.property_id, d.storm_id, d.decided_at, d.propensity,'
        '    d.score, d.score_sd, d.value, d.decision, d.reason, d.policy_mode, d.model_version),'
        '    stormops_internal.decision_counts(d.decision, d.reason, d.value)'
        ' FROM (SELECT l.* FROM stormops.policy_decisions_log AS l WHERE l.tenant_id = $1 AND l.run_id = $2 ORDER BY l.property_id) AS d'
    INTO seal, counts USING tenant_id, run_id;
    decisions := (octet_length(seal) - 32) / 8;
    digest := substr(seal, 1, 32);
    fingerprints := substr(seal, 33);
    seal := NULL; -- of a large run it is not kept twice
END
$$;
COMMENT ON FUNCTION stormops_internal.decisions_digest(uuid, uuid) IS 'How many decisions a run has now, and what decisions_seal() and decision_counts() give for them. Columns as in policy_run_digests.';
