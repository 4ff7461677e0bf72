-- Who reaches a frequency cap, and who lives near somebody who was treated: each is one pass of the library, over the touches and
-- over the properties.

CREATE FUNCTION stormops_internal.capped_collect(
    state internal, property_id uuid, channel text, occurred_at timestamptz, counted uuid[], channels text[], since timestamptz[], most bigint[]
) RETURNS internal
    LANGUAGE c IMMUTABLE AS 'MODULE_PATHNAME', 'stormops_capped_collect';
COMMENT ON FUNCTION stormops_internal.capped_collect(internal, uuid, text, timestamptz, uuid[], text[], timestamptz[], bigint[]) IS 'Of capped_agg(): takes in a contact.';

CREATE FUNCTION stormops_internal.capped_finish(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE AS 'MODULE_PATHNAME', 'stormops_capped_finish';
COMMENT ON FUNCTION stormops_internal.capped_finish(internal) IS 'Of capped_agg(): tells who reaches a cap.';

CREATE AGGREGATE stormops_internal.capped_agg(
    property_id uuid, channel text, occurred_at timestamptz, counted uuid[], channels text[], since timestamptz[], most bigint[]
) (SFUNC = stormops_internal.capped_collect, STYPE = internal, FINALFUNC = stormops_internal.capped_finish);
COMMENT ON AGGREGATE stormops_internal.capped_agg(uuid, text, timestamptz, uuid[], text[], timestamptz[], bigint[]) IS 'Of contacts, in any order, which properties reach a cap, for capped_properties(). counted: the properties asked about. Of each cap, in order: channels (''=phone'', '''' for any), since, most. A contact without a channel is of any. Errors: 22023 arrays with a NULL or of different lengths; 53200; 54000 more than 255 caps.';

CREATE FUNCTION stormops_internal.capped_properties(capped bytea, OUT property_id uuid, OUT cap integer, OUT contacts double precision) RETURNS SETOF record
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 10000 AS 'MODULE_PATHNAME', 'stormops_capped_properties';
COMMENT ON FUNCTION stormops_internal.capped_properties(bytea) IS 'What capped_agg() or near_agg() found: a row for each property with the place, from 1, of the first cap or reach that it is within, and the number of its contacts. Error: 22023 other bytes.';

CREATE FUNCTION stormops_internal.near_collect(
    state internal, property_id uuid, x double precision, y double precision, z double precision, asked uuid[], treated uuid[],
    treated_at timestamptz[], since timestamptz[], chords double precision[]
) RETURNS internal
    LANGUAGE c IMMUTABLE AS 'MODULE_PATHNAME', 'stormops_near_collect';
COMMENT ON FUNCTION stormops_internal.near_collect(internal, uuid, double precision, double precision, double precision, uuid[], uuid[], timestamptz[], timestamptz[], double precision[]) IS 'Of near_agg(): takes in where a property is.';

CREATE FUNCTION stormops_internal.near_finish(state internal) RETURNS bytea
    LANGUAGE c IMMUTABLE AS 'MODULE_PATHNAME', 'stormops_near_finish';
COMMENT ON FUNCTION stormops_internal.near_finish(internal) IS 'Of near_agg(): tells who is near.';

CREATE AGGREGATE stormops_internal.near_agg(
    property_id uuid, x double precision, y double precision, z double precision, asked uuid[], treated uuid[],
    treated_at timestamptz[], since timestamptz[], chords double precision[]
) (SFUNC = stormops_internal.near_collect, STYPE = internal, FINALFUNC = stormops_internal.near_finish);
COMMENT ON AGGREGATE stormops_internal.near_agg(uuid, double precision, double precision, double precision, uuid[], uuid[], timestamptz[], timestamptz[], double precision[]) IS 'Of properties, each once, as point_of() places them, which of those asked about are within a distance (chords, in metres, straight) of another that was treated after a moment (since), for capped_properties(). treated, treated_at: each once, when last. Errors: 22023 arrays with a NULL or of different lengths; 53200.';
