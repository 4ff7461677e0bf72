-- Functions of stormops_owner: who called them, and how they see every tenant's rows.

CREATE FUNCTION stormops_internal.calling_role() RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calling_role_wrapper';
COMMENT ON FUNCTION stormops_internal.calling_role() IS 'The database role in force outside every SECURITY DEFINER function: who called.';

CREATE FUNCTION stormops_internal.visit_all_tenants() RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'visit_all_tenants_wrapper';
COMMENT ON FUNCTION stormops_internal.visit_all_tenants() IS 'Lets the function of stormops_owner that calls it see every tenant''s rows until it returns. Errors: 42501 from anywhere else.';
