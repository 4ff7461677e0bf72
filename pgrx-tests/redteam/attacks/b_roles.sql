-- B. Roles, ownership, BYPASSRLS.

--# 29 | S1 | app, tapp | refused 42501 | naive holds
-- Nobody of use can become anybody else.
SET ROLE stormops_owner;
SET ROLE op;
SET ROLE postgres;

--# 29b | S1 | app | refused 42501 | naive holds
-- Not even somebody who may set the tenant.
SET ROLE tapp;

--# 30 | S1 | app, tapp | value=f | naive holds
-- There is nothing to fall back to.
RESET ROLE;
RESET SESSION AUTHORIZATION;
SELECT rolsuper OR rolbypassrls OR rolcreaterole FROM pg_roles WHERE rolname = current_user;

--# 31 | S1 | app, tapp | refused 42501 | naive holds
SET SESSION AUTHORIZATION postgres;

--# 32 | S1 | owner | value=0 | naive skips
-- The owner is under the policies too: a fault in one of its functions is no way out.
SELECT count(*) FROM stormops.:table WHERE tenant_id <> :'A';

--# 32b | S1 | owner | same | naive skips
-- Nor does it write outside.
:plant;

--# 33 | S1 | app, tapp | refused 42501 | naive holds
-- Taking the protection off takes the owner.
ALTER TABLE stormops.:table NO FORCE ROW LEVEL SECURITY;

--# 33b | S1 | app, tapp | refused 42501 | naive holds
ALTER TABLE stormops.:table DISABLE ROW LEVEL SECURITY;

--# 33c | S1 | app, tapp | refused 42501 | naive holds
CREATE POLICY mine ON stormops.:table USING (true);

--# 34 | S1 | app, tapp | refused 42501 | naive holds
-- Without row security there is an error, not a row.
SET LOCAL row_security = off;
SELECT * FROM stormops.:table;

--# 37 | S1 | nobody | refused 42501 | naive holds
-- A role that was granted nothing, once somebody lets it into the schema.
\superuser
GRANT USAGE ON SCHEMA stormops TO nobody;
\attacker
SELECT * FROM stormops.:relation;
\cleanup
REVOKE USAGE ON SCHEMA stormops FROM nobody;

--# 38 | OPS | superuser | rows=0 | naive skips
-- Everything is the powerless owner's.
SELECT relname FROM pg_class WHERE relnamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND relkind IN ('r', 'p', 'v', 'm', 'S') AND relowner <> 'stormops_owner'::regrole;

--# 39 | OPS | superuser | rows=0 | naive skips
-- Nobody can become the owner, and the owner nobody.
SELECT m.member::regrole FROM pg_auth_members AS m WHERE 'stormops_owner'::regrole IN (m.roleid, m.member) UNION ALL SELECT oid FROM pg_roles WHERE rolname = 'stormops_owner' AND (rolcanlogin OR rolsuper OR rolbypassrls OR rolcreaterole);

--# 40 | OPS | superuser | rows=0 | naive skips
-- Nobody with use is outside row security, or can make roles that are.
SELECT r.rolname FROM stormops_internal.granted_roles() AS g JOIN pg_roles AS r ON pg_has_role(g.grantee, r.oid, 'MEMBER') WHERE r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolreplication;

--# 40b | OPS | superuser | rows=0 | naive skips
-- The context is set by trusted applications only.
SELECT a.grantee::regrole FROM pg_parameter_acl AS p, aclexplode(p.paracl) AS a WHERE p.parname LIKE 'app.current%' AND a.grantee <> 10 AND a.grantee NOT IN (SELECT g.grantee FROM stormops_internal.granted_roles() AS g WHERE g.kind = 'trusted_app');

--# 41 | S1 | app, tapp | refused 42501 | naive holds
-- Triggers and references stay on.
SET session_replication_role = replica;
