-- Of delivery/upgrade: the upgrade and what must hold after it, in one transaction. Variables: to, wait, accepted.
\set ON_ERROR_STOP on
BEGIN;
SELECT set_config('lock_timeout', :'wait', true) \g /dev/null
SET LOCAL client_min_messages = warning;

-- What failed before is not this upgrade's: it may stay as it is and must not grow.
CREATE TEMPORARY TABLE failing_before ON COMMIT DROP AS
SELECT a.property FROM stormops.attest() AS a WHERE NOT a.pass
UNION
SELECT a.property FROM string_to_table(trim(:'accepted'), ' ') AS a (property);
CREATE TEMPORARY TABLE critical_before ON COMMIT DROP AS
SELECT i.issue
FROM stormops.get_system_health(false) AS h CROSS JOIN LATERAL jsonb_to_recordset(h.issues) AS i (issue text, severity text)
WHERE i.severity = 'critical';

ALTER EXTENSION stormops UPDATE TO :"to";

DO $$
DECLARE
    worse text;
BEGIN
    SELECT string_agg(format('%s (%s)', a.property, a.evidence), '; ' ORDER BY a.property) INTO worse
    FROM stormops.attest() AS a
    WHERE NOT a.pass AND NOT EXISTS (SELECT FROM pg_temp.failing_before AS b WHERE b.property = a.property);
    IF worse IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'after the upgrade attest() fails: ' || worse,
            HINT = 'Nothing was changed. docs/security.md says what each is about: repair it, or let it be with --accept.';
    END IF;
    SELECT string_agg(i.issue, ', ' ORDER BY i.issue) INTO worse
    FROM stormops.get_system_health(false) AS h
    CROSS JOIN LATERAL jsonb_to_recordset(h.issues) AS i (issue text, severity text)
    -- What attest() says is judged above.
    WHERE i.severity = 'critical' AND i.issue <> 'installation' AND NOT EXISTS (SELECT FROM pg_temp.critical_before AS b WHERE b.issue = i.issue);
    IF worse IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'after the upgrade the system is critical: ' || worse,
            HINT = 'Nothing was changed. SELECT * FROM stormops.runbook(''<issue>''); says what to do.';
    END IF;
END
$$;
\ir smoke.sql
COMMIT;
