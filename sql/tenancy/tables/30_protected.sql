CREATE TABLE IF NOT EXISTS stormops_internal.protected_tables (
    relation     regclass PRIMARY KEY,
    least_roles  jsonb NOT NULL CHECK (jsonb_typeof(least_roles) = 'object'),
    owner_before regrole NOT NULL,
    protected_at timestamptz NOT NULL DEFAULT now(),
    protected_by name NOT NULL DEFAULT current_user
);
-- 0.2.0: by name. An OID comes out of a dump as a number once its table or role is dropped, and is then another's.
DO $$
BEGIN
    IF 'regclass'::regtype = (
        SELECT a.atttypid FROM pg_attribute AS a WHERE a.attrelid = 'stormops_internal.protected_tables'::regclass AND a.attname = 'relation'
    ) THEN
        DELETE FROM stormops_internal.protected_tables AS t WHERE NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = t.relation);
        ALTER TABLE stormops_internal.protected_tables
            ALTER COLUMN relation TYPE text USING relation::text,
            ALTER COLUMN owner_before TYPE text USING pg_get_userbyid(owner_before),
            ALTER COLUMN protected_by TYPE text;
    END IF;
END
$$;
COMMENT ON TABLE stormops_internal.protected_tables IS 'The database''s own tables that are under the regime of StormOps''. Written by protect() and unprotect().';
COMMENT ON COLUMN stormops_internal.protected_tables.relation IS 'The table, with its schema; one that is renamed is to be protected again.';
COMMENT ON COLUMN stormops_internal.protected_tables.least_roles IS 'Command to the least role that may: {"SELECT": "viewer", ...}. A command that is not there nobody may.';
COMMENT ON COLUMN stormops_internal.protected_tables.owner_before IS 'Whose it was; unprotect() gives it back.';
COMMENT ON COLUMN stormops_internal.protected_tables.protected_at IS 'When protect() was called.';
COMMENT ON COLUMN stormops_internal.protected_tables.protected_by IS 'Who called it.';
