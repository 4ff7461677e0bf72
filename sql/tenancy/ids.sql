-- Ids in the order of time.

CREATE FUNCTION stormops_internal.first_id_at(unix_milliseconds bigint) RETURNS uuid
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'first_id_at_wrapper';
COMMENT ON FUNCTION stormops_internal.first_id_at(bigint) IS 'The smallest UUID of version 7 of a moment, given in milliseconds since 1970: the bound of a partition by id.';

CREATE FUNCTION stormops_internal.milliseconds_of(id uuid) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'milliseconds_of_wrapper';
COMMENT ON FUNCTION stormops_internal.milliseconds_of(uuid) IS 'The moment of an id of version 7, in milliseconds since 1970.';

CREATE FUNCTION stormops.new_id() RETURNS uuid
    LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'new_id_wrapper';
COMMENT ON FUNCTION stormops.new_id() IS 'A UUID of version 7 (RFC 9562): unique, and in the order of time.';
