-- Names and addresses that a person would confuse.

CREATE FUNCTION stormops_internal.email_key(address text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'email_key_sql_wrapper';
COMMENT ON FUNCTION stormops_internal.email_key(text) IS 'The address with its domain in lower case; NULL if it is not name@domain.tld of at most 254 characters (RFC 5321).';

CREATE FUNCTION stormops_internal.name_key(name text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'name_key_sql_wrapper';
COMMENT ON FUNCTION stormops_internal.name_key(text) IS 'Folds a name so that two that a person would confuse are equal: case, white space, compatibility forms (NFKC), look-alike characters (Unicode Technical Standard 39, section 4). NULL if the name is longer than 200 characters, shows no letter or digit, or holds an invisible character.';

CREATE FUNCTION stormops_internal.tidy_name(name text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tidy_name_sql_wrapper';
COMMENT ON FUNCTION stormops_internal.tidy_name(text) IS 'The name with single blanks between its words and none around it.';
