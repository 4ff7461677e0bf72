-- Of delivery/upgrade: the upgrade and what must hold after it, in one transaction. Variables: to, wait.
\set ON_ERROR_STOP on
BEGIN;
SELECT set_config('lock_timeout', :'wait', true) \g /dev/null
SET LOCAL client_min_messages = warning;

-- What failed before is not this upgrade's: it may stay as it is and must not grow.
CREATE TEMPORARY TABLE failing_before ON COMMIT DROP AS
SELECT a.property, a.evidence FROM stormops.attest() AS a WHERE NOT a.pass;

ALTER EXTENSION stormops UPDATE TO :"to";

DO $$
DECLARE
    worse text;
    health record;
BEGIN
    SELECT string_agg(format('%s (%s)', a.property, a.evidence), '; ' ORDER BY a.property) INTO worse
    FROM stormops.attest() AS a
    WHERE NOT a.pass AND NOT EXISTS (SELECT FROM pg_temp.failing_before AS b WHERE b.property = a.property);
    IF worse IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'after the upgrade attest() fails: ' || worse,
            HINT = 'Nothing was changed. SELECT * FROM stormops.attest() WHERE NOT pass; says what to do about each.';
    END IF;
    -- What attest() says is judged above: of it the rest may have been so before.
    SELECT jsonb_agg(i.issue) AS issues INTO health
    FROM stormops.get_system_health(false) AS h CROSS JOIN LATERAL jsonb_array_elements(h.issues) AS i (issue)
    WHERE i.issue ->> 'severity' = 'critical' AND i.issue ->> 'issue' <> 'installation';
    IF health.issues IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('after the upgrade the system is critical: %s', health.issues),
            HINT = 'Nothing was changed. SELECT * FROM stormops.runbook(''<issue>''); says what to do.';
    END IF;
END
$$;
\ir smoke.sql
COMMIT;
