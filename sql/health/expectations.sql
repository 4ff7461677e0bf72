-- What a tenant expects of its rows, as rows. Names of tables and columns in them are compared with
-- the catalogue before they ever stand in a statement, and quoted there.

CREATE FUNCTION stormops_internal.expectation_fault(table_name text, rule text, columns text[], OUT code text, OUT fault text, OUT hint text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    this record;
    wrong text;
BEGIN
    SELECT t.* INTO this FROM stormops.counted_tables() AS t WHERE t.table_name = expectation_fault.table_name;
    IF this.table_name IS NULL THEN
        code := 'undefined_object';
        fault := format('"%s" is not a table whose health is watched', left(table_name, 63));
        hint := format('The tables are %s.', (SELECT string_agg(t.table_name, ', ') FROM stormops.counted_tables() AS t));
        RETURN;
    END IF;
    SELECT k INTO wrong FROM unnest(columns) AS k
    WHERE k IS NULL OR NOT EXISTS (
        SELECT FROM pg_attribute AS a
        WHERE a.attrelid = format('stormops.%I', this.table_name)::regclass AND a.attname = k AND a.attnum > 0 AND NOT a.attisdropped
            AND (rule <> 'range' OR a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype, 'float8'::regtype))
            AND (rule <> 'drift' OR this.table_name = 'lead_uplift' AND k = 'uplift')
            AND (rule <> 'referential' OR this.parents ? k))
    LIMIT 1;
    IF FOUND THEN
        code := CASE WHEN EXISTS (
            SELECT FROM pg_attribute AS a
            WHERE a.attrelid = format('stormops.%I', this.table_name)::regclass AND a.attname = wrong AND a.attnum > 0 AND NOT a.attisdropped
        ) THEN 'invalid_parameter_value' ELSE 'undefined_column' END;
        fault := format('rule %s cannot be about column "%s" of %s', rule, left(wrong, 63), this.table_name);
        hint := CASE rule
            WHEN 'range' THEN 'A range is about a column of numbers.'
            WHEN 'drift' THEN 'Drift is about lead_uplift.uplift.'
            WHEN 'referential' THEN format('The columns that refer to another table are %s.',
                coalesce((SELECT string_agg(p, ', ') FROM jsonb_object_keys(this.parents) AS p), 'none'))
            ELSE 'SELECT * FROM stormops_internal.shipped_columns(); shows the columns.'
        END;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.expectation_fault(text, text, text[]) IS 'Why an expectation cannot be judged: a name of a SQLSTATE, the fault and a hint; NULL if it can.';

CREATE FUNCTION stormops_internal.guard_expectation() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    wrong record;
    judged text := CASE WHEN NEW.judged_at IS NOT NULL THEN 'judged_at' WHEN NEW.judged_status IS NOT NULL THEN 'judged_status'
        WHEN NEW.reference IS NOT NULL THEN 'reference' END;
BEGIN
    -- A row may be written whole, but its judgement is nobody's to write.
    IF TG_OP = 'INSERT' AND judged IS NOT NULL AND NOT (SELECT r.rolsuper OR r.rolname = 'stormops_owner' FROM pg_roles AS r WHERE r.rolname = current_user) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('column "%s" of table "expectations" is written by run_health_checks()', judged),
            HINT = 'Leave it out of the INSERT, or send NULL.', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = judged;
    END IF;
    -- The operator's run judges all tenants' in one statement: none has so many that the others wait for it.
    IF TG_OP = 'INSERT' AND (SELECT count(*) FROM stormops.expectations AS e WHERE e.tenant_id = NEW.tenant_id) >= 500 THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = 'a tenant has at most 500 expectations',
            HINT = 'DELETE FROM stormops.expectations WHERE NOT active; makes room.';
    END IF;
    SELECT f.* INTO wrong FROM stormops_internal.expectation_fault(NEW.table_name, NEW.rule, NEW.columns) AS f;
    IF wrong.code IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = wrong.code, MESSAGE = wrong.fault, HINT = wrong.hint;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION stormops_internal.guard_expectation() IS 'Trigger: refuses an expectation about what is not there. Errors: 42501 its judgement is given; 54000 more than 500 of a tenant; 42704 not a watched table; 42703 no such column; 22023 the rule is not about such a column.';

CREATE FUNCTION stormops.expect(
    table_name text, rule text, columns text[] DEFAULT '{}', lowest numeric DEFAULT NULL, highest numeric DEFAULT NULL,
    max_age interval DEFAULT NULL, threshold numeric DEFAULT 0.01, severity text DEFAULT 'warning',
    every interval DEFAULT '15 minutes', name text DEFAULT NULL, tenant_id uuid DEFAULT NULL
) RETURNS uuid
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    target uuid := stormops_internal.target_tenant(tenant_id, true);
    id uuid := stormops.new_id();
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    columns := coalesce(columns, '{}');
    threshold := coalesce(threshold, 0.01);
    severity := coalesce(nullif(severity, ''), 'warning');
    every := coalesce(every, '00:15:00');
    PERFORM stormops_internal.visit_all_tenants();
    IF table_name IS NULL OR rule IS NULL OR columns IS NULL OR threshold IS NULL OR severity IS NULL OR every IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'table and rule must be given',
            HINT = 'SELECT stormops.expect(''properties'', ''not_null'', ''{address}'');';
    END IF;
    IF NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = target) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', target),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    INSERT INTO stormops.expectations (tenant_id, expectation_id, name, table_name, rule, columns, lowest, highest, max_age, threshold, severity, every)
    VALUES (target, id, coalesce(name, left(concat_ws(' ', table_name, nullif(array_to_string(columns, ', '), ''), rule), 100)),
        table_name, rule, columns, lowest, highest, max_age, threshold, severity, every);
    RETURN id;
EXCEPTION
    WHEN check_violation THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'the expectation is not a legal one',
            HINT = 'name: 1 to 100 characters; rule: not_null, range (lowest or highest, within 1e15), unique, referential, freshness (max_age,'
                ' up to 10 years), row_count or drift; columns: none for freshness and row_count, up to 8 for unique, else one;'
                ' threshold: 0 to 1; severity: info, warning or critical; every: 1 minute to 31 days.';
    WHEN unique_violation THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = 'there is an expectation of that name',
            HINT = 'Give another by name => ..., or change that one: SELECT name, expectation_id FROM stormops.expectations;';
END
$$;
COMMENT ON FUNCTION stormops.expect(text, text, text[], numeric, numeric, interval, numeric, text, interval, text, uuid) IS 'Declares an expectation; returns its id. For a tenant''s admins, and for operators with tenant_id. Columns as in the table expectations; a tenant may as well INSERT there. Errors: 22004; 22023; 23505 one of that name exists; 23514 not a legal rule; 42501; 42703 no such column; 42704 not a watched table; 54000 the tenant has 500; 55000 suspended; P0002.';

CREATE FUNCTION stormops.default_expectations(
    OUT name text, OUT table_name text, OUT rule text, OUT columns text[], OUT lowest numeric, OUT highest numeric,
    OUT threshold numeric, OUT severity text
) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT e.name, e.table_name, e.rule, e.columns::text[], e.lowest, e.highest, e.threshold, e.severity
    FROM (VALUES
        ('properties have an address', 'properties', 'not_null', '{address}', NULL::numeric, NULL::numeric, 0.01, 'warning'),
        ('addresses are unique', 'properties', 'unique', '{address}', NULL, NULL, 0.01, 'warning'),
        ('scores are plausible', 'lead_uplift', 'range', '{uplift}', -0.5, 0.9, 0.01, 'warning'),
        ('scores do not drift', 'lead_uplift', 'drift', '{uplift}', NULL, NULL, 0.01, 'warning'),
        ('decisions have their property', 'policy_decisions_log', 'referential', '{property_id}', NULL, NULL, 0, 'critical'),
        ('touches keep coming', 'customer_journeys', 'row_count', '{}', NULL, NULL, 0.9, 'warning')
    ) AS e (name, table_name, rule, columns, lowest, highest, threshold, severity)
$$;
COMMENT ON FUNCTION stormops.default_expectations() IS 'What expect_defaults() declares.';

CREATE FUNCTION stormops.expect_defaults(tenant_id uuid DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    everybody boolean := tenant_id IS NULL AND NOT stormops_internal.has_tenant() AND stormops_internal.is_operator();
    target uuid := CASE WHEN NOT everybody THEN stormops_internal.target_tenant(tenant_id, true) END;
    made bigint;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    INSERT INTO stormops.expectations (tenant_id, expectation_id, name, table_name, rule, columns, lowest, highest, threshold, severity)
    SELECT t.tenant_id, stormops.new_id(), e.name, e.table_name, e.rule, e.columns, e.lowest, e.highest, e.threshold, e.severity
    FROM stormops.tenants AS t CROSS JOIN stormops.default_expectations() AS e
    WHERE t.status = 'active' AND (everybody OR t.tenant_id = target)
    ON CONFLICT ON CONSTRAINT expectations_tenant_id_name_key DO NOTHING;
    GET DIAGNOSTICS made = ROW_COUNT;
    RETURN made;
END
$$;
COMMENT ON FUNCTION stormops.expect_defaults(uuid) IS 'Declares default_expectations() where a tenant has none of that name; returns how many. For a tenant''s admins; for operators with tenant_id, or without any tenant for all active ones. Errors: 0B000; 42501; 55000 suspended.';
