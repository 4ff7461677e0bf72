-- Values that show nothing, and values that differ by nothing that shows: blanks, no-break spaces, marks of byte order.

CREATE FUNCTION stormops_internal.fold_blanks(value text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'fold_blanks_wrapper';
COMMENT ON FUNCTION stormops_internal.fold_blanks(text) IS 'A text as it shows: without characters that have no width, one blank between words and none around them; case and letters stay. NULL if it shows nothing.';

CREATE FUNCTION stormops_internal.shows_nothing(value text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'shows_nothing_wrapper';
COMMENT ON FUNCTION stormops_internal.shows_nothing(text) IS 'True of a text of blanks and characters without width only, and of an empty one.';

CREATE FUNCTION stormops_internal.is_text(table_name text, column_name text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT EXISTS (
        SELECT FROM pg_attribute AS a
        WHERE a.attrelid = to_regclass(format('stormops.%I', $1)) AND a.attname = $2 AND a.attnum > 0 AND a.atttypid = 'text'::regtype)
$$;
COMMENT ON FUNCTION stormops_internal.is_text(text, text) IS 'True if a column of a table is of type text, and so may hold blanks.';

CREATE FUNCTION stormops_internal.shown(table_name text, column_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT format(CASE WHEN stormops_internal.is_text($1, $2) THEN 'stormops_internal.fold_blanks(r.%I)' ELSE 'r.%I' END, $2) $$;
COMMENT ON FUNCTION stormops_internal.shown(text, text) IS 'An expression for the value of a column of a row r as it shows, by which rows are compared; NULL if it shows nothing.';

CREATE FUNCTION stormops_internal.blank_condition(table_name text, column_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT CASE WHEN stormops_internal.is_text($1, $2) THEN format('stormops_internal.shows_nothing(r.%I)', $2) ELSE 'false' END $$;
COMMENT ON FUNCTION stormops_internal.blank_condition(text, text) IS 'What is true of a row r whose value in a column is there and shows nothing.';
