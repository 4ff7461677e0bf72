-- What is final is corrected by others: voided, or credited in part.

CREATE FUNCTION stormops.void_invoice(invoice_id uuid, reason text, OUT invoice_number bigint, OUT voided_at timestamptz)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    invoice record;
    fault text;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_read_committed();
    PERFORM stormops_internal.require_reason($2);
    LOCK TABLE stormops.invoices IN ROW EXCLUSIVE MODE;
    SELECT * INTO invoice FROM stormops_internal.require_invoice($1, true);
    PERFORM FROM stormops.tenants AS t WHERE t.tenant_id = invoice.tenant_id FOR NO KEY UPDATE;
    fault := CASE
        WHEN invoice.kind <> 'invoice' OR invoice.status <> 'finalized' THEN 'only a finalized invoice can be voided'
        WHEN EXISTS (
            SELECT FROM stormops.invoices AS c
            WHERE c.tenant_id = invoice.tenant_id AND c.corrects = $1) THEN 'the invoice has credit notes'
        WHEN EXISTS (
            SELECT FROM stormops.invoice_lines AS l JOIN stormops.invoices AS o ON o.tenant_id = l.tenant_id AND o.invoice_id = l.invoice_id
            WHERE l.tenant_id = invoice.tenant_id AND l.adjusts = $1 AND o.status = 'finalized') THEN 'a later invoice adjusts this one'
    END;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = fault,
            HINT = 'credit_invoice(invoice_id, amount, reason) corrects it; of invoices that adjust each other void the latest first.';
    END IF;
    UPDATE stormops.invoices AS i SET status = 'void', reason = $2, voided_at = clock_timestamp(), voided_by = stormops_internal.calling_role(),
        voided_mark = (SELECT k.mark FROM stormops_internal.next_marks(ARRAY[invoice.tenant_id]) AS k)
    WHERE i.tenant_id = invoice.tenant_id AND i.invoice_id = $1
    RETURNING i.invoice_number, i.voided_at INTO invoice_number, voided_at;
END
$$;
COMMENT ON FUNCTION stormops.void_invoice(uuid, text) IS 'Declares a finalized invoice not due; it keeps its number and its lines, and its month may be invoiced anew. Returns invoice_number, voided_at. For operators. Errors: 22004, 22023 no reason; 25000 not READ COMMITTED; P0002 no such invoice; 55000 not final, credited, or adjusted by a later one.';

CREATE FUNCTION stormops_internal.require_reason(reason text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF reason IS NULL OR btrim(reason) = '' OR char_length(reason) > 500 THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN reason IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
            MESSAGE = 'a reason must be given', HINT = 'It has 1 to 500 characters and is kept with the invoice.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_reason(text) IS 'Errors 22004, 22023 unless there is a reason of 1 to 500 characters.';

CREATE FUNCTION stormops.credit_invoice(
    invoice_id uuid, amount numeric, reason text, OUT credit_note_id uuid, OUT invoice_number bigint, OUT total numeric, OUT left_to_credit numeric
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    invoice stormops.invoices;
    credited numeric;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_read_committed();
    PERFORM stormops_internal.require_reason($3);
    LOCK TABLE stormops.invoices IN ROW EXCLUSIVE MODE;
    PERFORM stormops_internal.require_invoice($1, true);
    SELECT i.* INTO invoice FROM stormops.tenants AS t JOIN stormops.invoices AS i ON i.tenant_id = t.tenant_id WHERE i.invoice_id = $1;
    IF invoice.kind <> 'invoice' OR invoice.status <> 'finalized' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'only a finalized invoice can be credited',
            HINT = 'A draft is generated anew.';
    END IF;
    SELECT -coalesce(sum(c.total), 0) INTO credited FROM stormops.invoices AS c WHERE c.tenant_id = invoice.tenant_id AND c.corrects = $1;
    IF $2 IS NULL OR NOT ($2 > 0 AND $2 <= invoice.total - credited) OR $2 <> round($2, invoice.minor_unit) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('a credit is above 0, at most what is left of the invoice, and has %s digits after the point', invoice.minor_unit),
            DETAIL = format('Left: %s %s.', invoice.total - credited, invoice.currency),
            HINT = 'SELECT * FROM stormops.credit_invoice(invoice_id, 12.50, ''outage of 3 March'');';
    END IF;
    total := -round($2, invoice.minor_unit);
    left_to_credit := invoice.total - credited + total;
    INSERT INTO stormops.invoices AS i (tenant_id, kind, period, org_name, price_book, currency, minor_unit, total, usage_mark, event_count,
        corrects, reason, generated_at, generated_by)
    VALUES (invoice.tenant_id, 'credit_note', invoice.period, invoice.org_name, invoice.price_book, invoice.currency, invoice.minor_unit,
        total, invoice.usage_mark, 0, $1, $3, clock_timestamp(), stormops_internal.calling_role())
    RETURNING i.invoice_id INTO credit_note_id;
    INSERT INTO stormops.invoice_lines (tenant_id, invoice_id, line, kind, metric_name, from_time, to_time, rule, quantity, unit_price, amount)
    VALUES (invoice.tenant_id, credit_note_id, 1, 'credit', 'credit', stormops_internal.month_start(invoice.period),
        stormops_internal.month_start((invoice.period + interval '1 month')::date), format('credit to invoice %s', invoice.invoice_number),
        -1, -total, total);
    SELECT n.invoice_number INTO invoice_number FROM stormops_internal.take_number(invoice.tenant_id, credit_note_id) AS n;
END
$$;
COMMENT ON FUNCTION stormops.credit_invoice(uuid, numeric, text) IS 'Issues a final credit note over a part of a finalized invoice, or over all that is left of it. Returns credit_note_id, its number in the invoices'' series, total (negative) and left_to_credit. For operators. Errors: 22004, 22023 no reason, amount not above 0, above what is left, or finer than the currency; 25000 not READ COMMITTED; P0002 no such invoice; 55000 not final.';
