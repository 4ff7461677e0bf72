-- Invoices proved from the raw events, and rated again by other prices. Nothing here writes.

CREATE FUNCTION stormops.verify_invoice(
    invoice_id uuid, OUT verified boolean, OUT lines bigint, OUT events bigint, OUT first_difference integer, OUT what text
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    i stormops.invoices;
    owed record;
    first_month date;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    SELECT e.* INTO owed FROM stormops_internal.require_invoice($1, false) AS e;
    SELECT n.* INTO i FROM stormops.invoices AS n WHERE n.tenant_id = owed.tenant_id AND n.invoice_id = $1;
    -- Those of a month that it adjusts prove it as its own do.
    SELECT least(i.period, min(a.period)) INTO first_month
    FROM stormops.invoice_lines AS l JOIN stormops.invoices AS a ON a.tenant_id = l.tenant_id AND a.invoice_id = l.adjusts
    WHERE l.tenant_id = i.tenant_id AND l.invoice_id = $1;
    IF stormops_internal.month_start(first_month) < (SELECT p.kept_from FROM stormops_internal.metering_progress AS p) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('the raw events of %s were dropped', to_char(first_month, 'YYYY-MM')),
            HINT = 'Verify an invoice before stormops.drop_usage_before() takes what proves it.';
    END IF;
    SELECT count(*) INTO lines FROM stormops.invoice_lines AS l WHERE l.tenant_id = i.tenant_id AND l.invoice_id = $1;
    SELECT count(*) INTO events
    FROM stormops.metrics AS m
    JOIN stormops.tenant_usage AS u ON u.tenant_id = m.tenant_id AND u.metric_name = m.metric_name
    WHERE m.tenant_id = i.tenant_id AND u.recorded_at >= stormops_internal.month_start(i.period)
        AND u.recorded_at < stormops_internal.month_start((i.period + interval '1 month')::date) AND NOT EXISTS (
            SELECT FROM stormops.usage_batches AS b
            WHERE b.tenant_id = u.tenant_id AND b.batch_id = u.batch_id AND coalesce(b.mark > i.usage_mark, true));
    IF i.kind = 'credit_note' THEN
        SELECT CASE WHEN count(*) <> 1 OR sum(l.amount) <> i.total THEN 1 END, 'the line of the credit note is not its total'
        INTO first_difference, what FROM stormops.invoice_lines AS l WHERE l.tenant_id = i.tenant_id AND l.invoice_id = $1;
    ELSE
        SELECT line, CASE
            WHEN l.line IS NULL THEN format('missing: %s %s, amount %s', d.kind, d.metric_name, d.amount)
            WHEN d.line IS NULL THEN format('not due: %s %s, amount %s', l.kind, l.metric_name, l.amount)
            ELSE format('%s %s: quantity %s, unit price %s, amount %s; due are %s, %s, %s', l.kind, l.metric_name,
                l.quantity, l.unit_price, l.amount, d.quantity, d.unit_price, d.amount)
        END
        INTO first_difference, what
        FROM (SELECT l.* FROM stormops.invoice_lines AS l WHERE l.tenant_id = i.tenant_id AND l.invoice_id = $1) AS l
        FULL JOIN stormops_internal.due_lines(ARRAY[i.tenant_id], ARRAY[i.price_book], i.period, i.usage_mark) AS d USING (line)
        WHERE (l.kind, l.metric_name, l.unit, l.from_time, l.to_time, l.tier, l.rule, l.quantity, l.unit_price, l.amount, l.price_id, l.adjusts)
            IS DISTINCT FROM
            (d.kind, d.metric_name, d.unit, d.from_time, d.to_time, d.tier, d.rule, d.quantity, d.unit_price, d.amount, d.price_id, d.adjusts)
        ORDER BY line LIMIT 1;
        IF first_difference IS NULL AND i.total <> (
            SELECT coalesce(sum(l.amount), 0) FROM stormops.invoice_lines AS l WHERE l.tenant_id = i.tenant_id AND l.invoice_id = $1
        ) THEN
            first_difference := 0;
            what := 'the total is not the sum of the lines';
        END IF;
        IF first_difference IS NULL AND events <> i.event_count THEN
            first_difference := 0;
            what := format('the invoice counts %s events, the raw events that it should are %s', i.event_count, events);
        END IF;
    END IF;
    verified := first_difference IS NULL;
    what := CASE WHEN verified THEN NULL ELSE what END;
END
$$;
COMMENT ON FUNCTION stormops.verify_invoice(uuid) IS 'Computes an invoice again from the raw events that were rolled up when it was drafted, and compares every value of every line. Returns verified, lines, events, first_difference (the line; 0: the total or the number of events) and what differs. Writes nothing. For operators. Errors: 55000 the raw events of its month, or of one it adjusts, were dropped; P0002 no such invoice.';

CREATE FUNCTION stormops.rate_again(
    period text, price_book text,
    OUT tenant_id uuid, OUT org_name text, OUT old_currency text, OUT old_total numeric, OUT new_currency text, OUT new_total numeric,
    OUT difference numeric
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    month date := stormops_internal.billing_period(period);
    new_book stormops_internal.price_books;
    tenants uuid[];
    books text[];
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    SELECT b.* INTO new_book FROM stormops_internal.price_books AS b WHERE b.price_book = $2;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('price book "%s" does not exist', left($2, 50)),
            HINT = 'SELECT stormops.create_price_book(''trial_prices'', ''USD''); then set its prices.';
    END IF;
    SELECT coalesce(array_agg(t.tenant_id), '{}'), coalesce(array_agg(coalesce(i.price_book, a.price_book)), '{}') INTO tenants, books
    FROM stormops.tenants AS t
    JOIN stormops_internal.assigned_books(NULL) AS a ON a.tenant_id = t.tenant_id
    LEFT JOIN stormops.invoices AS i ON i.tenant_id = t.tenant_id AND i.period = month AND i.kind = 'invoice' AND i.status <> 'void'
    WHERE t.created_at < stormops_internal.month_start((month + interval '1 month')::date)
        AND (t.status <> 'closed' OR t.status_changed_at > stormops_internal.month_start(month));
    RETURN QUERY
        SELECT t.tenant_id, t.org_name, b.currency, coalesce(o.total, 0), new_book.currency, coalesce(n.total, 0),
            CASE WHEN b.currency = new_book.currency THEN coalesce(n.total, 0) - coalesce(o.total, 0) END
        FROM unnest(tenants, books) AS a (tenant_id, price_book)
        JOIN stormops.tenants AS t ON t.tenant_id = a.tenant_id
        JOIN stormops_internal.price_books AS b ON b.price_book = a.price_book
        LEFT JOIN (
            SELECT r.tenant_id, sum(r.amount) AS total
            FROM stormops.rate(tenants, array_fill(month, ARRAY[cardinality(tenants)]), books, NULL) AS r GROUP BY r.tenant_id
        ) AS o ON o.tenant_id = a.tenant_id
        LEFT JOIN (
            SELECT r.tenant_id, sum(r.amount) AS total
            FROM stormops.rate(tenants, array_fill(month, ARRAY[cardinality(tenants)]),
                array_fill(new_book.price_book, ARRAY[cardinality(tenants)]), NULL) AS r GROUP BY r.tenant_id
        ) AS n ON n.tenant_id = a.tenant_id
        ORDER BY t.org_name, t.tenant_id;
END
$$;
COMMENT ON FUNCTION stormops.rate_again(text, text) IS 'What a month would come to by another price book: for each tenant the total by the book it is billed by and by that one, both by the rollups as they are now, without adjustments, and the difference where the currency is the same. Writes nothing. For operators. Errors: 22023 not a month; P0002 no such book.';
