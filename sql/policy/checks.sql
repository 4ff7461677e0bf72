-- Whether what was decided is what was done, and does no harm: check_guardrails().

CREATE FUNCTION stormops_internal.rate_bounds(
    happened bigint, n bigint, alpha double precision
) RETURNS TABLE (low double precision, high double precision)
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 1
    AS 'MODULE_PATHNAME', 'rate_bounds_wrapper';
COMMENT ON FUNCTION stormops_internal.rate_bounds(bigint, bigint, double precision) IS 'One row: the always-valid interval of a rate, happened of n, at 1 - alpha, however often one looks (beta-binomial mixture); NULLs of none. Error: 22023 an argument.';

CREATE FUNCTION stormops_internal.opt_outs(run_id uuid, OUT property_id uuid) RETURNS SETOF uuid
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH run AS (
        SELECT r.decided_at, r.decided_at + make_interval(days => (r.parameters ->> 'outcome_days')::integer) AS until
        FROM stormops.policy_runs AS r WHERE r.tenant_id = stormops.current_tenant() AND r.run_id = $1
    )
    SELECT c.property_id FROM run AS r JOIN stormops.contact_consents AS c ON c.recorded_at >= r.decided_at AND c.recorded_at <= r.until
    WHERE c.tenant_id = stormops.current_tenant() AND NOT c.consented
    UNION
    SELECT j.property_id FROM run AS r JOIN stormops.customer_journeys AS j ON j.occurred_at >= r.decided_at AND j.occurred_at <= r.until
    WHERE j.tenant_id = stormops.current_tenant() AND j.direction = 'inbound' AND j.touch IN ('opt_out', 'unsubscribe', 'complaint')
$$;
COMMENT ON FUNCTION stormops_internal.opt_outs(uuid) IS 'The tenant''s properties that refused a channel (contact_consents) or sent an opt_out, unsubscribe or complaint since a run was decided, and within its outcome_days.';

CREATE FUNCTION stormops_internal.guardrail_counts(
    run_id uuid, OUT check_name text, OUT n bigint, OUT happened bigint, OUT threshold double precision, OUT is_exact boolean, OUT explanation text
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    SET jit = off -- without loops its cost is beyond all measure
    AS $$
    WITH run AS MATERIALIZED (
        SELECT r.storm_id, r.decided_at, r.parameters AS p,
            r.decided_at + make_interval(days => (r.parameters ->> 'outcome_days')::integer) AS until
        FROM stormops.policy_runs AS r WHERE r.tenant_id = stormops.current_tenant() AND r.run_id = $1
    ), converted AS (
        SELECT o.property_id, min(o.occurred_at) AS at FROM stormops.policy_outcomes AS o
        WHERE o.tenant_id = stormops.current_tenant() AND o.run_id = $1 AND o.converted GROUP BY o.property_id
    ), touched AS (
        -- Of this storm or of none, before the outcome: afterwards one speaks to a customer.
        SELECT DISTINCT j.property_id
        FROM stormops.customer_journeys AS j LEFT JOIN converted AS c ON c.property_id = j.property_id
        WHERE j.tenant_id = stormops.current_tenant() AND j.direction = 'outbound' AND j.touch <> 'conversion'
            AND coalesce(j.storm_id = (SELECT r.storm_id FROM run AS r), true)
            AND j.occurred_at >= (SELECT r.decided_at FROM run AS r) AND j.occurred_at <= (SELECT r.until FROM run AS r)
            AND j.occurred_at <= coalesce(c.at, 'infinity')
    ), controls AS (
        SELECT a.property_id, min(a.assigned_at) AS assigned_at
        FROM stormops.experiments AS e
        JOIN stormops.experiment_assignments AS a ON a.tenant_id = stormops.current_tenant() AND a.experiment_id = e.experiment_id AND a.arm = e.control
        WHERE e.tenant_id = stormops.current_tenant() AND e.untouched_control
            AND (e.status = 'running' OR a.assigned_at + make_interval(days => e.outcome_days) > (SELECT r.decided_at FROM run AS r))
        GROUP BY a.property_id
    ), elsewhere AS (
        -- Treated for another storm while this one's outcomes count.
        SELECT DISTINCT d.property_id
        FROM stormops.policy_runs AS r
        JOIN stormops.policy_decisions_log AS d ON d.tenant_id = stormops.current_tenant() AND d.run_id = r.run_id AND d.decision = 'treat'
        WHERE r.tenant_id = stormops.current_tenant() AND r.superseded_at IS NULL AND r.storm_id <> (SELECT o.storm_id FROM run AS o)
            AND r.decided_at >= (SELECT o.decided_at FROM run AS o) AND r.decided_at <= (SELECT o.until FROM run AS o)
    ), decided AS MATERIALIZED (
        SELECT d.decision, d.reason, t.property_id IS NOT NULL AS touched, o.property_id IS NOT NULL AS opted_out,
            c.assigned_at <= (SELECT r.decided_at FROM run AS r) AS is_control, e.property_id IS NOT NULL AS elsewhere,
            -- Of a run that came in from another tenant id nobody can tell.
            CASE WHEN (SELECT stormops_internal.draws_are_known(r.p) FROM run AS r)
                THEN stormops.draw(stormops.current_tenant(), d.storm_id, d.property_id, 'holdout') < (SELECT (r.p ->> 'holdout')::float8 FROM run AS r) END AS drawn
        FROM stormops.policy_decisions_log AS d
        LEFT JOIN touched AS t ON t.property_id = d.property_id
        LEFT JOIN stormops_internal.opt_outs($1) AS o ON o.property_id = d.property_id
        LEFT JOIN controls AS c ON c.property_id = d.property_id
        LEFT JOIN elsewhere AS e ON e.property_id = d.property_id
        WHERE d.tenant_id = stormops.current_tenant() AND d.run_id = $1
    ), caps AS (
        SELECT g.name, g.channel, g.most, g.since
        FROM stormops_internal.guardrail_rows(stormops_internal.guardrails_in_force()) AS g WHERE g.kind = 'frequency_cap'
    ), contacted AS (
        SELECT g.name, j.property_id, count(*) > min(g.most) AS is_over
        FROM caps AS g JOIN stormops.customer_journeys AS j ON j.tenant_id = stormops.current_tenant() AND j.direction = 'outbound'
            AND j.touch <> 'conversion' AND j.occurred_at > g.since AND coalesce(g.channel = j.channel, true)
        WHERE j.property_id IN (
            SELECT d.property_id FROM stormops.policy_decisions_log AS d WHERE d.tenant_id = stormops.current_tenant() AND d.run_id = $1)
        GROUP BY g.name, j.property_id
    )
    SELECT c.check_name, c.n, c.happened, c.threshold::float8, c.is_exact, c.explanation
    FROM (
        SELECT count(*) FILTER (WHERE d.reason = 'holdout') AS held_out, count(*) FILTER (WHERE d.reason = 'holdout' AND d.touched) AS held_out_touched,
            count(*) FILTER (WHERE d.reason = 'holdout' AND d.elsewhere) AS held_out_elsewhere,
            count(*) FILTER (WHERE d.is_control) AS control, count(*) FILTER (WHERE d.is_control AND d.decision = 'treat') AS control_treated,
            count(*) FILTER (WHERE d.is_control AND d.touched) AS control_touched,
            count(*) FILTER (WHERE d.decision = 'treat') AS treated, count(*) FILTER (WHERE d.decision = 'treat' AND NOT d.touched) AS untouched,
            count(*) FILTER (WHERE d.decision = 'treat' AND d.opted_out) AS treated_opted_out,
            count(*) FILTER (WHERE d.decision = 'hold') AS held, count(*) FILTER (WHERE d.decision = 'hold' AND d.touched) AS held_touched,
            count(*) FILTER (WHERE d.decision = 'exclude') AS excluded, count(*) FILTER (WHERE d.decision = 'exclude' AND d.touched) AS excluded_touched,
            count(*) FILTER (WHERE d.decision <> 'exclude' AND d.drawn IS NOT NULL) AS drawn, count(*) FILTER (WHERE d.decision <> 'exclude' AND d.drawn <> (d.reason = 'holdout')) AS misdrawn
        FROM decided AS d
    ) AS s CROSS JOIN LATERAL (VALUES
        ('holdout_touched', s.held_out, s.held_out_touched, 0.01, false, 'held out by chance, and contacted all the same: contamination'),
        ('holdout_treated_elsewhere', s.held_out, s.held_out_elsewhere, 0.01, false, 'held out by chance, and treated for another storm before the outcome'),
        ('holdout_draw', s.drawn, s.misdrawn, 0, true, 'held out or not otherwise than the draw says'),
        ('control_treated', s.control, s.control_treated, 0, true, 'control of an experiment, and decided treat'),
        ('control_touched', s.control, s.control_touched, 0.01, false, 'control of an experiment, and contacted'),
        ('treated_untouched', s.treated, s.untouched, 0.05, false, 'decided treat, and not contacted'),
        ('held_touched', s.held, s.held_touched, 0.01, false, 'decided hold, and contacted'),
        ('excluded_touched', s.excluded, s.excluded_touched, 0.01, false, 'excluded, and contacted'),
        ('opt_outs', s.treated, s.treated_opted_out, 0.01, false, 'treated, and then refused a channel or complained')
    ) AS c (check_name, n, happened, threshold, is_exact, explanation)
    UNION ALL
    SELECT 'over_cap', (SELECT count(*) FROM decided), count(o.property_id) FILTER (WHERE o.is_over), 0::float8, true,
        format('contacted more often than "%s" allows', g.name)
    FROM caps AS g LEFT JOIN contacted AS o ON o.name = g.name
    GROUP BY g.name
$$;
COMMENT ON FUNCTION stormops_internal.guardrail_counts(uuid) IS 'Of check_guardrails(): what is a share of properties. is_exact: one is one too many.';

CREATE FUNCTION stormops.check_guardrails(
    storm_id uuid, alpha double precision DEFAULT 0.05,
    OUT check_name text, OUT n bigint, OUT value double precision, OUT low double precision, OUT high double precision,
    OUT threshold double precision, OUT verdict text, OUT explanation text
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling large statements costs more than it saves
    AS $$
#variable_conflict use_column
DECLARE
    run record;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    alpha := coalesce(alpha, 0.05);
    PERFORM stormops_internal.require_storm($1);
    SELECT r.run_id, r.decided_at INTO run FROM stormops.policy_runs AS r
    WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = $1 AND r.superseded_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('storm %s has no policy applied', $1),
            HINT = 'SELECT * FROM stormops.apply_policy(storm_id);';
    END IF;
    RETURN QUERY
    SELECT c.check_name, c.n, c.happened::float8 / nullif(c.n, 0), CASE WHEN NOT c.is_exact THEN b.low END, CASE WHEN NOT c.is_exact THEN b.high END, c.threshold,
        CASE WHEN c.n = 0 THEN 'no_data'
            WHEN c.is_exact THEN CASE WHEN c.happened > 0 THEN 'alarm' ELSE 'ok' END
            -- Crews are still out.
            WHEN c.check_name = 'treated_untouched' AND run.decided_at > now() - interval '14 days' THEN 'awaiting'
            WHEN b.low > c.threshold THEN 'alarm' WHEN c.happened > c.threshold * c.n THEN 'warning' ELSE 'ok' END,
        c.explanation
    FROM stormops_internal.guardrail_counts(run.run_id) AS c
    CROSS JOIN LATERAL stormops_internal.rate_bounds(c.happened, c.n, $2) AS b
    UNION ALL
    -- Among those that chance alone divided.
    SELECT 'harm', s.treated + s.held, c.lift, c.always_valid_low, c.always_valid_high, 0,
        CASE WHEN c.lift IS NULL THEN 'no_data' WHEN c.always_valid_low > 0 THEN 'alarm' WHEN c.lift > 0 AND c.p_value < $2 THEN 'warning' ELSE 'ok' END,
        'opt-outs of the treated less those of the held'
    FROM (
        SELECT count(*) FILTER (WHERE d.treated) AS treated, count(*) FILTER (WHERE d.treated AND o.property_id IS NOT NULL) AS treated_out,
            count(*) FILTER (WHERE NOT d.treated) AS held, count(*) FILTER (WHERE NOT d.treated AND o.property_id IS NOT NULL) AS held_out
        FROM stormops.compared_decisions($1) AS d LEFT JOIN stormops_internal.opt_outs(run.run_id) AS o ON o.property_id = d.property_id
        WHERE d.compared
    ) AS s
    CROSS JOIN LATERAL stormops.compare_proportions(s.treated_out, s.treated, s.held_out, s.held, 0, $2, greatest(s.treated + s.held, 1)) AS c
    UNION ALL
    SELECT 'propensity_sum', s.n, s.treated, s.expected - 3.2905 * s.sd, s.expected + 3.2905 * s.sd, s.expected,
        CASE WHEN s.n = 0 THEN 'no_data' WHEN abs(s.treated - s.expected) > 3.2905 * s.sd + 1e-6 THEN 'alarm' ELSE 'ok' END,
        'treated properties, and as many as the logged propensities lead to expect'
    FROM (
        SELECT count(*) AS n, count(*) FILTER (WHERE p.treated)::float8 AS treated, coalesce(sum(p.rate), 0) AS expected, coalesce(sqrt(sum(p.rate * (1 - p.rate))), 0) AS sd
        FROM (
            SELECT d.decision = 'treat' AS treated, CASE d.decision WHEN 'treat' THEN d.propensity ELSE 1 - d.propensity END AS rate
            FROM stormops.policy_decisions_log AS d
            WHERE d.tenant_id = stormops.current_tenant() AND d.run_id = run.run_id AND d.decision <> 'exclude'
        ) AS p
    ) AS s;
END
$$;
COMMENT ON FUNCTION stormops.check_guardrails(uuid, double precision) IS 'Was what the storm''s current run decided done, and does it harm? A row a check: n properties, value (a share; of harm a difference, of propensity_sum a count), low, high (always valid at 1 - alpha; of propensity_sum 3.29 standard deviations), threshold, verdict: ok, warning, alarm, awaiting, no_data. See docs/guardrails.md. Errors: 22004; 22023 alpha; 55000 no policy applied; P0002 no such storm.';
