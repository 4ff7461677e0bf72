-- What both databases hold: the two tenants, each with an admin, a viewer in A, and a schema of the application's own,
-- the most that an application may reasonably have.
INSERT INTO stormops.tenants (tenant_id, org_name, name_key, tier) VALUES
    (:'A', 'Alpha Roofing', 'alpha', 'standard'),
    (:'B', 'BRAVO-SECRET Roofing', 'bravo', 'standard');
INSERT INTO stormops.users (tenant_id, user_id, email, role) VALUES
    (:'A', '00000000-0000-7000-8000-000000000007', 'chief@alpha.example', 'admin'),
    (:'A', '00000000-0000-7000-8000-000000000008', 'eye@alpha.example', 'viewer'),
    (:'B', '00000000-0000-7000-8000-000000000007', 'chief@BRAVO-SECRET.example', 'admin');
INSERT INTO stormops.policy_modes (tenant_id, policy_mode, confidence, exploration, holdout)
SELECT t, m.* FROM unnest(ARRAY[:'A', :'B']::uuid[]) AS t, stormops.default_policy_modes() AS m;
CREATE SCHEMA mallory;
GRANT ALL ON SCHEMA mallory TO app, tapp;
GRANT USAGE ON SCHEMA mallory TO PUBLIC; -- as schema public has: whoever runs its functions may look them up
-- Its statements name tables as the brief does.
GRANT USAGE ON SCHEMA stormops TO app, tapp;
