-- What the log says of a mode's parameters. It proposes; a person decides.

CREATE FUNCTION stormops_internal.logged_sides(
    include_open boolean,
    OUT runs bigint, OUT decided bigint, OUT above bigint, OUT below bigint, OUT held bigint, OUT held_conversions bigint
)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off -- compiling costs more than it saves
    SET enable_nestloop = off -- tables filled a moment ago have no statistics, and look small enough to loop over
    AS $$
    SELECT count(DISTINCT d.run_id), count(*),
        count(*) FILTER (WHERE d.treat_chance >= 0.5),
        count(*) FILTER (WHERE d.treat_chance < 0.5),
        count(*) FILTER (WHERE d.decision = 'hold' AND d.propensity < 1),
        count(*) FILTER (WHERE d.decision = 'hold' AND d.propensity < 1 AND d.converted)
    FROM stormops_internal.answered_decisions($1) AS d
$$;
COMMENT ON FUNCTION stormops_internal.logged_sides(boolean) IS 'Decisions of the storms whose outcomes are complete (include_open: of all) that the rule rather treats (above) and rather holds (below), and what came of those that chance held.';

CREATE FUNCTION stormops_internal.exploration_needed(
    conversion_rate double precision, effect double precision, above double precision, below double precision, holdout double precision
) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    SET search_path = pg_catalog, pg_temp
    AS $$
    -- An arm with share s of n cases shows an effect with 80 % power at 5 % if v / (n s (1 - s)) <= (effect / 2.8)^2.
    SELECT CASE WHEN greatest(n.above, n.below) <= 0.25 THEN round(greatest(
            (1 - sqrt(1 - 4 * n.below)) / 2 / (1 - $5), ((1 - sqrt(1 - 4 * n.above)) / 2 - $5) / (1 - $5), 0.02 / (1 - $5))::numeric + 0.0005, 3)::float8
        END
    FROM (
        SELECT v.v / nullif($3, 0) AS above, v.v / nullif($4, 0) AS below
        FROM (SELECT $1 * (1 - $1) / nullif(($2 / 2.8) ^ 2, 0) AS v) AS v
    ) AS n
$$;
COMMENT ON FUNCTION stormops_internal.exploration_needed(double precision, double precision, double precision, double precision, double precision) IS 'The least exploration with which so many decisions on both sides of the rule show an effect of this size, with 80 % power at 5 %, beside a holdout; at least so much that P(treat) is 0.02. NULL: none does.';

CREATE FUNCTION stormops.suggest_policy(
    policy_mode text DEFAULT 'moderate', include_open boolean DEFAULT false,
    OUT parameter text, OUT current double precision, OUT proposed double precision, OUT evidence text, OUT n bigint,
    OUT low double precision, OUT high double precision
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    mode jsonb;
    worth record;
    sides record;
    told record;
    payoff double precision;
    rate double precision;
    model text;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    policy_mode := coalesce(nullif(policy_mode, ''), 'moderate');
    include_open := coalesce(include_open, false);
    mode := stormops.policy_parameters(policy_mode);
    PERFORM stormops_internal.require_answered(NULL, include_open);
    SELECT s.* INTO sides FROM stormops_internal.logged_sides(include_open) AS s;

    parameter := 'breakeven_uplift';
    current := coalesce((mode ->> 'contact_cost')::float8 / (mode ->> 'margin')::float8, (mode ->> 'breakeven_uplift')::float8);
    SELECT count(*) AS n, avg(o.value)::float8 AS mean, 1.96 * (stddev_samp(o.value) / sqrt(count(*)))::float8 AS half,
        (mode ->> 'contact_cost')::float8 AS cost
    INTO worth
    FROM stormops_internal.answered_runs(NULL, include_open) AS r
    JOIN stormops.policy_outcomes AS o ON o.tenant_id = stormops.current_tenant() AND o.run_id = r.run_id
    WHERE o.converted AND NOT o.late AND o.value > 0;
    n := worth.n;
    IF worth.cost IS NULL THEN
        evidence := 'not known what treating costs: give the mode a contact_cost and a margin';
    ELSIF worth.n < 10 THEN
        evidence := format('only %s jobs have a value; ten are needed', worth.n);
    ELSE
        proposed := least(worth.cost / worth.mean, 1);
        low := least(worth.cost / (worth.mean + worth.half), 1);
        high := CASE WHEN worth.mean > worth.half THEN least(worth.cost / (worth.mean - worth.half), 1) ELSE 1 END;
        evidence := format('treating costs %s and a job brought %s on average; if value is turnover and no margin, break-even is higher',
            worth.cost, round(worth.mean::numeric, 2));
    END IF;
    payoff := coalesce(proposed, current);
    RETURN NEXT;

    parameter := 'exploration';
    current := (mode ->> 'exploration')::float8;
    n := sides.above + sides.below;
    rate := sides.held_conversions::float8 / nullif(sides.held, 0);
    proposed := NULL;
    low := NULL;
    high := NULL;
    IF sides.held_conversions < 10 THEN
        evidence := format('only %s of the %s properties that chance held converted; ten are needed', sides.held_conversions, sides.held);
    ELSE
        proposed := stormops_internal.exploration_needed(rate, payoff, sides.above, sides.below, (mode ->> 'holdout')::float8);
        SELECT stormops_internal.exploration_needed(w.low, payoff, sides.above, sides.below, (mode ->> 'holdout')::float8),
            stormops_internal.exploration_needed(w.high, payoff, sides.above, sides.below, (mode ->> 'holdout')::float8)
        INTO low, high
        FROM (
            -- Wilson's interval of the rate.
            SELECT (rate + z.z2 / 2 / sides.held - z.half) / (1 + z.z2 / sides.held) AS low, (rate + z.z2 / 2 / sides.held + z.half) / (1 + z.z2 / sides.held) AS high
            FROM (SELECT 3.8416 AS z2, 1.96 * sqrt((rate * (1 - rate) + 0.9604 / sides.held) / sides.held) AS half) AS z
        ) AS w;
        IF proposed > 0.5 OR proposed IS NULL THEN
            proposed := NULL;
            evidence := format('%s decisions above and %s below the rule are too few to show an effect of %s however much is explored (rate of the held %s)',
                sides.above, sides.below, round(payoff::numeric, 4), round(rate::numeric, 4));
        ELSE
            evidence := format('the least with which %s decisions above and %s below the rule show an effect of %s with 80 %% power (rate of the held %s)',
                sides.above, sides.below, round(payoff::numeric, 4), round(rate::numeric, 4));
        END IF;
        low := least(low, 0.5);
        high := least(high, 0.5);
    END IF;
    RETURN NEXT;

    SELECT d.model_version INTO model
    FROM stormops_internal.answered_runs(NULL, include_open) AS r
    JOIN stormops.policy_decisions_log AS d ON d.tenant_id = stormops.current_tenant() AND d.run_id = r.run_id
    ORDER BY r.decided_at DESC, r.run_id DESC, d.model_version DESC LIMIT 1;
    parameter := 'capacity';
    current := (mode ->> 'capacity')::float8;
    proposed := NULL;
    low := NULL;
    high := NULL;
    n := 0;
    BEGIN
        SELECT sum(c.n) AS n, sum(c.n) FILTER (WHERE c.effect >= payoff) AS pay,
            sum(c.n) FILTER (WHERE c.effect - 1.96 * c.sd >= payoff) AS surely, sum(c.n) FILTER (WHERE c.effect + 1.96 * c.sd >= payoff) AS perhaps
        INTO told FROM stormops.model_calibration(model, NULL, include_open) AS c;
        n := told.n;
        proposed := round(coalesce(told.pay, 0) / told.n * sides.decided / sides.runs);
        low := round(coalesce(told.surely, 0) / told.n * sides.decided / sides.runs);
        high := round(coalesce(told.perhaps, 0) / told.n * sides.decided / sides.runs);
        evidence := format('the best %s %% by the scores of model %s gain at least %s each; a storm has %s properties to decide on average',
            round(100.0 * coalesce(told.pay, 0) / told.n), model, round(payoff::numeric, 4), round(sides.decided::numeric / sides.runs));
    EXCEPTION WHEN object_not_in_prerequisite_state THEN
        evidence := SQLERRM;
    END;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION stormops.suggest_policy(text, boolean) IS 'What the outcomes so far say of a mode: rows for breakeven_uplift, exploration and capacity, each with current and proposed value (NULL: nothing to propose, or no limit), the evidence, its n and a 95 % interval. Changes nothing. include_open: also storms with outcomes still due. Errors: 0B000; 22004, 22023 unknown mode; 55000 no storm whose outcomes are complete.';
