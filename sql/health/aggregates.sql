-- Aggregates for judging many rules in one pass: which hashes come more than once, which groups' means lie outside limits.

CREATE FUNCTION stormops_internal.repeats_collect(state internal, hash bigint) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_repeats_collect';
COMMENT ON FUNCTION stormops_internal.repeats_collect(internal, bigint) IS 'Of repeats_agg(): takes in a hash.';
CREATE FUNCTION stormops_internal.repeats_combine(state internal, other internal) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_repeats_combine';
COMMENT ON FUNCTION stormops_internal.repeats_combine(internal, internal) IS 'Of repeats_agg(): merges the states of parallel workers.';
CREATE FUNCTION stormops_internal.repeats_serialize(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_repeats_serialize';
COMMENT ON FUNCTION stormops_internal.repeats_serialize(internal) IS 'Of repeats_agg(): the state of a parallel worker, to be sent.';
CREATE FUNCTION stormops_internal.repeats_deserialize(sent bytea, state internal) RETURNS internal
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_repeats_deserialize';
COMMENT ON FUNCTION stormops_internal.repeats_deserialize(bytea, internal) IS 'Of repeats_agg(): the state of a parallel worker, as sent.';
CREATE FUNCTION stormops_internal.repeats_finish(state internal) RETURNS bigint[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_repeats_finish';
COMMENT ON FUNCTION stormops_internal.repeats_finish(internal) IS 'Of repeats_agg(): sorts, and keeps what comes more than once.';

CREATE AGGREGATE stormops_internal.repeats_agg(hash bigint) (
    SFUNC = stormops_internal.repeats_collect, STYPE = internal, FINALFUNC = stormops_internal.repeats_finish,
    COMBINEFUNC = stormops_internal.repeats_combine, SERIALFUNC = stormops_internal.repeats_serialize, DESERIALFUNC = stormops_internal.repeats_deserialize,
    PARALLEL = safe
);
COMMENT ON AGGREGATE stormops_internal.repeats_agg(bigint) IS 'The hashes that more than one row has, each once, in ascending order. NULL does not count; never NULL itself. 8 bytes a row. Error: 53200.';

CREATE FUNCTION stormops_internal.outside_collect(state internal, member uuid, at timestamptz, value double precision, lowest double precision, highest double precision) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_outside_collect';
COMMENT ON FUNCTION stormops_internal.outside_collect(internal, uuid, timestamptz, double precision, double precision, double precision) IS 'Of groups_outside(): takes in a value of a group.';
CREATE FUNCTION stormops_internal.outside_combine(state internal, other internal) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_outside_combine';
COMMENT ON FUNCTION stormops_internal.outside_combine(internal, internal) IS 'Of groups_outside(): merges the states of parallel workers.';
CREATE FUNCTION stormops_internal.outside_serialize(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_outside_serialize';
COMMENT ON FUNCTION stormops_internal.outside_serialize(internal) IS 'Of groups_outside(): the state of a parallel worker, to be sent.';
CREATE FUNCTION stormops_internal.outside_deserialize(sent bytea, state internal) RETURNS internal
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_outside_deserialize';
COMMENT ON FUNCTION stormops_internal.outside_deserialize(bytea, internal) IS 'Of groups_outside(): the state of a parallel worker, as sent.';
CREATE FUNCTION stormops_internal.outside_finish(state internal) RETURNS uuid[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_outside_finish';
COMMENT ON FUNCTION stormops_internal.outside_finish(internal) IS 'Of groups_outside(): compares the means.';

CREATE AGGREGATE stormops_internal.groups_outside(member uuid, at timestamptz, value double precision, lowest double precision, highest double precision) (
    SFUNC = stormops_internal.outside_collect, STYPE = internal, FINALFUNC = stormops_internal.outside_finish,
    COMBINEFUNC = stormops_internal.outside_combine, SERIALFUNC = stormops_internal.outside_serialize, DESERIALFUNC = stormops_internal.outside_deserialize,
    PARALLEL = safe
);
COMMENT ON AGGREGATE stormops_internal.groups_outside(uuid, timestamptz, double precision, double precision, double precision) IS 'The groups whose mean, of all their values or of those of the last moment, lies outside lowest to highest, which are the same in all rows; in ascending order. A row with a NULL does not count; never NULL itself. Error: 53200.';
