CREATE TABLE IF NOT EXISTS stormops_internal.protected_tables (
    relation     regclass PRIMARY KEY,
    least_roles  jsonb NOT NULL CHECK (jsonb_typeof(least_roles) = 'object'),
    owner_before regrole NOT NULL,
    protected_at timestamptz NOT NULL DEFAULT now(),
    protected_by name NOT NULL DEFAULT current_user
);
COMMENT ON TABLE stormops_internal.protected_tables IS 'The database''s own tables that are under the regime of StormOps''. Written by protect() and unprotect().';
COMMENT ON COLUMN stormops_internal.protected_tables.relation IS 'The table.';
COMMENT ON COLUMN stormops_internal.protected_tables.least_roles IS 'Command to the least role that may: {"SELECT": "viewer", ...}. A command that is not there nobody may.';
COMMENT ON COLUMN stormops_internal.protected_tables.owner_before IS 'Whose it was; unprotect() gives it back.';
COMMENT ON COLUMN stormops_internal.protected_tables.protected_at IS 'When protect() was called.';
COMMENT ON COLUMN stormops_internal.protected_tables.protected_by IS 'Who called it.';
