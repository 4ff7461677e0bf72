-- Pages to look at. What they show is gathered here; how it looks is Rust.

CREATE FUNCTION stormops.lift_over_time(
    storm_id uuid, most_points integer DEFAULT 60,
    OUT day integer, OUT treated_converted bigint, OUT control_converted bigint,
    OUT lift double precision, OUT always_valid_low double precision, OUT always_valid_high double precision
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    AS $$
    WITH run AS MATERIALIZED (
        SELECT r.run_id, r.decided_at, least(extract(epoch FROM now() - r.decided_at) / 86400,
            (r.parameters ->> 'outcome_days')::integer)::integer AS days
        FROM stormops.policy_runs AS r
        WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = $1 AND r.superseded_at IS NULL
    ), decided AS MATERIALIZED (
        SELECT d.property_id, d.treated FROM stormops.compared_decisions($1) AS d WHERE d.compared
    ), arms AS (
        SELECT count(*) FILTER (WHERE d.treated) AS treated_n, count(*) FILTER (WHERE NOT d.treated) AS control_n FROM decided AS d
    ), conversions AS (
        -- The first conversion of each property, in whole days after the decision.
        SELECT d.treated, ceil(extract(epoch FROM min(o.occurred_at) - (SELECT run.decided_at FROM run)) / 86400)::integer AS day
        FROM stormops.policy_outcomes AS o JOIN decided AS d ON d.property_id = o.property_id
        WHERE o.tenant_id = stormops.current_tenant() AND o.run_id = (SELECT run.run_id FROM run) AND NOT o.late AND o.converted
        GROUP BY o.property_id, d.treated
    ), by_day AS (
        SELECT c.day, count(*) FILTER (WHERE c.treated) AS treated, count(*) FILTER (WHERE NOT c.treated) AS control
        FROM conversions AS c GROUP BY c.day
    ), so_far AS (
        SELECT s.day, sum(coalesce(b.treated, 0)) OVER w AS treated, sum(coalesce(b.control, 0)) OVER w AS control,
            s.day = max(s.day) OVER () AS last
        FROM run CROSS JOIN generate_series(0, greatest(run.days, 1)) AS s (day) LEFT JOIN by_day AS b ON b.day = s.day
        WINDOW w AS (ORDER BY s.day)
    )
    SELECT s.day, s.treated::bigint, s.control::bigint, c.lift, c.always_valid_low, c.always_valid_high
    FROM so_far AS s CROSS JOIN arms AS a
    CROSS JOIN LATERAL stormops.compare_proportions(s.treated::bigint, a.treated_n, s.control::bigint, a.control_n,
        0.05, 0.05, greatest(a.treated_n + a.control_n, 1)) AS c
    WHERE (SELECT count(*) FROM conversions) > 0
        AND (s.last OR s.day % greatest(1, ceil((SELECT run.days FROM run) / greatest($2, 2)::numeric)::integer) = 0)
    ORDER BY s.day
$$;
COMMENT ON FUNCTION stormops.lift_over_time(uuid, integer) IS 'The lift of a storm''s current run so far, by days since the decision: conversions up to then of all that were compared (compared_decisions()), and the interval that holds at every look. At most about most_points rows (2 and more), the last day among them; no row before the first conversion. Errors: 0B000.';

CREATE FUNCTION stormops.health_report_data(storm_id uuid) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling large statements costs more than it saves
    AS $$
#variable_conflict use_variable
DECLARE
    report jsonb;
    scores record;
    reference record;
    low float8;
    high float8;
BEGIN
    PERFORM stormops.existing_storm(storm_id);
    SELECT jsonb_build_object('org_name', t.org_name, 'storm', s.name, 'storm_status', s.status,
        'made_at', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'))
    INTO report
    FROM stormops.storms AS s JOIN stormops.tenants AS t ON t.tenant_id = s.tenant_id
    WHERE s.tenant_id = stormops.current_tenant() AND s.storm_id = health_report_data.storm_id;

    SELECT s.* INTO scores FROM stormops.storm_scores(storm_id) AS s;
    SELECT r.* INTO reference FROM stormops.uplift_reference(storm_id, NULL, scores.model_version) AS r;
    IF stormops.n(scores.scores) > 0 THEN
        -- The middle of both, so that one stray score does not squeeze all others into a bin.
        SELECT min(stormops.quantile(x.sketch, 0.001)), max(stormops.quantile(x.sketch, 0.999)) INTO low, high
        FROM (VALUES (scores.scores), (reference.scores)) AS x (sketch) WHERE stormops.n(x.sketch) > 0;
        IF high <= low THEN
            high := low + 0.01;
        END IF;
        report := report || jsonb_build_object('scored', stormops.n(scores.scores), 'scores', (
            SELECT jsonb_build_object('n', d.n, 'mean', d.mean, 'sd', d.sd, 'severity', v.severity,
                'reference', reference.reference, 'low', low, 'high', high,
                'histogram', stormops.histogram(scores.scores, low, high, 30),
                'reference_histogram', coalesce(stormops.histogram(reference.scores, low, high, 30), '{}'))
            FROM stormops.describe(scores.scores) AS d CROSS JOIN stormops.drift_verdict(scores.scores, reference.scores) AS v
        ));
    END IF;

    report := report || coalesce((
        SELECT jsonb_build_object('run', jsonb_build_object('policy_mode', r.policy_mode,
            'decided_at', to_char(r.decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
            'treat', r.treat, 'hold', r.hold, 'excluded', r.excluded,
            'with_outcome', coalesce(sum(s.with_outcome) FILTER (WHERE s.decision = 'treat'), 0),
            'converted', coalesce(sum(s.converted) FILTER (WHERE s.decision = 'treat'), 0)))
        FROM stormops.policy_runs AS r LEFT JOIN stormops.storm_results AS s ON s.tenant_id = r.tenant_id AND s.run_id = r.run_id
        WHERE r.tenant_id = stormops.current_tenant() AND r.storm_id = health_report_data.storm_id AND r.superseded_at IS NULL
        GROUP BY r.tenant_id, r.run_id, r.policy_mode, r.decided_at, r.treat, r.hold, r.excluded
    ), '{}');

    report := report || jsonb_build_object(
        'rates', (SELECT to_jsonb(c) FROM stormops.check_conversion_rates(storm_id) AS c),
        'lift', (SELECT coalesce(jsonb_agg(jsonb_build_array(l.day, l.lift, l.always_valid_low, l.always_valid_high) ORDER BY l.day), '[]')
                 FROM stormops.lift_over_time(storm_id) AS l),
        'curve', (SELECT coalesce(jsonb_agg(jsonb_build_array(c.share, c.qini, c.qini_random) ORDER BY c.share), '[]')
                  FROM stormops.uplift_curve(storm_id, 60) AS c),
        'qini', (SELECT u.qini FROM stormops.uplift_summary(storm_id) AS u));
    RETURN report;
END
$$;
COMMENT ON FUNCTION stormops.health_report_data(uuid) IS 'What health_report_html() shows, as a JSON object.';

CREATE FUNCTION stormops.health_report_html(storm_id uuid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops.draw_health_report(stormops.health_report_data($1)) $$;
COMMENT ON FUNCTION stormops.health_report_html(uuid) IS 'A storm in one HTML page that needs nothing else: open issues with their runbook, treatment funnel, lift over time with its always-valid interval, score distribution against its reference, Qini curve, usage and bill. Light and dark, any width, every value escaped. psql: \o page.html, \pset format unaligned, \t. Errors: 0B000 no tenant, P0002 no such storm.';
