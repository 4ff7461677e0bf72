-- Which hashes come more than once: telling rows apart by one number each, in one pass and beside other aggregates.

CREATE FUNCTION stormops.repeats_collect(state internal, hash bigint) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_repeats_collect';
COMMENT ON FUNCTION stormops.repeats_collect(internal, bigint) IS 'Of repeats_agg(): takes in a hash.';
CREATE FUNCTION stormops.repeats_combine(state internal, other internal) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_repeats_combine';
COMMENT ON FUNCTION stormops.repeats_combine(internal, internal) IS 'Of repeats_agg(): merges the states of parallel workers.';
CREATE FUNCTION stormops.repeats_serialize(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_repeats_serialize';
COMMENT ON FUNCTION stormops.repeats_serialize(internal) IS 'Of repeats_agg(): the state of a parallel worker, to be sent.';
CREATE FUNCTION stormops.repeats_deserialize(sent bytea, state internal) RETURNS internal
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_repeats_deserialize';
COMMENT ON FUNCTION stormops.repeats_deserialize(bytea, internal) IS 'Of repeats_agg(): the state of a parallel worker, as sent.';
CREATE FUNCTION stormops.repeats_finish(state internal) RETURNS bigint[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_repeats_finish';
COMMENT ON FUNCTION stormops.repeats_finish(internal) IS 'Of repeats_agg(): sorts, and keeps what comes more than once.';

CREATE AGGREGATE stormops.repeats_agg(hash bigint) (
    SFUNC = stormops.repeats_collect, STYPE = internal, FINALFUNC = stormops.repeats_finish,
    COMBINEFUNC = stormops.repeats_combine, SERIALFUNC = stormops.repeats_serialize, DESERIALFUNC = stormops.repeats_deserialize,
    PARALLEL = safe
);
COMMENT ON AGGREGATE stormops.repeats_agg(bigint) IS 'The hashes that more than one row has, each once, in ascending order. NULL does not count; never NULL itself. 8 bytes a row. Error: 53200.';
