-- An experiment's life: created with all that it will be judged by, assigned as properties
-- arrive, stopped. Who is in which arm is a function of the ids alone.

CREATE FUNCTION stormops_internal.check_arms(arms jsonb, control text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    fault text;
BEGIN
    IF jsonb_typeof(arms) <> 'object' THEN
        fault := 'arms must be a JSON object of names and weights';
    ELSIF (SELECT count(*) NOT BETWEEN 2 AND 50 FROM jsonb_object_keys(arms)) THEN
        fault := 'an experiment has 2 to 50 arms';
    ELSIF EXISTS (SELECT FROM jsonb_each(arms) AS a WHERE char_length(a.key) NOT BETWEEN 1 AND 50) THEN
        fault := 'the name of an arm has 1 to 50 characters';
    ELSIF EXISTS (SELECT FROM jsonb_each(arms) AS a WHERE jsonb_typeof(a.value) <> 'number') THEN
        fault := 'the weight of an arm must be a number';
    ELSIF EXISTS (SELECT FROM jsonb_each_text(arms) AS a WHERE a.value::numeric NOT BETWEEN 0.0001 AND 1) THEN
        fault := 'the weight of an arm must lie between 0.0001 and 1';
    ELSIF (SELECT abs(sum(a.value::numeric) - 1) > 1e-9 FROM jsonb_each_text(arms) AS a) THEN
        fault := 'the weights of the arms must add up to 1';
    ELSIF NOT arms ? control THEN
        fault := format('the control "%s" is not one of the arms', left(control, 50));
    END IF;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = fault,
            HINT = 'For example arms => ''{"treatment": 0.5, "control": 0.5}'', control => ''control''.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.check_arms(jsonb, text) IS 'Error: 22023, what is wrong with an experiment''s arms.';

CREATE FUNCTION stormops_internal.neighbourhood(longitude double precision, latitude double precision) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE -- inlined, so its caller's search_path holds
    AS $$ SELECT floor($1 * 100)::integer::text || ',' || floor($2 * 100)::integer::text $$; -- an integer with text would be STABLE, which is not inlined
COMMENT ON FUNCTION stormops_internal.neighbourhood(double precision, double precision) IS 'The cell of 0.01 degree, about a kilometre, that a point lies in: houses under one hail swath, visited by one crew. NULL without coordinates.';

CREATE FUNCTION stormops_internal.raise_no_experiment(experiment_id uuid) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = CASE WHEN experiment_id IS NULL THEN 'null_value_not_allowed' ELSE 'no_data_found' END,
        MESSAGE = format('experiment %s does not exist', coalesce(experiment_id::text, 'NULL')),
        HINT = 'SELECT experiment_id, name, status FROM stormops.experiments; shows this tenant''s experiments.';
END
$$;
COMMENT ON FUNCTION stormops_internal.raise_no_experiment(uuid) IS 'Errors: 22004 NULL, P0002 no such experiment in this tenant.';

CREATE FUNCTION stormops_internal.require_experimenter() RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT stormops.may_write('crew_chief') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'only a crew_chief or an admin may run experiments',
            HINT = 'SELECT * FROM stormops.experiment_report(experiment_id); writes nothing.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_experimenter() IS 'Errors: 42501 a field_user or viewer, 55000 the tenant is suspended.';

CREATE FUNCTION stormops.create_experiment(
    storm_id uuid, name text, arms jsonb DEFAULT '{"treatment": 0.5, "control": 0.5}', control text DEFAULT 'control',
    primary_metric text DEFAULT 'conversion', planned_n integer DEFAULT NULL, unit text DEFAULT 'property',
    population text DEFAULT 'scored', covariate text DEFAULT NULL, cluster_by text DEFAULT NULL,
    untouched_control boolean DEFAULT true, outcome_days integer DEFAULT 90,
    OUT experiment_id uuid, OUT status text, OUT started_at timestamptz
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    tenant uuid := stormops.current_tenant();
    fault text;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    arms := coalesce(arms, '{"control": 0.5, "treatment": 0.5}');
    control := coalesce(nullif(control, ''), 'control');
    primary_metric := coalesce(nullif(primary_metric, ''), 'conversion');
    unit := coalesce(nullif(unit, ''), 'property');
    population := coalesce(nullif(population, ''), 'scored');
    untouched_control := coalesce(untouched_control, true);
    outcome_days := coalesce(outcome_days, 90);
    PERFORM stormops_internal.require_experimenter();
    IF num_nulls(name, arms, control, primary_metric, unit, population, untouched_control, outcome_days) > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'only planned_n, covariate and cluster_by may be null',
            HINT = 'SELECT * FROM stormops.create_experiment(storm_id, ''Call before the visit'');';
    END IF;
    -- Two of one name stand in line here; the second finds the first.
    PERFORM FROM stormops.storms AS s
    WHERE s.tenant_id = tenant AND s.storm_id = create_experiment.storm_id FOR NO KEY UPDATE;
    PERFORM stormops_internal.require_open_storm(storm_id);
    PERFORM stormops_internal.check_arms(arms, control);
    fault := CASE
        WHEN char_length(name) NOT BETWEEN 1 AND 200 OR btrim(name) = '' THEN 'name has not 1 to 200 characters'
        WHEN primary_metric NOT IN ('conversion', 'value') THEN 'primary_metric is neither conversion nor value'
        WHEN planned_n <= 0 THEN 'planned_n is not positive'
        WHEN unit NOT IN ('property', 'neighbourhood') THEN 'unit is neither property nor neighbourhood'
        WHEN population NOT IN ('scored', 'active') THEN 'population is neither scored nor active'
        WHEN covariate <> 'uplift' THEN 'covariate is not uplift'
        WHEN cluster_by <> 'neighbourhood' THEN 'cluster_by is not neighbourhood'
        WHEN outcome_days NOT BETWEEN 1 AND 3650 THEN 'outcome_days is not between 1 and 3650'
    END;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'experiment is not valid: ' || fault,
            HINT = 'The comments on the columns of stormops.experiments say what each setting may be.';
    END IF;
    IF EXISTS (SELECT FROM stormops.experiments AS e
               WHERE e.tenant_id = tenant AND e.storm_id = create_experiment.storm_id AND e.name = create_experiment.name) THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = format('experiment "%s" already exists in this storm', name),
            HINT = 'Choose another name; a stopped experiment keeps its own.';
    END IF;
    experiment_id := stormops.new_id();
    INSERT INTO stormops.experiments AS e (
        tenant_id, experiment_id, storm_id, name, arms, control, primary_metric, planned_n, unit, population, covariate,
        -- Whole neighbourhoods drawn are whole neighbourhoods judged.
        cluster_by, untouched_control, outcome_days, created_by, acting_user
    )
    VALUES (
        tenant, experiment_id, storm_id, name, arms, control, primary_metric, planned_n, unit, population, covariate,
        CASE WHEN unit = 'neighbourhood' THEN 'neighbourhood' ELSE cluster_by END, untouched_control, outcome_days,
        stormops_internal.calling_role(), stormops.current_user_id()
    )
    RETURNING e.status, e.started_at INTO status, started_at;
END
$$;
COMMENT ON FUNCTION stormops.create_experiment(uuid, text, jsonb, text, text, integer, text, text, text, text, boolean, integer) IS 'Starts a randomised comparison in a storm. arms: names and weights that add up to 1; control: the arm to compare with; other arguments: see the columns of experiments. It cannot be changed later. Returns experiment_id, status, started_at. Errors: 22004; 22023 a setting; 23505 the storm has one of that name; 42501 a field_user or viewer; 55000 storm closed, tenant suspended; P0002 no such storm.';

CREATE FUNCTION stormops_internal.draw_arms(
    experiment_id uuid, OUT property_id uuid, OUT arm text, OUT neighbourhood text
) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH e AS MATERIALIZED (
        SELECT e.* FROM stormops.experiments AS e WHERE e.tenant_id = stormops.current_tenant() AND e.experiment_id = $1
    ), cuts AS MATERIALIZED (
        -- Each arm has the stretch of [0, 1) that its weight measures, in the order of the names' bytes.
        SELECT array_agg(c.name ORDER BY c.name COLLATE "C") AS names, array_agg(c.low ORDER BY c.name COLLATE "C") AS lows
        FROM (
            SELECT a.key AS name, coalesce(sum(a.value::numeric) OVER (
                ORDER BY a.key COLLATE "C" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::float8 AS low
            FROM e, jsonb_each_text(e.arms) AS a
        ) AS c
    ), eligible AS (
        SELECT p.property_id, stormops_internal.neighbourhood(p.longitude, p.latitude) AS neighbourhood
        FROM stormops.properties AS p
        WHERE p.tenant_id = stormops.current_tenant() AND p.status = 'active' AND NOT p.do_not_contact
            AND ((SELECT e.population = 'active' FROM e) OR p.property_id IN (
                SELECT l.property_id FROM stormops.lead_uplift AS l
                WHERE l.tenant_id = stormops.current_tenant() AND l.storm_id = (SELECT e.storm_id FROM e)))
    )
    SELECT g.property_id,
        (SELECT c.names FROM cuts AS c)[width_bucket(
            CASE WHEN (SELECT e.unit = 'neighbourhood' FROM e) AND g.neighbourhood IS NOT NULL
                THEN stormops.draw(stormops.current_tenant(), $1, $1, 'arm of ' || g.neighbourhood)
                ELSE stormops.draw(stormops.current_tenant(), $1, g.property_id, 'arm')
            END,
            (SELECT c.lows FROM cuts AS c))],
        g.neighbourhood
    FROM eligible AS g
$$;
COMMENT ON FUNCTION stormops_internal.draw_arms(uuid) IS 'The arm of each property that takes part in an experiment: draw(tenant, experiment, property, ''arm'') falls into the stretch of [0, 1) that the arm''s weight measures; with unit neighbourhood one draw for each. Depends on nothing else, so a later call draws alike. Writes nothing; none without such an experiment.';

CREATE FUNCTION stormops.assign_experiment(
    experiment_id uuid, OUT assigned bigint, OUT already_assigned bigint, OUT arms jsonb
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    tenant uuid := stormops.current_tenant();
    found_status text;
BEGIN
    PERFORM stormops_internal.require_experimenter();
    -- Two calls stand in line here, and a stop waits for both.
    SELECT e.status INTO found_status FROM stormops.experiments AS e
    WHERE e.tenant_id = tenant AND e.experiment_id = assign_experiment.experiment_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM stormops_internal.raise_no_experiment(experiment_id);
    END IF;
    IF found_status <> 'running' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('experiment %s is %s', experiment_id, found_status),
            HINT = 'Only a running experiment assigns; create_experiment() begins another.';
    END IF;
    WITH written AS (
        INSERT INTO stormops.experiment_assignments (tenant_id, experiment_id, property_id, arm, neighbourhood)
        SELECT tenant, experiment_id, d.property_id, d.arm, d.neighbourhood
        FROM stormops_internal.draw_arms(experiment_id) AS d
        ON CONFLICT DO NOTHING
        RETURNING property_id
    )
    SELECT count(*) INTO assigned FROM written;
    SELECT coalesce(sum(t.n), 0) - assigned, coalesce(jsonb_object_agg(t.arm, t.n), '{}') INTO already_assigned, arms
    FROM (
        SELECT a.arm, count(*) AS n FROM stormops.experiment_assignments AS a
        WHERE a.tenant_id = tenant AND a.experiment_id = assign_experiment.experiment_id
        GROUP BY a.arm
    ) AS t;
    IF assigned + already_assigned = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('experiment %s has no property to assign', experiment_id),
            DETAIL = 'Its population is the active, contactable properties, those with a score of the storm if it is "scored".',
            HINT = 'INSERT INTO stormops.lead_uplift (storm_id, property_id, model_version, uplift) ... first, or create it with population => ''active''.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.assign_experiment(uuid) IS 'Draws an arm for every property of the population that has none; call it again when properties were added. The draw is a hash of tenant, experiment and property, so repeating cannot change it. Returns assigned (now), already_assigned, arms (properties by arm). Errors: 22004; 42501 a field_user or viewer; 55000 stopped, nobody to assign, tenant suspended; P0002 no such experiment in this tenant.';

CREATE FUNCTION stormops.stop_experiment(
    experiment_id uuid, reason text DEFAULT NULL, OUT status text, OUT stopped_at timestamptz, OUT assigned bigint
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    tenant uuid := stormops.current_tenant();
    stopped_before timestamptz;
BEGIN
    PERFORM stormops_internal.require_experimenter();
    IF char_length(reason) NOT BETWEEN 1 AND 500 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a reason has 1 to 500 characters',
            HINT = 'SELECT * FROM stormops.stop_experiment(experiment_id, ''planned number reached'');';
    END IF;
    SELECT e.stopped_at INTO stopped_before FROM stormops.experiments AS e
    WHERE e.tenant_id = tenant AND e.experiment_id = stop_experiment.experiment_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM stormops_internal.raise_no_experiment(experiment_id);
    END IF;
    IF stopped_before IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('experiment %s was stopped already', experiment_id), DETAIL = format('At %s.', stopped_before),
            HINT = 'SELECT * FROM stormops.experiment_report(experiment_id); goes on reading it.';
    END IF;
    UPDATE stormops.experiments AS e SET status = 'stopped', stopped_at = greatest(now(), e.started_at), stop_reason = reason
    WHERE e.tenant_id = tenant AND e.experiment_id = stop_experiment.experiment_id
    RETURNING e.status, e.stopped_at INTO status, stopped_at;
    SELECT count(*) INTO assigned FROM stormops.experiment_assignments AS a
    WHERE a.tenant_id = tenant AND a.experiment_id = stop_experiment.experiment_id;
END
$$;
COMMENT ON FUNCTION stormops.stop_experiment(uuid, text) IS 'Ends the assignment of an experiment for good; outcomes of its properties go on counting for outcome_days. Returns status, stopped_at, assigned. Errors: 22004; 22023; 42501 a field_user or viewer; 55000 stopped already, tenant suspended; P0002 no such experiment in this tenant.';
