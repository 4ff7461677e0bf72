-- Decisions that 0.1.0 wrote row by row, made blocks of. Until then one view shows both.

CREATE FUNCTION stormops_internal.pack_rows(tenant_id uuid, run_id uuid, size integer) RETURNS void
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
    SET enable_hashagg = off -- in the order of the rows, which a group keeps
    AS $$
    WITH decision AS MATERIALIZED (
        SELECT l.*, ((row_number() OVER (ORDER BY l.property_id) - 1) / $3)::integer AS block_no
        FROM stormops.policy_decision_rows AS l WHERE l.tenant_id = $1 AND l.run_id = $2
    ), class AS MATERIALIZED (
        SELECT d.block_no, d.decision, d.reason, d.propensity, count(*)::integer AS n,
            row_number() OVER (PARTITION BY d.block_no ORDER BY d.decision, d.reason, d.propensity)::smallint AS place
        FROM decision AS d GROUP BY d.block_no, d.decision, d.reason, d.propensity
    ), model AS MATERIALIZED (
        SELECT d.block_no, d.model_version, row_number() OVER (PARTITION BY d.block_no ORDER BY d.model_version)::smallint AS place
        FROM decision AS d GROUP BY d.block_no, d.model_version
    ), dictionary AS (
        SELECT c.block_no, array_agg(c.decision ORDER BY c.place) AS decisions, array_agg(c.reason ORDER BY c.place) AS reasons,
            array_agg(c.propensity ORDER BY c.place) AS propensities, array_agg(c.n ORDER BY c.place) AS counts
        FROM class AS c GROUP BY c.block_no
    ), models AS (
        SELECT m.block_no, array_agg(m.model_version ORDER BY m.place) AS model_versions FROM model AS m GROUP BY m.block_no
    ), block AS (
        SELECT d.block_no, d.storm_id, d.decided_at, d.policy_mode, count(*)::integer AS n, array_agg(d.property_id) AS property_ids,
            array_agg(d.class) AS classes, array_agg(d.score) AS scores, array_agg(d.score_sd) AS score_sds, array_agg(d.value) AS "values",
            array_agg(d.model) AS models
        FROM (
            SELECT d.*, c.place AS class, m.place AS model
            FROM decision AS d
            JOIN class AS c ON c.block_no = d.block_no AND c.decision = d.decision AND c.reason = d.reason AND c.propensity = d.propensity
            JOIN model AS m ON m.block_no = d.block_no AND m.model_version = d.model_version
            ORDER BY d.block_no, d.storm_id, d.decided_at, d.policy_mode, d.property_id
        ) AS d
        GROUP BY d.block_no, d.storm_id, d.decided_at, d.policy_mode
    )
    INSERT INTO stormops.policy_decision_blocks (
        tenant_id, run_id, block_no, storm_id, decided_at, policy_mode, first_property, last_property, n,
        property_ids, classes, scores, score_sds, "values", decisions, reasons, propensities, counts, model_versions, models
    )
    SELECT $1, $2, b.block_no, b.storm_id, b.decided_at, b.policy_mode, b.property_ids[1], b.property_ids[b.n], b.n,
        b.property_ids, b.classes, b.scores, b.score_sds, b."values", d.decisions, d.reasons, d.propensities, d.counts,
        m.model_versions, CASE WHEN cardinality(m.model_versions) > 1 THEN b.models END
    FROM block AS b JOIN dictionary AS d ON d.block_no = b.block_no JOIN models AS m ON m.block_no = b.block_no
$$;
COMMENT ON FUNCTION stormops_internal.pack_rows(uuid, uuid, integer) IS 'Writes the rows of a run as blocks of so many decisions. Sorts on disk beyond work_mem. Error: 23514 more than 255 classes or models in a block.';

CREATE FUNCTION stormops_internal.pack_run(tenant_id uuid, run_id uuid) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    before record;
    since record;
    in_order bigint;
BEGIN
    SELECT d.decisions, d.digest, d.fingerprints INTO before FROM stormops_internal.decisions_digest(tenant_id, run_id) AS d;
    -- A run that is not as it was written stays so, for verify_log() to name the row.
    IF NOT EXISTS (
        SELECT FROM stormops.policy_run_digests AS d WHERE d.tenant_id = pack_run.tenant_id AND d.run_id = pack_run.run_id
            AND (d.decisions, d.digest, d.fingerprints) = (before.decisions, before.digest, before.fingerprints)
    ) OR EXISTS (
        SELECT FROM stormops.policy_decision_blocks AS b WHERE b.tenant_id = pack_run.tenant_id AND b.run_id = pack_run.run_id
    ) THEN
        RETURN NULL;
    END IF;
    BEGIN
        PERFORM stormops_internal.pack_rows(tenant_id, run_id, 4096);
    EXCEPTION WHEN check_violation THEN
        PERFORM stormops_internal.pack_rows(tenant_id, run_id, 255); -- which no dictionary is too small for
    END;
    DELETE FROM stormops.policy_decision_rows AS l WHERE l.tenant_id = pack_run.tenant_id AND l.run_id = pack_run.run_id;
    SELECT d.decisions, d.digest, d.fingerprints INTO since FROM stormops_internal.decisions_digest(tenant_id, run_id) AS d;
    -- Blocks that hold them in order, which it raises an error for otherwise.
    SELECT count(*) INTO in_order
    FROM stormops.policy_decision_blocks AS b
    CROSS JOIN LATERAL stormops_internal.find_decisions(b.first_property, b.last_property, b.property_ids, b.classes, b.property_ids) AS f
    WHERE b.tenant_id = pack_run.tenant_id AND b.run_id = pack_run.run_id;
    IF since IS DISTINCT FROM before OR in_order <> before.decisions THEN
        RAISE EXCEPTION USING ERRCODE = 'data_corrupted', MESSAGE = format('run %s would not be the same as blocks', run_id),
            DETAIL = 'Nothing was packed.', HINT = 'SELECT * FROM stormops.verify_log(tenant_id);';
    END IF;
    RETURN before.decisions;
END
$$;
COMMENT ON FUNCTION stormops_internal.pack_run(uuid, uuid) IS 'Makes blocks of the rows of a run, whose digest must be what the log has, before and after. Returns how many decisions; NULL, and nothing done, for a run that is not as it was written. Error: XX001.';

CREATE FUNCTION stormops_internal.runs_of_rows(OUT tenant_id uuid, OUT run_id uuid) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT r.tenant_id, r.run_id FROM stormops.policy_runs AS r
    WHERE EXISTS (SELECT FROM stormops.policy_decision_rows AS l WHERE l.tenant_id = r.tenant_id AND l.run_id = r.run_id OFFSET 0)
    ORDER BY r.run_id, r.tenant_id
$$;
COMMENT ON FUNCTION stormops_internal.runs_of_rows() IS 'The runs whose decisions are kept row by row, the oldest first.';

CREATE FUNCTION stormops.pack_decisions(
    most_runs integer DEFAULT 100,
    OUT runs bigint, OUT decisions bigint, OUT refused bigint, OUT runs_left bigint, OUT partitions_dropped text[]
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    run record;
    packed bigint;
    month date;
    made_for date;
    partition record;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    most_runs := coalesce(most_runs, 100);
    PERFORM stormops_internal.visit_all_tenants();
    IF most_runs < 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'most_runs must be 1 or more',
            HINT = 'SELECT * FROM stormops.pack_decisions();';
    END IF;
    -- Two at once stand in line; whoever reads, or applies a policy, waits for neither.
    LOCK TABLE stormops.policy_decision_rows IN SHARE UPDATE EXCLUSIVE MODE;
    runs := 0; decisions := 0; refused := 0; partitions_dropped := '{}';
    FOR run IN SELECT r.tenant_id, r.run_id FROM stormops_internal.runs_of_rows() AS r LOOP
        EXIT WHEN runs = most_runs;
        month := date_trunc('month', to_timestamp(stormops_internal.milliseconds_of(run.run_id) / 1000.0) AT TIME ZONE 'UTC')::date;
        IF month IS DISTINCT FROM made_for THEN
            made_for := month;
            IF to_regclass('stormops_internal.' || stormops_internal.decisions_partition(month)) IS NULL THEN
                PERFORM stormops_internal.make_decisions_partitions(ARRAY[month]);
                IF stormops_internal.patiently(format('SELECT stormops_internal.attach_decisions_partitions(%L)', ARRAY[to_char(month, 'YYYY-MM-DD')])) IS NULL THEN
                    -- Somebody is reading the default partition: it takes them, and maintain_partitions() moves them.
                    EXECUTE 'DROP TABLE stormops_internal.' || stormops_internal.decisions_partition(month);
                END IF;
            END IF;
        END IF;
        packed := stormops_internal.pack_run(run.tenant_id, run.run_id);
        runs := runs + (packed IS NOT NULL)::integer;
        refused := refused + (packed IS NULL)::integer;
        decisions := decisions + coalesce(packed, 0);
    END LOOP;
    SELECT count(*) INTO runs_left FROM stormops_internal.runs_of_rows() AS r;
    -- A month that has nothing left. One that somebody is reading goes with the next call.
    FOR partition IN
        SELECT c.relname AS name FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'stormops.policy_decision_rows'::regclass AND c.relname ~ '^policy_decision_rows_[0-9]{4}_[0-9]{2}$'
        ORDER BY c.relname
    LOOP
        EXECUTE format('SELECT NOT EXISTS (SELECT FROM stormops_internal.%I) AS is_empty', partition.name) INTO run;
        CONTINUE WHEN NOT run.is_empty;
        EXIT WHEN stormops_internal.patiently(format('SELECT stormops_internal.drop_decisions_partitions(%L)', ARRAY[partition.name])) IS NULL;
        partitions_dropped := partitions_dropped || partition.name::text;
    END LOOP;
END
$$;
COMMENT ON FUNCTION stormops.pack_decisions(integer) IS 'Makes blocks of decisions that 0.1.0 wrote as rows: up to most_runs runs, the oldest first; call it again until runs_left is refused. The digest of a run must be as logged, before and after: another is refused. Months left empty are dropped. Readers and writers go on. For operators. Errors: 22023 most_runs; XX001.';
