-- Prices: written by operators only, and never changed afterwards.

CREATE FUNCTION stormops_internal.guard_price() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- What an installation begins with makes place for what a dump brings.
    IF TG_OP = 'DELETE' AND OLD.created_by = 'stormops' AND stormops_internal.is_restore() THEN
        RETURN OLD;
    ELSIF TG_OP = 'INSERT' AND stormops_internal.is_restore() THEN
        DELETE FROM stormops_internal.prices AS p
        WHERE p.price_book = NEW.price_book AND p.metric_name = NEW.metric_name AND p.created_by = 'stormops'
            AND p.for_tenant IS NOT DISTINCT FROM NEW.for_tenant AND p.tier IS NOT DISTINCT FROM NEW.tier
            AND (p.price_id = NEW.price_id OR tstzrange(p.valid_from, p.valid_to) && tstzrange(NEW.valid_from, NEW.valid_to));
    END IF;
    IF TG_OP IN ('DELETE', 'TRUNCATE')
        OR TG_OP = 'UPDATE' AND (to_jsonb(NEW) - 'valid_to' <> to_jsonb(OLD) - 'valid_to'
            OR coalesce(NEW.valid_to, 'infinity') > coalesce(OLD.valid_to, 'infinity'))
    THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'a price is superseded, never changed or deleted',
            HINT = 'SELECT stormops.set_price(...); the new price closes the old one.';
    END IF;
    -- One writer at a time, so that two prices set at the same moment see each other.
    PERFORM stormops_internal.require_read_committed();
    PERFORM pg_advisory_xact_lock(hashtext('stormops_internal.prices'));
    IF EXISTS (
        SELECT FROM stormops_internal.prices AS p
        WHERE p.price_book = NEW.price_book AND p.metric_name = NEW.metric_name AND p.price_id <> NEW.price_id
            AND p.for_tenant IS NOT DISTINCT FROM NEW.for_tenant AND p.tier IS NOT DISTINCT FROM NEW.tier
            AND tstzrange(p.valid_from, p.valid_to) && tstzrange(NEW.valid_from, NEW.valid_to)
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'exclusion_violation',
            MESSAGE = format('the price of "%s" overlaps another one in time', NEW.metric_name),
            HINT = 'SELECT * FROM stormops.prices(); shows the periods that are taken.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION stormops_internal.guard_price() IS 'Trigger: no two prices for the same at the same time, none changed but for its end, none deleted, whoever tries. Errors: 23P01, 25000, 55000.';

CREATE FUNCTION stormops.set_price(
    metric_name text, model text, unit_price numeric DEFAULT NULL, bands jsonb DEFAULT NULL, package_size numeric DEFAULT NULL,
    included_quantity numeric DEFAULT 0, tier text DEFAULT NULL, tenant_id uuid DEFAULT NULL, price_book text DEFAULT 'default',
    valid_from timestamptz DEFAULT NULL, valid_to timestamptz DEFAULT NULL, OUT price_id uuid, OUT supersedes uuid
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    unit_prices numeric[] := ARRAY[unit_price];
    up_to numeric[] := '{}';
    fault text;
    closed date;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    included_quantity := coalesce(included_quantity, 0);
    price_book := coalesce(nullif(price_book, ''), 'default');
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_read_committed();
    -- A whole hour, since usage is kept by the hour.
    valid_from := coalesce(valid_from, date_trunc('hour', now(), 'UTC') + interval '1 hour');
    IF bands IS NOT NULL AND unit_price IS NULL AND jsonb_typeof(bands) = 'array' THEN
        BEGIN
            SELECT array_agg(b.unit_price ORDER BY b.place), coalesce(array_agg(b.up_to ORDER BY b.place) FILTER (WHERE b.up_to IS NOT NULL), '{}')
            INTO unit_prices, up_to
            FROM ROWS FROM (jsonb_to_recordset(bands) AS (up_to numeric, unit_price numeric)) WITH ORDINALITY AS b (up_to, unit_price, place);
        EXCEPTION WHEN data_exception THEN
            fault := left(SQLERRM, 200); -- what is no band at all, in the server's words
        END;
    END IF;
    fault := CASE
        WHEN fault IS NOT NULL THEN fault
        WHEN metric_name IS NULL OR char_length(metric_name) NOT BETWEEN 1 AND 100 THEN 'metric_name has not 1 to 100 characters'
        WHEN model IS NULL OR model NOT IN ('per_unit', 'graduated', 'volume', 'package', 'flat', 'minimum')
            THEN format('unknown model "%s"', left(model, 50))
        WHEN tier NOT IN ('trial', 'standard', 'enterprise') THEN format('unknown tier "%s"', left(tier, 50))
        WHEN tier IS NOT NULL AND tenant_id IS NOT NULL THEN 'a price is for a tier or for a tenant, not for both'
        WHEN (model IN ('graduated', 'volume')) <> (bands IS NOT NULL) OR (bands IS NULL) <> (unit_price IS NOT NULL)
            THEN 'graduated and volume take bands, the other models unit_price'
        WHEN coalesce(cardinality(unit_prices), 0) NOT BETWEEN 1 AND 20 OR array_position(unit_prices, NULL) IS NOT NULL
            OR cardinality(up_to) <> cardinality(unit_prices) - 1 THEN 'there must be 1 to 20 bands, each with unit_price, all but the last with up_to'
        WHEN NOT (0 <= ALL (unit_prices) AND 1e12 >= ALL (unit_prices)) THEN 'a price is not between 0 and 1e12'
        WHEN NOT (0 < ALL (up_to) AND 1e15 >= ALL (up_to)) OR EXISTS (
            SELECT FROM generate_series(2, cardinality(up_to)) AS i WHERE up_to[i] <= up_to[i - 1]) THEN 'up_to must rise from band to band'
        WHEN EXISTS (SELECT FROM unnest(unit_prices || up_to || package_size || included_quantity) AS v (number) WHERE scale(v.number) > 20)
            THEN 'a number has more than 20 decimal places'
        WHEN (model = 'package') <> (package_size IS NOT NULL) OR NOT (package_size > 0 AND package_size <= 1e15)
            THEN 'package_size, above 0 to 1e15, goes with model package'
        WHEN included_quantity IS NULL OR NOT included_quantity BETWEEN 0 AND 1e15 THEN 'included_quantity is not between 0 and 1e15'
        WHEN model IN ('flat', 'minimum') AND included_quantity <> 0 THEN 'a flat fee and a minimum include nothing'
        WHEN NOT isfinite(valid_from) OR extract(epoch FROM valid_from) % 3600 <> 0
            OR NOT isfinite(valid_to) OR extract(epoch FROM valid_to) % 3600 <> 0 OR valid_to <= valid_from
            THEN 'validity begins and ends at whole hours, and ends after it begins'
    END;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'price is not valid: ' || fault,
            HINT = 'SELECT stormops.set_price(''model_call'', ''graduated'', bands => ''[{"up_to": 1000, "unit_price": 0.01}, {"unit_price": 0.005}]'');';
    END IF;
    IF NOT EXISTS (SELECT FROM stormops_internal.price_books AS b WHERE b.price_book = set_price.price_book) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('price book "%s" does not exist', left(price_book, 50)),
            HINT = 'SELECT stormops.create_price_book(''default_eur'', ''EUR'');';
    END IF;
    IF tenant_id IS NOT NULL AND NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = set_price.tenant_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', tenant_id),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    -- Against a finalisation at the same moment: it takes a lock that this one excludes.
    LOCK TABLE stormops.invoices IN SHARE MODE;
    SELECT max(i.period) INTO closed FROM stormops.invoices AS i
    WHERE i.price_book = set_price.price_book AND i.status = 'finalized' AND (set_price.tenant_id IS NULL OR i.tenant_id = set_price.tenant_id);
    IF valid_from < (closed + interval '1 month') AT TIME ZONE 'UTC' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('%s is invoiced by this price book', to_char(closed, 'YYYY-MM')),
            HINT = 'Set the price from a later hour on; credit_invoice() corrects what was invoiced.';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('stormops_internal.prices'));
    UPDATE stormops_internal.prices AS p SET valid_to = valid_from
    WHERE p.price_book = set_price.price_book AND p.metric_name = set_price.metric_name
        AND p.for_tenant IS NOT DISTINCT FROM set_price.tenant_id AND p.tier IS NOT DISTINCT FROM set_price.tier
        AND p.valid_from < set_price.valid_from AND p.valid_to IS NULL
    RETURNING p.price_id INTO supersedes;
    INSERT INTO stormops_internal.prices AS p (price_book, for_tenant, tier, metric_name, model, unit_prices, up_to, package_size,
        included_quantity, valid_from, valid_to, created_at, created_by)
    VALUES (price_book, tenant_id, tier, metric_name, model, unit_prices, up_to, package_size,
        included_quantity, valid_from, valid_to, clock_timestamp(), stormops_internal.calling_role())
    RETURNING p.price_id INTO price_id;
END
$$;
COMMENT ON FUNCTION stormops.set_price(text, text, numeric, jsonb, numeric, numeric, text, uuid, text, timestamptz, timestamptz) IS 'Sets a price from a whole hour (next) on and closes the one before. model: per_unit, package, graduated, volume, flat, minimum; amounts 0 to 1e12, 20 decimal places; for all, a tier or a tenant. Returns price_id, supersedes. For operators. Errors: 22023 an argument; 23P01 overlaps another price; 25000 not READ COMMITTED; 55000 that time is invoiced; P0002 no such book or tenant.';

CREATE FUNCTION stormops.prices(
    price_book text DEFAULT 'default', OUT price_id uuid, OUT metric_name text, OUT model text, OUT tier text, OUT tenant_id uuid,
    OUT unit_prices numeric[], OUT up_to numeric[], OUT package_size numeric, OUT included_quantity numeric, OUT currency text,
    OUT valid_from timestamptz, OUT valid_to timestamptz, OUT created_by text
) RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT p.price_id, p.metric_name, p.model, p.tier, p.for_tenant, p.unit_prices, p.up_to, p.package_size, p.included_quantity,
        b.currency, p.valid_from, p.valid_to, p.created_by
    FROM stormops_internal.price_books AS b JOIN stormops_internal.prices AS p ON p.price_book = b.price_book
    WHERE b.price_book = coalesce(nullif($1, ''), 'default')
    ORDER BY p.metric_name, p.tier NULLS FIRST, p.for_tenant NULLS FIRST, p.valid_from
$$;
COMMENT ON FUNCTION stormops.prices(text) IS 'All prices of a book, past and to come: for all (tier and tenant_id NULL), for a tier, for a tenant. For operators.';

CREATE FUNCTION stormops.tenant_prices(
    tenant_id uuid DEFAULT NULL, at timestamptz DEFAULT pg_catalog.now(),
    OUT metric_name text, OUT model text, OUT unit_prices numeric[], OUT up_to numeric[], OUT package_size numeric,
    OUT included_quantity numeric, OUT currency text, OUT whom text, OUT valid_from timestamptz, OUT valid_to timestamptz
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    target uuid := stormops_internal.target_tenant($1, false);
    book text;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    at := coalesce(at, now());
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_tenant(target);
    SELECT a.price_book INTO book FROM stormops_internal.assigned_books(target) AS a;
    RETURN QUERY
        SELECT p.metric_name, p.model, p.unit_prices, p.up_to, p.package_size, p.included_quantity, b.currency,
            coalesce(CASE WHEN p.for_tenant IS NOT NULL THEN 'tenant' END, p.tier), p.valid_from, p.valid_to
        FROM (
            SELECT DISTINCT ON (p.metric_name) p.*
            FROM stormops_internal.tier_history(ARRAY[target]) AS t
            JOIN stormops_internal.prices AS p ON p.price_book = book AND coalesce(p.for_tenant, target) = target AND coalesce(p.tier, t.tier) = t.tier
            WHERE t.from_time <= at AND t.to_time > at AND p.valid_from <= at AND coalesce(p.valid_to, 'infinity') > at
            ORDER BY p.metric_name, p.for_tenant NULLS LAST, p.tier NULLS LAST
        ) AS p
        JOIN stormops_internal.price_books AS b ON b.price_book = p.price_book
        ORDER BY p.metric_name;
END
$$;
COMMENT ON FUNCTION stormops.tenant_prices(uuid, timestamptz) IS 'The prices that hold for a tenant at a moment. whom: a tier, "tenant" for a price of its own, NULL for everybody''s. For operators any tenant, else the one in context (NULL), for its admins. Errors: 42501; P0002 no such tenant.';
