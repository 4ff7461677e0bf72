-- Did treating work? Treated against held, where chance alone decided between the two.

CREATE FUNCTION stormops_internal.decisions_of(
    tenant_id uuid, storm_id uuid,
    OUT property_id uuid, OUT reason text, OUT treated boolean, OUT compared boolean, OUT has_outcome boolean, OUT converted boolean
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    SET jit = off -- without loops its cost is beyond all measure
    AS $$
    WITH run AS MATERIALIZED (
        SELECT r.run_id, (1 - (r.parameters ->> 'holdout')::float8) * (1 - (r.parameters ->> 'exploration')::float8) AS planned_rate
        FROM stormops.policy_runs AS r
        WHERE r.tenant_id = $1 AND r.storm_id = $2 AND r.superseded_at IS NULL
    ), decided AS (
        -- The chance of being treated, whatever was decided.
        SELECT d.property_id, d.reason, d.decision = 'treat' AS treated,
            CASE d.decision WHEN 'treat' THEN d.propensity ELSE 1 - d.propensity END AS treat_rate
        FROM stormops.policy_decisions_log AS d
        WHERE d.tenant_id = $1 AND d.run_id = (SELECT run.run_id FROM run) AND d.decision <> 'exclude'
    ), chosen AS MATERIALIZED (
        -- That of the rule's choice: all of it has one, which a capacity's swaps may have shifted.
        SELECT coalesce(max(d.treat_rate) FILTER (WHERE d.reason IN ('above_threshold', 'explore_hold')),
            (SELECT run.planned_rate FROM run)) AS treat_rate
        FROM decided AS d
    ), outcomes AS (
        SELECT o.property_id, bool_or(o.converted) AS converted
        FROM stormops.policy_outcomes AS o
        WHERE o.tenant_id = $1 AND o.run_id = (SELECT run.run_id FROM run) AND NOT o.late
        GROUP BY o.property_id
    )
    SELECT d.property_id, d.reason, d.treated, abs(d.treat_rate - (SELECT c.treat_rate FROM chosen AS c)) < 1e-9,
        o.property_id IS NOT NULL, coalesce(o.converted, false)
    FROM decided AS d LEFT JOIN outcomes AS o ON o.property_id = d.property_id
$$;
COMMENT ON FUNCTION stormops_internal.decisions_of(uuid, uuid) IS 'compared_decisions() of a tenant''s storm, as far as the caller sees it.';

CREATE FUNCTION stormops.compared_decisions(
    storm_id uuid,
    OUT property_id uuid, OUT reason text, OUT treated boolean, OUT compared boolean, OUT has_outcome boolean, OUT converted boolean
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$
    SELECT d.property_id, d.reason, d.treated, d.compared, d.has_outcome, d.converted FROM stormops_internal.decisions_of(stormops.current_tenant(), $1) AS d
$$;
COMMENT ON FUNCTION stormops.compared_decisions(uuid) IS 'The decided properties of a storm''s current run. compared: it was the rule''s choice to treat, as the logged propensity tells, so that chance alone (holdout, exploration) held some; with exploration 0.5 all are. converted: it did, within outcome_days of the decision.';

CREATE FUNCTION stormops_internal.conversion_counts(
    tenant_id uuid, storm_id uuid,
    OUT treated_n bigint, OUT treated_converted bigint, OUT control_n bigint, OUT control_converted bigint, OUT recorded bigint, OUT not_compared bigint
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- as decisions_of()
    SET jit = off
    AS $$
    -- Of blocks the dictionaries say how many there are, and only properties with an outcome are looked up.
    WITH run AS MATERIALIZED (
        SELECT r.run_id, (1 - (r.parameters ->> 'holdout')::float8) * (1 - (r.parameters ->> 'exploration')::float8) AS planned_rate
        FROM stormops.policy_runs AS r
        WHERE r.tenant_id = $1 AND r.storm_id = $2 AND r.superseded_at IS NULL
    ), class AS MATERIALIZED (
        SELECT b.first_property, c.class, c.n, c.reason, c.decision = 'treat' AS treated,
            CASE c.decision WHEN 'treat' THEN c.propensity ELSE 1 - c.propensity END AS treat_rate
        FROM stormops.policy_decision_blocks AS b
        CROSS JOIN LATERAL unnest(b.decisions, b.reasons, b.propensities, b.counts) WITH ORDINALITY AS c (decision, reason, propensity, n, class)
        WHERE b.tenant_id = $1 AND b.run_id = (SELECT run.run_id FROM run) AND c.decision <> 'exclude'
    ), chosen AS MATERIALIZED (
        SELECT coalesce(max(c.treat_rate) FILTER (WHERE c.reason IN ('above_threshold', 'explore_hold')), (SELECT run.planned_rate FROM run)) AS treat_rate
        FROM class AS c
    ), judged AS MATERIALIZED (
        SELECT c.first_property, c.class, c.n, c.treated, abs(c.treat_rate - (SELECT h.treat_rate FROM chosen AS h)) < 1e-9 AS compared FROM class AS c
    ), outcome AS MATERIALIZED (
        SELECT o.property_id, bool_or(o.converted) AS converted
        FROM stormops.policy_outcomes AS o
        WHERE o.tenant_id = $1 AND o.run_id = (SELECT run.run_id FROM run) AND NOT o.late
        GROUP BY o.property_id
    ), placed AS (
        SELECT b.first_property, f.class, f.property_id
        FROM stormops.policy_decision_blocks AS b
        CROSS JOIN LATERAL stormops_internal.find_decisions(b.first_property, b.last_property, b.property_ids, b.classes,
            (SELECT array_agg(o.property_id ORDER BY o.property_id) FROM outcome AS o)) AS f
        WHERE b.tenant_id = $1 AND b.run_id = (SELECT run.run_id FROM run)
    ), packed AS (
        SELECT coalesce(sum(j.n) FILTER (WHERE j.compared AND j.treated), 0) AS treated_n, 0::bigint AS treated_converted,
            coalesce(sum(j.n) FILTER (WHERE j.compared AND NOT j.treated), 0) AS control_n, 0::bigint AS control_converted, 0::bigint AS recorded,
            coalesce(sum(j.n) FILTER (WHERE NOT j.compared), 0) AS not_compared
        FROM judged AS j
        UNION ALL
        SELECT 0, count(*) FILTER (WHERE j.treated AND o.converted), 0, count(*) FILTER (WHERE NOT j.treated AND o.converted), count(*), 0
        FROM placed AS p JOIN judged AS j ON j.first_property = p.first_property AND j.class = p.class JOIN outcome AS o ON o.property_id = p.property_id
        WHERE j.compared
        UNION ALL
        -- A run that is kept row by row.
        SELECT count(*) FILTER (WHERE d.compared AND d.treated), count(*) FILTER (WHERE d.compared AND d.treated AND d.converted),
            count(*) FILTER (WHERE d.compared AND NOT d.treated), count(*) FILTER (WHERE d.compared AND NOT d.treated AND d.converted),
            count(*) FILTER (WHERE d.compared AND d.has_outcome), count(*) FILTER (WHERE NOT d.compared)
        FROM stormops_internal.decisions_of($1, $2) AS d
        WHERE EXISTS (SELECT FROM stormops.policy_decision_rows AS l WHERE l.tenant_id = $1 AND l.run_id = (SELECT run.run_id FROM run))
    )
    SELECT sum(p.treated_n)::bigint, sum(p.treated_converted)::bigint, sum(p.control_n)::bigint, sum(p.control_converted)::bigint,
        sum(p.recorded)::bigint, sum(p.not_compared)::bigint
    FROM packed AS p
$$;
COMMENT ON FUNCTION stormops_internal.conversion_counts(uuid, uuid) IS 'decisions_of() counted: compared, treated or not, of those converted, with an outcome; and those not compared.';

CREATE FUNCTION stormops_internal.conversion_rates_of(
    tenant_id uuid, storm_id uuid, min_lift double precision DEFAULT 0.05, alpha double precision DEFAULT 0.05,
    outcomes_final boolean DEFAULT false
) RETURNS stormops.conversion_rates
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling large statements costs more than it saves
    AS $$
    WITH run AS (
        SELECT r.run_id, r.decided_at + make_interval(days => (r.parameters ->> 'outcome_days')::integer) AS window_ends_at
        FROM stormops.policy_runs AS r
        WHERE r.tenant_id = $1 AND r.storm_id = $2 AND r.superseded_at IS NULL
    ), counted AS (
        SELECT d.* FROM stormops_internal.conversion_counts($1, $2) AS d
    ), so_far AS (
        SELECT n.*, r.run_id, r.window_ends_at, n.recorded > 0 OR $5 IS TRUE AS known,
            CASE WHEN $5 OR r.window_ends_at <= now() THEN 0 ELSE n.treated_n + n.control_n - n.recorded END AS awaiting
        FROM counted AS n LEFT JOIN run AS r ON true
    )
    SELECT CASE WHEN s.run_id IS NULL THEN 'no_policy' WHEN s.treated_n = 0 THEN 'no_treatment' WHEN s.control_n = 0 THEN 'no_control'
            ELSE c.status END,
        s.treated_n, s.treated_converted, c.treated_rate, s.control_n, s.control_converted, c.control_rate,
        c.lift, c.lift_low, c.lift_high, c.relative_lift, c.relative_low, c.relative_high, c.p_value, c.method,
        least(s.treated_n, s.control_n) < 30, v.verdict = 'anomaly', v.verdict, c.p_short, c.more_leads_needed, c.detectable_lift, c.lift < 0.05,
        c.always_valid_low, c.always_valid_high, c.always_valid_p, c.always_valid_anomaly AND s.awaiting = 0, c.probability_better,
        s.awaiting, s.window_ends_at, s.not_compared, s.run_id
    FROM so_far AS s
    -- How many leads there would be was known at the decision, before any outcome.
    CROSS JOIN LATERAL stormops.compare_proportions(
        CASE WHEN s.known THEN s.treated_converted END, CASE WHEN s.known THEN s.treated_n END,
        CASE WHEN s.known THEN s.control_converted END, CASE WHEN s.known THEN s.control_n END,
        $3, $4, greatest(s.treated_n + s.control_n, 1)) AS c
    -- What is still to come can only be called short when it has come.
    CROSS JOIN LATERAL (SELECT CASE WHEN s.awaiting > 0 AND c.verdict = 'anomaly' THEN 'inconclusive' ELSE c.verdict END AS verdict) AS v
$$;
COMMENT ON FUNCTION stormops_internal.conversion_rates_of(uuid, uuid, double precision, double precision, boolean) IS 'check_conversion_rates() of a tenant''s storm, as far as the caller sees it. Errors: 22023 min_lift or alpha.';

CREATE FUNCTION stormops.check_conversion_rates(
    storm_id uuid, min_lift double precision DEFAULT 0.05, alpha double precision DEFAULT 0.05, outcomes_final boolean DEFAULT false
) RETURNS stormops.conversion_rates
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    min_lift := coalesce(min_lift, 0.05);
    alpha := coalesce(alpha, 0.05);
    outcomes_final := coalesce(outcomes_final, false);
    PERFORM stormops_internal.require_storm(storm_id);
    RETURN stormops_internal.conversion_rates_of(stormops.current_tenant(), storm_id, min_lift, alpha, outcomes_final);
END
$$;
COMMENT ON FUNCTION stormops.check_conversion_rates(uuid, double precision, double precision, boolean) IS 'Did treating work? One row for the storm''s current run, comparing only properties that chance divided: lift = treated_rate - control_rate with its interval, p_value, verdict (ok, anomaly, inconclusive) against min_lift, and always_valid_* for repeated looks. status: ok, no_policy, no_treatment, no_control, no_outcomes. Errors: 22004; 22023 min_lift or alpha; P0002 no such storm in this tenant.';
