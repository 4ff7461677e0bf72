-- Which channels a storm's conversions are credited to. The rules are Rust.

CREATE FUNCTION stormops_internal.attribution_take(
    state internal, property_id uuid, occurred_at timestamptz, channel text, converted boolean, value double precision,
    lookback double precision, half_life double precision
) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_attribution_take';
COMMENT ON FUNCTION stormops_internal.attribution_take(internal, uuid, timestamptz, text, boolean, double precision, double precision, double precision) IS 'Of attribution_agg(): takes in an event.';
CREATE FUNCTION stormops_internal.attribution_finish(state internal) RETURNS jsonb
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'stormops_attribution_finish';
COMMENT ON FUNCTION stormops_internal.attribution_finish(internal) IS 'Of attribution_agg(): ends the last journey and solves the chain.';

CREATE AGGREGATE stormops_internal.attribution_agg(
    property_id uuid, occurred_at timestamptz, channel text, converted boolean, value double precision,
    lookback double precision, half_life double precision
) (
    SFUNC = stormops_internal.attribution_take, STYPE = internal, FINALFUNC = stormops_internal.attribution_finish,
    FINALFUNC_MODIFY = READ_WRITE, PARALLEL = safe
);
COMMENT ON AGGREGATE stormops_internal.attribution_agg(uuid, timestamptz, text, boolean, double precision, double precision, double precision) IS 'Over touches (channel) and conversions (converted) in order of property_id, occurred_at, converted; lookback and half_life in seconds. A JSON object: conversions, journeys, days (credits of each model by day and channel), effects (of removal); or fault: more than 300 channels, or 200,000 days and channels. Errors: 22023 another order, not above 0; 53200.';

CREATE FUNCTION stormops_internal.attribution_of(tenant_id uuid, storm_id uuid, lookback interval, half_life interval) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling costs more than it saves
    AS $$
    SELECT stormops_internal.attribution_agg(e.property_id, e.occurred_at, e.channel, e.converted, e.value,
        (SELECT extract(epoch FROM $3)::float8), (SELECT extract(epoch FROM $4)::float8))
    FROM (
        SELECT s.property_id, s.occurred_at, s.channel, s.converted, s.value
        FROM (
            SELECT j.property_id, j.occurred_at, j.touch = 'conversion' AS converted, j.journey_id AS event_id, j.channel, j.value::float8 AS value
            FROM stormops.customer_journeys AS j WHERE j.tenant_id = $1 AND j.storm_id = $2
            UNION ALL
            SELECT o.property_id, o.occurred_at, true, o.outcome_id, NULL, o.value::float8
            FROM stormops.policy_outcomes AS o WHERE o.tenant_id = $1 AND o.storm_id = $2 AND o.converted AND NOT o.late
        ) AS s
        ORDER BY s.property_id, s.occurred_at, s.converted, s.event_id
    ) AS e
$$;
COMMENT ON FUNCTION stormops_internal.attribution_of(uuid, uuid, interval, interval) IS 'attribution_agg() over a storm''s journeys and converted outcomes, as far as the caller sees them; NULL without any.';

CREATE FUNCTION stormops.attribute_conversions(
    storm_id uuid, model text DEFAULT 'linear', lookback interval DEFAULT '90 days', half_life interval DEFAULT '7 days',
    OUT channel text, OUT credit double precision, OUT share double precision, OUT value double precision,
    OUT journeys bigint, OUT touches bigint, OUT removal_effect double precision, OUT conversions bigint,
    OUT lift double precision, OUT lift_low double precision, OUT lift_high double precision,
    OUT caused double precision, OUT caused_low double precision, OUT caused_high double precision
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    told jsonb;
    trial record;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    model := coalesce(nullif(model, ''), 'linear');
    lookback := coalesce(lookback, '90 days');
    half_life := coalesce(half_life, '7 days');
    PERFORM stormops_internal.require_storm(storm_id);
    IF model NOT IN ('first', 'last', 'linear', 'time_decay', 'position', 'markov', 'shapley') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('there is no model "%s"', left(model, 50)),
            HINT = 'The models are first, last, linear, time_decay, position, markov and shapley.';
    END IF;
    IF NOT lookback BETWEEN interval '1 minute' AND interval '3650 days' OR NOT half_life BETWEEN interval '1 minute' AND interval '3650 days' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'lookback and half_life are from 1 minute to 3650 days',
            HINT = 'SELECT * FROM stormops.attribute_conversions(storm_id, ''time_decay'', ''90 days'', ''7 days'');';
    END IF;
    told := stormops_internal.attribution_of(stormops.current_tenant(), storm_id, lookback, half_life);
    IF told ? 'fault' THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = told ->> 'fault',
            HINT = 'UPDATE stormops.customer_journeys SET channel = ...: a channel is a way, such as phone, and no campaign or person.';
    END IF;
    -- What treating did, by chance's division: a credit says which way conversions came, not what brought them about.
    trial := stormops_internal.conversion_rates_of(stormops.current_tenant(), storm_id);
    RETURN QUERY
        WITH credited AS (
            SELECT d.channel, sum((d.cell ->> CASE model WHEN 'markov' THEN 'linear' ELSE model END)::float8) AS credit,
                sum((d.cell ->> CASE model WHEN 'markov' THEN 'linear_value' ELSE model || '_value' END)::float8) AS value,
                sum((d.cell ->> 'journeys')::bigint)::bigint AS journeys, sum((d.cell ->> 'touches')::bigint)::bigint AS touches
            FROM (SELECT e.cell, e.cell ->> 'channel' AS channel FROM jsonb_array_elements(told -> 'days') AS e (cell)) AS d
            GROUP BY d.channel
        ), removed AS (
            SELECT r.channel, r.effect, r.effect / nullif(sum(r.effect) OVER (), 0) AS share
            FROM jsonb_to_recordset(told -> 'effects') AS r (channel text, effect float8)
        ), touched AS (
            SELECT coalesce(sum(c.credit), 0) AS credit, coalesce(sum(c.value), 0) AS value FROM credited AS c WHERE c.channel IS NOT NULL
        ), given AS (
            -- Every channel that was used, and the conversions that no touch came before.
            SELECT coalesce(r.channel, c.channel) AS channel, r.effect, coalesce(c.journeys, 0) AS journeys, coalesce(c.touches, 0) AS touches,
                CASE WHEN model = 'markov' AND r.channel IS NOT NULL THEN coalesce(t.credit * r.share, 0) ELSE coalesce(c.credit, 0) END AS credit,
                CASE WHEN model = 'markov' AND r.channel IS NOT NULL THEN coalesce(t.value * r.share, 0) ELSE coalesce(c.value, 0) END AS value
            FROM removed AS r FULL JOIN credited AS c ON c.channel = r.channel CROSS JOIN touched AS t
        )
        SELECT g.channel, g.credit, g.credit / nullif((told ->> 'conversions')::float8, 0), g.value, g.journeys, g.touches,
            CASE WHEN model = 'markov' THEN g.effect END, (told ->> 'conversions')::bigint,
            trial.lift, trial.lift_low, trial.lift_high,
            trial.lift * trial.treated_n, trial.lift_low * trial.treated_n, trial.lift_high * trial.treated_n
        FROM given AS g ORDER BY g.credit DESC, g.channel;
END
$$;
COMMENT ON FUNCTION stormops.attribute_conversions(uuid, text, interval, interval) IS 'Credits a storm''s conversions to channels: model first, last, linear, time_decay (half_life), position (40/20/40), markov, shapley. channel NULL: no touch within lookback. Credits add up to conversions. Beside it what chance tells: lift, and caused, jobs that treating brought, with 95 % intervals. Errors: 22004; 22023 model, interval; 53200; 54000 channels; P0002.';

CREATE FUNCTION stormops.attribute_days(days integer DEFAULT 3, OUT storms bigint, OUT written bigint, OUT removed bigint)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    AS $$
#variable_conflict use_variable
DECLARE
    since timestamptz;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    days := coalesce(days, 3);
    IF days NOT BETWEEN 1 AND 3650 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'days must be 1 to 3650', HINT = 'SELECT * FROM stormops.attribute_days(3);';
    END IF;
    since := date_trunc('day', now(), 'UTC') - make_interval(days => days);
    PERFORM stormops_internal.visit_all_tenants();
    -- Two at once stand in line here, and the second finds nothing to change. Nobody else writes the table.
    LOCK TABLE stormops.attribution_days IN SHARE ROW EXCLUSIVE MODE;
    WITH active AS (
        SELECT j.tenant_id, j.storm_id FROM stormops.customer_journeys AS j WHERE j.occurred_at >= since AND j.storm_id IS NOT NULL
        UNION
        SELECT o.tenant_id, o.storm_id FROM stormops.policy_outcomes AS o WHERE o.recorded_at >= since
    ), due AS MATERIALIZED (
        -- One that is just being deleted has its turn at the next call.
        SELECT s.tenant_id, s.storm_id
        FROM stormops.storms AS s JOIN stormops.tenants AS t ON t.tenant_id = s.tenant_id
        WHERE t.status = 'active' AND (s.tenant_id, s.storm_id) IN (SELECT a.tenant_id, a.storm_id FROM active AS a)
        ORDER BY s.tenant_id, s.storm_id
        FOR KEY SHARE OF s SKIP LOCKED
    ), attributed AS MATERIALIZED (
        -- One that has too many channels keeps the days that it has.
        SELECT d.tenant_id, d.storm_id, a.told
        FROM due AS d CROSS JOIN LATERAL stormops_internal.attribution_of(d.tenant_id, d.storm_id, '90 days', '7 days') AS a (told)
        WHERE NOT coalesce(a.told ? 'fault', false)
    ), credited AS MATERIALIZED (
        SELECT d.tenant_id, d.storm_id, date '2000-01-01' + (e.cell ->> 'day')::integer AS day, m.model, coalesce(e.cell ->> 'channel', '') AS channel,
            sum((e.cell ->> m.model)::float8) AS credit, sum((e.cell ->> (m.model || '_value'))::float8) AS value,
            sum((e.cell ->> 'journeys')::bigint)::bigint AS journeys, sum((e.cell ->> 'touches')::bigint)::bigint AS touches
        FROM attributed AS d
        CROSS JOIN LATERAL jsonb_array_elements(d.told -> 'days') AS e (cell)
        CROSS JOIN unnest('{first,last,linear,time_decay,position,shapley}'::text[]) AS m (model)
        GROUP BY 1, 2, 3, 4, 5
    ), gone AS (
        DELETE FROM stormops.attribution_days AS x USING attributed AS d
        WHERE x.tenant_id = d.tenant_id AND x.storm_id = d.storm_id AND NOT EXISTS (
            SELECT FROM credited AS c
            WHERE (c.tenant_id, c.storm_id, c.day, c.model, c.channel) = (x.tenant_id, x.storm_id, x.day, x.model, x.channel))
        RETURNING 1
    ), came AS (
        INSERT INTO stormops.attribution_days AS x (tenant_id, storm_id, day, model, channel, credit, value, journeys, touches, computed_at)
        SELECT c.tenant_id, c.storm_id, c.day, c.model, c.channel, c.credit, c.value, c.journeys, c.touches, now() FROM credited AS c
        ON CONFLICT ON CONSTRAINT attribution_days_pkey DO UPDATE
        SET credit = EXCLUDED.credit, value = EXCLUDED.value, journeys = EXCLUDED.journeys, touches = EXCLUDED.touches, computed_at = EXCLUDED.computed_at
        WHERE (x.credit, x.value, x.journeys, x.touches) IS DISTINCT FROM (EXCLUDED.credit, EXCLUDED.value, EXCLUDED.journeys, EXCLUDED.touches)
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM attributed), (SELECT count(*) FROM came), (SELECT count(*) FROM gone) INTO storms, written, removed;
END
$$;
COMMENT ON FUNCTION stormops.attribute_days(integer) IS 'Fills attribution_days for every storm of an active tenant to which a touch or an outcome came in the last so many days, all days of those storms: late ones too. Twice, or beside itself, it gives what once gives. Returns storms looked at, rows written (new or changed), removed. For operators and schedules. Error: 22023.';
