CREATE TABLE IF NOT EXISTS stormops.tenants (
    tenant_id         uuid PRIMARY KEY,
    org_name          text NOT NULL CHECK (char_length(org_name) BETWEEN 1 AND 200),
    name_key          text NOT NULL UNIQUE CHECK (char_length(name_key) <= 1000),
    tier              text NOT NULL CHECK (tier IN ('trial', 'standard', 'enterprise')),
    status            text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'closed')),
    created_at        timestamptz NOT NULL DEFAULT now() CHECK (isfinite(created_at)),
    status_changed_at timestamptz NOT NULL DEFAULT now() CHECK (isfinite(status_changed_at)),
    trial_ends_at     timestamptz CHECK (isfinite(trial_ends_at)),
    CHECK ((tier = 'trial') = (trial_ends_at IS NOT NULL))
);
ALTER TABLE stormops.tenants ALTER COLUMN tenant_id SET DEFAULT stormops.new_id();
CREATE OR REPLACE TRIGGER announce_standing AFTER DELETE OR UPDATE ON stormops.tenants
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.announce_standing();
CREATE OR REPLACE TRIGGER legal_step BEFORE INSERT OR DELETE OR UPDATE ON stormops.tenants
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.legal_step();
CREATE OR REPLACE TRIGGER legal_truncate BEFORE TRUNCATE ON stormops.tenants
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.legal_step();
COMMENT ON TABLE stormops.tenants IS 'The organisations. Rows come from provision_tenant() and change by suspend_tenant(), reactivate_tenant(), close_tenant(); none is ever deleted, so that an id or a name is never used twice.';
COMMENT ON COLUMN stormops.tenants.tenant_id IS 'UUID version 7, made by the server.';
COMMENT ON COLUMN stormops.tenants.org_name IS 'Name of the organisation, 1 to 200 characters.';
COMMENT ON COLUMN stormops.tenants.name_key IS 'name_key(org_name): equal for names that a person would confuse; unique over all tenants, closed ones too. No tenant can insert here, so it is no oracle.';
COMMENT ON COLUMN stormops.tenants.tier IS 'trial, standard or enterprise.';
COMMENT ON COLUMN stormops.tenants.status IS 'active: reads and writes; suspended: reads only; closed: neither.';
COMMENT ON COLUMN stormops.tenants.created_at IS 'When the tenant was provisioned.';
COMMENT ON COLUMN stormops.tenants.status_changed_at IS 'When the status last changed.';
COMMENT ON COLUMN stormops.tenants.trial_ends_at IS 'End of the trial; set for the trial tier only.';

CREATE TABLE IF NOT EXISTS stormops.tenant_events (
    tenant_id   uuid NOT NULL REFERENCES stormops.tenants,
    event_id    uuid NOT NULL,
    happened_at timestamptz NOT NULL DEFAULT clock_timestamp() CHECK (isfinite(happened_at)),
    action      text NOT NULL CHECK (char_length(action) BETWEEN 1 AND 50),
    from_status text,
    to_status   text,
    user_id     uuid,
    reason      text CHECK (char_length(reason) <= 500),
    actor       text NOT NULL CHECK (char_length(actor) <= 63),
    acting_user uuid,
    PRIMARY KEY (tenant_id, event_id)
);
ALTER TABLE stormops.tenant_events ALTER COLUMN event_id SET DEFAULT stormops.new_id();
-- Deferred, so that a chain is held from the first entry to the commit and no longer.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = 'stormops.tenant_events'::regclass AND g.tgname = 'enter_event') THEN
        CREATE CONSTRAINT TRIGGER enter_event AFTER INSERT ON stormops.tenant_events DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION stormops_internal.enter_event();
    END IF;
END
$$;
COMMENT ON TABLE stormops.tenant_events IS 'Who did what to a tenant and its users, and why. Append-only.';
COMMENT ON COLUMN stormops.tenant_events.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.tenant_events.event_id IS 'UUID version 7: in the order of time.';
COMMENT ON COLUMN stormops.tenant_events.happened_at IS 'Server time.';
COMMENT ON COLUMN stormops.tenant_events.action IS 'provision, suspend, reactivate, close, add_user, set_user_role, remove_user, issue_token, open_break_glass, close_break_glass.';
COMMENT ON COLUMN stormops.tenant_events.from_status IS 'Status of the tenant, or role of the user, before.';
COMMENT ON COLUMN stormops.tenant_events.to_status IS 'Status of the tenant, or role of the user, after.';
COMMENT ON COLUMN stormops.tenant_events.user_id IS 'The user concerned, for actions on users.';
COMMENT ON COLUMN stormops.tenant_events.reason IS 'Why, in the words of whoever did it.';
COMMENT ON COLUMN stormops.tenant_events.actor IS 'The database role that called.';
COMMENT ON COLUMN stormops.tenant_events.acting_user IS 'The tenant''s user on whose behalf it called, if the context named one.';

CREATE TABLE IF NOT EXISTS stormops.users (
    tenant_id  uuid NOT NULL REFERENCES stormops.tenants,
    user_id    uuid NOT NULL,
    email      text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 254),
    full_name  text CHECK (char_length(full_name) BETWEEN 1 AND 200),
    role       text CHECK (role IN ('admin', 'crew_chief', 'field_user', 'viewer')),
    created_at timestamptz NOT NULL DEFAULT now() CHECK (isfinite(created_at)),
    removed_at timestamptz CHECK (isfinite(removed_at)),
    PRIMARY KEY (tenant_id, user_id),
    CHECK ((role IS NULL) = (removed_at IS NOT NULL))
);
-- 0.2.0: by "C", where I and i are one letter in every locale.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_indexes AS i WHERE i.schemaname = 'stormops' AND i.indexname = 'users_email_key' AND i.indexdef LIKE '%COLLATE "C"%') THEN
        DROP INDEX IF EXISTS stormops.users_email_key;
        CREATE UNIQUE INDEX users_email_key ON stormops.users (tenant_id, lower(email COLLATE "C")) WHERE removed_at IS NULL;
    END IF;
END
$$;
ALTER TABLE stormops.users ALTER COLUMN user_id SET DEFAULT stormops.new_id();
CREATE OR REPLACE TRIGGER announce_standing AFTER DELETE OR UPDATE ON stormops.users
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.announce_standing();
COMMENT ON TABLE stormops.users IS 'People of a tenant and their roles. Written by add_user(), set_user_role() and remove_user(); a removed user keeps the row and loses the role.';
COMMENT ON COLUMN stormops.users.tenant_id IS 'The tenant that the user belongs to.';
COMMENT ON COLUMN stormops.users.user_id IS 'UUID version 7, made by the server; app.current_user_id names it.';
COMMENT ON COLUMN stormops.users.email IS 'Address, unique within the tenant without regard to case.';
COMMENT ON COLUMN stormops.users.full_name IS 'Name for people to read, 1 to 200 characters.';
COMMENT ON COLUMN stormops.users.role IS 'admin, crew_chief, field_user or viewer (see role_matrix()); NULL once removed.';
COMMENT ON COLUMN stormops.users.created_at IS 'When the user was added.';
COMMENT ON COLUMN stormops.users.removed_at IS 'When the user was removed.';

-- Written by every change of users, for which they stand in line.
CREATE TABLE IF NOT EXISTS stormops_internal.user_changes (
    for_tenant uuid PRIMARY KEY REFERENCES stormops.tenants,
    changes    bigint NOT NULL CHECK (changes > 0)
);
COMMENT ON TABLE stormops_internal.user_changes IS 'How often a tenant''s users changed: the row that two changes at once take in turn.';
COMMENT ON COLUMN stormops_internal.user_changes.for_tenant IS 'The tenant.';
COMMENT ON COLUMN stormops_internal.user_changes.changes IS 'The changes so far.';

CREATE TABLE IF NOT EXISTS stormops_internal.usage_grants (
    grantee    regrole PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('app', 'trusted_app', 'operator', 'monitor')),
    granted_at timestamptz NOT NULL DEFAULT now(),
    granted_by name NOT NULL DEFAULT current_user
);
-- 0.2.0: by name. An OID comes out of a dump as a number once its role is dropped, and is then another role's.
ALTER TABLE stormops_internal.usage_grants ADD COLUMN IF NOT EXISTS role_name text;
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_attribute AS a
        WHERE a.attrelid = 'stormops_internal.usage_grants'::regclass AND a.attname = 'grantee' AND NOT a.attisdropped
    ) THEN
        DELETE FROM stormops_internal.usage_grants AS g WHERE NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = g.grantee);
        UPDATE stormops_internal.usage_grants AS g SET role_name = r.rolname FROM pg_roles AS r WHERE r.oid = g.grantee;
        ALTER TABLE stormops_internal.usage_grants DROP COLUMN grantee, ADD PRIMARY KEY (role_name), ALTER COLUMN granted_by TYPE text;
    END IF;
END
$$;
COMMENT ON TABLE stormops_internal.usage_grants IS 'Which database role has which kind of use. Written by grant_usage() and revoke_usage().';
COMMENT ON COLUMN stormops_internal.usage_grants.role_name IS 'The database role. It has use while it also holds USAGE of schema stormops, which DROP OWNED takes and a new role of the name does not have.';
COMMENT ON COLUMN stormops_internal.usage_grants.kind IS 'app, trusted_app, operator or monitor.';
COMMENT ON COLUMN stormops_internal.usage_grants.granted_at IS 'When it was granted.';
COMMENT ON COLUMN stormops_internal.usage_grants.granted_by IS 'Who granted it.';
