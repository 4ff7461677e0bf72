-- What CREATE OR REPLACE cannot change, dropped before an upgrade: a function whose result or argument names changed, with
-- the version that changed it. One that is simply gone needs no line here.

-- 0.2.0
DROP FUNCTION IF EXISTS stormops.apply_policy(uuid, text, boolean); -- says on what basis, and the next
DROP FUNCTION IF EXISTS stormops.preview_policy(uuid, text);
DROP FUNCTION IF EXISTS stormops_internal.protected();
DROP FUNCTION IF EXISTS stormops_internal.has_use(text[]); -- no longer VARIADIC
DROP FUNCTION IF EXISTS stormops_internal.platform_counts(); -- says when the clock was ahead
DROP FUNCTION IF EXISTS stormops.check_table_health(text, interval); -- says how many values are blank
DROP FUNCTION IF EXISTS stormops_internal.row_quality(text, timestamptz);
DROP FUNCTION IF EXISTS stormops_internal.rules_at_places(stormops_internal.due_expectation[]);
DROP FUNCTION IF EXISTS stormops_internal.count_repeats(stormops_internal.due_expectation[], stormops_internal.judgement[]);
DROP FUNCTION IF EXISTS stormops.known_jobs(); -- text
DROP FUNCTION IF EXISTS stormops_internal.known_job(text);
DROP FUNCTION IF EXISTS stormops.rollup_usage(); -- no watermark, and usage_mark for usage_seq, from here to rate()
DROP FUNCTION IF EXISTS stormops.generate_invoice(uuid, text);
DROP FUNCTION IF EXISTS stormops_internal.measured_quantity(uuid, text, text, text, timestamptz, timestamptz, bigint);
DROP FUNCTION IF EXISTS stormops_internal.rated_quantities(uuid[], date[], text[], bigint);
DROP FUNCTION IF EXISTS stormops.rate(uuid[], date[], text[], bigint);
DROP FUNCTION IF EXISTS stormops_internal.fold_usage(bigint, bigint); -- or two that DROP ROUTINE cannot tell apart
DROP FUNCTION IF EXISTS stormops_internal.usage_by_hour(bigint, bigint);
DROP FUNCTION IF EXISTS stormops.usage_watermark(); -- whose owner nothing else would change
DROP FUNCTION IF EXISTS stormops.trust_issuer(text, text, jsonb, boolean, text, text, text); -- says what was left out
DROP FUNCTION IF EXISTS stormops_internal.read_jwks(text);
DROP FUNCTION IF EXISTS stormops_internal.policy_candidates(uuid, jsonb); -- says the area
DROP FUNCTION IF EXISTS stormops_internal.decisions_digest(uuid, uuid); -- counts nothing
