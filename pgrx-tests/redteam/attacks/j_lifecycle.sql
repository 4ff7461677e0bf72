-- J. Lifecycle, quota, export, erasure.

--# 158 | S1 | app, tapp | refused 55000 | naive skips
-- A suspended tenant does not write, from its next statement on.
SELECT count(*) FROM stormops.storms;
UPDATE stormops.storms SET name = 'before';
\operator
SELECT * FROM stormops.suspend_tenant(:'A', 'test');
\attacker
UPDATE stormops.storms SET name = 'after';
\cleanup
SELECT stormops.reactivate_tenant(:'A');
DELETE FROM stormops.tenant_events WHERE action IN ('suspend', 'reactivate');

--# 159 | S2 | tapp | refused 55000 | naive skips
-- Nor does a snapshot from before outlive the closing.
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL app.current_tenant = :'A';
SELECT count(*) FROM stormops.storms;
\operator
SELECT * FROM stormops.close_tenant(:'A', 'test');
\attacker
SELECT name FROM stormops.storms;

--# 159b | S2 | app | refused 55000 | naive skips
-- An open cursor or a prepared statement neither.
PREPARE q AS SELECT name FROM stormops.storms;
EXECUTE q;
\operator
SELECT * FROM stormops.close_tenant(:'A', 'test');
\attacker
EXECUTE q;

--# 160 | S1 | app, tapp | refused 42501
-- Nobody lifts the own suspension or the own tier.
UPDATE stormops.tenants SET status = 'active', tier = 'enterprise'; COMMIT;
INSERT INTO stormops.tenants (tenant_id, org_name, tier) VALUES (:'id9', 'Mine', 'enterprise'); COMMIT;
DELETE FROM stormops.tenants; COMMIT;

--# 161 | S1 | superuser | refused 55000 | naive skips
-- No step that is not on the list, whoever takes it.
BEGIN;
UPDATE stormops.tenants SET status = 'closed' WHERE tenant_id = :'A';
UPDATE stormops.tenants SET status = 'active' WHERE tenant_id = :'A';

--# 162 | S1 | superuser | refused 55000 | naive skips
-- No id is used twice, since none goes.
BEGIN;
DELETE FROM stormops.tenants WHERE tenant_id = :'A';
TRUNCATE stormops.tenants CASCADE;

--# 164 | S1 | app, tapp | refused 42501 | naive skips
-- Provisioning.
SELECT * FROM stormops.provision_tenant('Mallory Roofing', 'enterprise', 'mallory@alpha.example');

--# 165 | S1 | app, tapp | same | naive skips
-- An export counts the own rows only.
SELECT * FROM stormops.export_tenant_data();
SELECT * FROM stormops.export_tenant_data(:'A');

--# 166b | S1 | app, tapp | refused 42501 | naive skips
-- Another tenant's rows as a file or a sheet, its erasure, or a file brought in over it.
SELECT count(*) FROM stormops.export_tenant_rows(:'B');
SELECT count(*) FROM stormops.export_table_csv('properties', :'B');
SELECT * FROM stormops.erase_tenant(:'B');
SELECT stormops.import_tenant_rows('{"format":"stormops tenant","version":1,"tenant_id":"' || :'B' || '"}');

--# 166c | S1 | op, mon | refused 42501 | naive skips
-- Operators and monitors take no tenant's rows out: that, too, is what break-glass is for.
SELECT count(*) FROM stormops.export_table_csv('properties', :'B');
SELECT count(*) FROM stormops.export_tenant_rows(:'B');

--# 166d | S1 | app, tapp | same | naive skips
-- A property that only the victim has, and one that both have.
SELECT * FROM stormops.erase_property(:'id2'); COMMIT;

--# 167 | S1 | app, tapp | same | naive skips
-- A tenant inside a payload.
SELECT * FROM stormops.record_outcomes(:'id1', '[{"tenant_id": "00000000-0000-7000-8000-0000000b0000", "property_id": "00000000-0000-7000-8000-000000000002", "converted": true}]'); COMMIT;

--# 171 | S1 | app, tapp | refused 42501 permission denied | naive skips
-- What is metered stays metered.
DELETE FROM stormops.tenant_usage;
UPDATE stormops.tenant_usage SET metric_value = 0;

--# 173 | S1 | app, tapp | refused 42501/42883 | naive skips
-- Another tenant's bill.
SELECT * FROM stormops.get_tenant_usage(:'B', 30);

--# 174 | S1 | viewer | rows=0 | naive skips
-- A viewer reads what viewers read, and changes nothing.
:forbidden_rows;

--# 174b | S1 | viewer | refused 42501 | naive skips
:forbidden_insert;

--# 174c | S1 | viewer | refused 42501 | naive skips
-- Nor through functions.
SELECT stormops.set_user_role(:'id8', 'admin');
SELECT * FROM stormops.export_tenant_data();
SELECT * FROM stormops.apply_policy(:'id1', 'moderate');

--# 174d | S1 | app, tapp | same
-- Users of one tenant through a function that forgets the tenant. The same in both.
SELECT stormops.add_user('ceo@BRAVO.example', 'viewer') IS NULL;
SELECT full_name, email FROM stormops.users WHERE email LIKE 'twin2%';
INSERT INTO stormops.users (tenant_id, user_id, email, role) VALUES (:'A', :'id2', 'twin2@twin.example', 'admin');

--# 175 | S1 | app, tapp | refused 42501 permission denied | naive skips
-- The log is written by functions and changed by nobody.
INSERT INTO stormops.policy_decision_blocks (tenant_id) VALUES (:'A');
DELETE FROM stormops.policy_decision_blocks;
UPDATE stormops.policy_decision_blocks SET decided_at = 'infinity';

--# 175b | S1 | app, tapp | refused 42501 permission denied | naive skips
INSERT INTO stormops.tenant_events (tenant_id, event_id, action, actor) VALUES (:'A', :'id9', 'close', 'op');
DELETE FROM stormops.tenant_events;
UPDATE stormops.tenant_events SET actor = 'op';

--# 175c | S1 | app, tapp | refused 42501 permission denied | naive skips
-- And what 0.1.0 wrote of it.
INSERT INTO stormops.policy_decision_rows (tenant_id) VALUES (:'A');
DELETE FROM stormops.policy_decision_rows;
UPDATE stormops.policy_decision_rows SET decided_at = 'infinity';

--# 177 | S1 | op, mon | refused 42501/0B000 | naive skips
-- Operators and monitors have no tenant's rows: what break-glass lets an operator read is refused without it.
SELECT * FROM stormops.:relation;
