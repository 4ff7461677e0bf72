-- Invoices: drafted for one tenant, or for all in one statement.

CREATE FUNCTION stormops_internal.next_marks(tenants uuid[], OUT tenant_id uuid, OUT mark bigint) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT m.tenant_id, max(m.mark) + 1
    FROM (
        SELECT i.tenant_id, greatest(i.usage_mark, i.finalized_mark, i.voided_mark) AS mark FROM stormops.invoices AS i WHERE i.tenant_id = ANY ($1)
        UNION ALL
        SELECT b.tenant_id, b.mark FROM stormops.usage_batches AS b WHERE b.tenant_id = ANY ($1) AND b.mark IS NOT NULL
    ) AS m
    GROUP BY m.tenant_id
$$;
COMMENT ON FUNCTION stormops_internal.next_marks(uuid[]) IS 'The next step of each tenant, by which what happened first is told: one more than any of its invoices and batches has. None for a tenant without: its first step is 1.';

CREATE FUNCTION stormops_internal.write_invoices(tenants uuid[], books text[], period date, generated_at timestamptz) RETURNS void
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    SET enable_nestloop = off SET jit = off -- as price_segments()
    AS $$
    WITH due AS MATERIALIZED (
        SELECT d.* FROM stormops_internal.due_lines($1, $2, $3, NULL) AS d
    ), written AS (
        INSERT INTO stormops.invoices AS i
            (tenant_id, period, org_name, price_book, currency, minor_unit, total, usage_mark, price_digest, event_count, generated_at,
            generated_by)
        SELECT t.tenant_id, $3, t.org_name, b.price_book, b.currency, b.minor_unit, coalesce(d.total, round(0::numeric, b.minor_unit)),
            coalesce(k.mark, 1), p.digest, coalesce(c.event_count, 0), $4, (SELECT stormops_internal.calling_role())
        FROM unnest($1, $2) AS a (tenant_id, price_book)
        JOIN stormops.tenants AS t ON t.tenant_id = a.tenant_id
        JOIN stormops_internal.price_books AS b ON b.price_book = a.price_book
        JOIN stormops_internal.prices_that_hold($1, $2, $3) AS p ON p.tenant_id = a.tenant_id
        LEFT JOIN (SELECT d.tenant_id, sum(d.amount) AS total FROM due AS d GROUP BY d.tenant_id) AS d ON d.tenant_id = a.tenant_id
        LEFT JOIN stormops_internal.counted_events($1, $3) AS c ON c.tenant_id = a.tenant_id
        LEFT JOIN stormops_internal.next_marks($1) AS k ON k.tenant_id = a.tenant_id
        WHERE t.tenant_id = ANY ($1)
        ON CONFLICT (tenant_id, period) WHERE kind = 'invoice' AND status <> 'void'
        DO UPDATE SET org_name = excluded.org_name, price_book = excluded.price_book, currency = excluded.currency,
            minor_unit = excluded.minor_unit, total = excluded.total, usage_mark = excluded.usage_mark, price_digest = excluded.price_digest,
            event_count = excluded.event_count, generated_at = excluded.generated_at, generated_by = excluded.generated_by
        RETURNING i.tenant_id, i.invoice_id
    )
    INSERT INTO stormops.invoice_lines (tenant_id, invoice_id, line, kind, metric_name, unit, from_time, to_time, tier, rule, quantity,
        unit_price, amount, price_id, adjusts)
    SELECT w.tenant_id, w.invoice_id, d.line, d.kind, d.metric_name, d.unit, d.from_time, d.to_time, d.tier, d.rule, d.quantity,
        d.unit_price, d.amount, d.price_id, d.adjusts
    FROM due AS d JOIN written AS w ON w.tenant_id = d.tenant_id
$$;
COMMENT ON FUNCTION stormops_internal.write_invoices(uuid[], text[], date, timestamptz) IS 'Writes the drafts of a month, their lines of before being gone: one statement, and so one state of rollups and steps.';

CREATE FUNCTION stormops_internal.draft_invoices(tenant_id uuid, period date) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    tenants uuid[];
    books text[];
BEGIN
    PERFORM stormops_internal.require_read_committed();
    IF stormops_internal.month_start((period + interval '1 month')::date) > now() THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = format('%s has not ended', to_char(period, 'YYYY-MM')),
            HINT = 'SELECT * FROM stormops.preview_invoice(tenant_id, period); shows what it comes to so far.';
    END IF;
    -- A tenant's step from before the month's end may be committed only now. No tenant can lock this table so.
    PERFORM stormops_internal.await_writers('stormops.tenants'::regclass::oid);
    -- Until the drafts are committed nothing else is rolled up: what comes then is late for them, and marked so.
    PERFORM FROM stormops_internal.metering_progress AS p FOR UPDATE;
    PERFORM stormops.rollup_usage() WHERE EXISTS (SELECT FROM stormops.usage_batches AS b WHERE b.mark IS NULL);
    -- One run at a time, and no finalisation during it; readers go on.
    LOCK TABLE stormops.invoices IN SHARE ROW EXCLUSIVE MODE;
    SELECT coalesce(array_agg(t.tenant_id), '{}'), coalesce(array_agg(a.price_book), '{}') INTO tenants, books
    FROM stormops.tenants AS t
    JOIN stormops_internal.assigned_books(draft_invoices.tenant_id) AS a ON a.tenant_id = t.tenant_id
    LEFT JOIN stormops.invoices AS i ON i.tenant_id = t.tenant_id AND i.period = draft_invoices.period
        AND i.kind = 'invoice' AND i.status = 'finalized'
    WHERE (draft_invoices.tenant_id IS NULL OR t.tenant_id = draft_invoices.tenant_id) AND i.invoice_id IS NULL
        AND t.created_at < stormops_internal.month_start((draft_invoices.period + interval '1 month')::date)
        AND (t.status <> 'closed' OR t.status_changed_at > stormops_internal.month_start(draft_invoices.period))
        -- Of whom nothing is left to rate.
        AND NOT EXISTS (SELECT FROM stormops_internal.erasures AS e WHERE e.for_tenant = t.tenant_id);
    DELETE FROM stormops.invoice_lines AS l USING stormops.invoices AS i
    WHERE i.tenant_id = ANY (tenants) AND i.period = draft_invoices.period AND i.kind = 'invoice' AND i.status = 'draft'
        AND l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id;
    PERFORM stormops_internal.write_invoices(tenants, books, period, clock_timestamp()) WHERE tenants IS NOT NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.draft_invoices(uuid, date) IS 'Folds what is new into the rollups, then drafts the month''s invoices of one tenant, or of all, that are not finalized. Errors: 25000 not READ COMMITTED; 55000 the month has not ended.';

CREATE FUNCTION stormops.generate_invoice(
    tenant_id uuid, period text, OUT invoice_id uuid, OUT status text, OUT invoice_number bigint, OUT currency text, OUT total numeric,
    OUT lines bigint, OUT usage_mark bigint
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    month date := stormops_internal.billing_period(period);
    invoice stormops.invoices;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_tenant($1);
    PERFORM stormops_internal.draft_invoices($1, month);
    SELECT i.* INTO invoice FROM stormops.invoices AS i
    WHERE i.tenant_id = $1 AND i.period = month AND i.kind = 'invoice' AND i.status <> 'void';
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('the tenant was not there in %s', to_char(month, 'YYYY-MM')),
            HINT = 'A tenant is invoiced from the month of its provisioning to that of its closing.';
    END IF;
    SELECT invoice.invoice_id, invoice.status, invoice.invoice_number, invoice.currency, invoice.total, count(*), invoice.usage_mark
    INTO invoice_id, status, invoice_number, currency, total, lines, usage_mark
    FROM stormops.invoice_lines AS l WHERE l.tenant_id = invoice.tenant_id AND l.invoice_id = invoice.invoice_id;
END
$$;
COMMENT ON FUNCTION stormops.generate_invoice(uuid, text) IS 'Drafts a tenant''s invoice of a month in UTC (2024-01) or refreshes the draft; returns a finalized one as it is. Late events of closed months become adjustment lines. usage_mark: the tenant''s step at which it was drafted. Errors: 22023 not a month; 25000 not READ COMMITTED; 55000 month not ended, or before the tenant; P0002 no such tenant.';

CREATE FUNCTION stormops.generate_invoices(period text, OUT currency text, OUT drafts bigint, OUT finalized bigint, OUT total numeric) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    month date := stormops_internal.billing_period(period);
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.draft_invoices(NULL, month);
    RETURN QUERY
        SELECT i.currency, count(*) FILTER (WHERE i.status = 'draft'), count(*) FILTER (WHERE i.status = 'finalized'), sum(i.total)
        FROM stormops.invoices AS i WHERE i.period = month AND i.kind = 'invoice' AND i.status <> 'void'
        GROUP BY i.currency ORDER BY i.currency;
END
$$;
COMMENT ON FUNCTION stormops.generate_invoices(text) IS 'generate_invoice() for every tenant in one statement. Returns for each currency the number of drafts, that of invoices finalized before, and the total of both. For operators. Errors: 22023, 25000, 55000 as there.';

CREATE FUNCTION stormops.preview_invoice(
    tenant_id uuid, period text,
    OUT line integer, OUT kind text, OUT metric_name text, OUT unit text, OUT from_time timestamptz, OUT to_time timestamptz,
    OUT tier text, OUT rule text, OUT quantity numeric, OUT unit_price numeric, OUT amount numeric, OUT currency text
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    month date := stormops_internal.billing_period(period);
    target uuid := stormops_internal.target_tenant($1, false);
    book stormops_internal.price_books;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_tenant(target);
    SELECT b.* INTO book FROM stormops_internal.price_books AS b
    WHERE b.price_book = (SELECT a.price_book FROM stormops_internal.assigned_books(target) AS a);
    RETURN QUERY
        SELECT d.line, d.kind, d.metric_name, d.unit, d.from_time, d.to_time, d.tier, d.rule, d.quantity, d.unit_price, d.amount, book.currency
        FROM stormops_internal.due_lines(ARRAY[target], ARRAY[book.price_book], month, stormops_internal.every_usage_mark()) AS d
        ORDER BY d.line;
END
$$;
COMMENT ON FUNCTION stormops.preview_invoice(uuid, text) IS 'The lines that a month''s invoice would have now, by the rollups and what is not rolled up yet; writes nothing, and the month need not have ended. For operators any tenant, else the one in context (NULL), for its admins. Errors: 22023 not a month; 42501; P0002 no such tenant.';

CREATE FUNCTION stormops_internal.require_tenant(tenant_id uuid) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF $1 IS NULL OR NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = $1) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('tenant %s does not exist', coalesce($1::text, 'NULL')),
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_tenant(uuid) IS 'Error P0002 unless there is such a tenant.';
