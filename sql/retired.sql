-- What CREATE OR REPLACE cannot change, dropped before an upgrade: a function whose result or argument names changed, with
-- the version that changed it. One that is simply gone needs no line here.

-- 0.2.0
DROP FUNCTION IF EXISTS stormops_internal.protected();
DROP FUNCTION IF EXISTS stormops_internal.has_use(text[]); -- no longer VARIADIC
DROP FUNCTION IF EXISTS stormops_internal.platform_counts();
