-- What is final stays: triggers that hold for everybody, numbers without a gap.

CREATE FUNCTION stormops_internal.guard_invoice() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    fixed boolean := CASE TG_OP
        -- A restore, which sets row_security off, brings invoices as they were.
        WHEN 'INSERT' THEN NEW.status <> 'draft' AND current_setting('row_security') = 'on'
        WHEN 'UPDATE' THEN
            (OLD.status = 'void' OR OLD.status = 'draft' AND NEW.status = 'void'
            OR (OLD.tenant_id, OLD.invoice_id, OLD.kind, OLD.period) IS DISTINCT FROM (NEW.tenant_id, NEW.invoice_id, NEW.kind, NEW.period)
            OR OLD.status = 'finalized' AND (NEW.status <> 'void'
                OR to_jsonb(OLD) - '{status,voided_at,voided_by,voided_mark,reason}'::text[] <> to_jsonb(NEW) - '{status,voided_at,voided_by,voided_mark,reason}'::text[]))
            -- Of a tenant that is erased the name goes, and nothing else.
            AND NOT (NEW.org_name = 'erased' AND NEW.reason IS NOT DISTINCT FROM CASE WHEN OLD.reason IS NOT NULL THEN 'erased' END
                AND to_jsonb(OLD) - '{org_name,reason}'::text[] = to_jsonb(NEW) - '{org_name,reason}'::text[]
                AND EXISTS (SELECT FROM stormops_internal.erasures AS e WHERE e.for_tenant = OLD.tenant_id))
        WHEN 'DELETE' THEN OLD.status <> 'draft'
        ELSE true
    END;
BEGIN
    IF fixed THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'a finalized invoice is never changed or deleted',
            HINT = 'SELECT * FROM stormops.credit_invoice(invoice_id, amount, reason); or void_invoice(invoice_id, reason).';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
COMMENT ON FUNCTION stormops_internal.guard_invoice() IS 'Trigger: draft, then finalized, then perhaps void; nothing else changes once it is finalized, whoever tries. Error: 55000.';

CREATE FUNCTION stormops_internal.guard_invoice_lines() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    fixed boolean := TG_OP = 'TRUNCATE';
BEGIN
    -- One statement's lines are looked at together: an invoice run writes all tenants'.
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        fixed := EXISTS (SELECT FROM gone AS l JOIN stormops.invoices AS i ON i.tenant_id = l.tenant_id AND i.invoice_id = l.invoice_id
            WHERE i.status <> 'draft');
    END IF;
    IF NOT fixed AND (TG_OP = 'UPDATE' OR TG_OP = 'INSERT' AND current_setting('row_security') = 'on') THEN
        fixed := EXISTS (SELECT FROM come AS l JOIN stormops.invoices AS i ON i.tenant_id = l.tenant_id AND i.invoice_id = l.invoice_id
            WHERE i.status <> 'draft');
    END IF;
    IF fixed THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the lines of a finalized invoice are never changed',
            HINT = 'SELECT * FROM stormops.credit_invoice(invoice_id, amount, reason); or void_invoice(invoice_id, reason).';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stormops_internal.guard_invoice_lines() IS 'Trigger: lines come, change and go with a draft only, whoever tries. Error: 55000.';

CREATE FUNCTION stormops_internal.require_invoice(
    invoice_id uuid, for_update boolean, OUT tenant_id uuid, OUT kind text, OUT period date, OUT status text, OUT total numeric
)
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    SELECT i.tenant_id, i.kind, i.period, i.status, i.total INTO tenant_id, kind, period, status, total
    FROM stormops.tenants AS t JOIN stormops.invoices AS i ON i.tenant_id = t.tenant_id WHERE i.invoice_id = $1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('invoice %s does not exist', coalesce($1::text, 'NULL')),
            HINT = 'SELECT * FROM stormops.list_invoices(period);';
    END IF;
    IF for_update THEN
        -- Read again under the lock: another session may just have taken a step.
        SELECT i.status INTO status FROM stormops.invoices AS i
        WHERE i.tenant_id = require_invoice.tenant_id AND i.invoice_id = $1 FOR UPDATE;
    END IF;
END
$$;
COMMENT ON FUNCTION stormops_internal.require_invoice(uuid, boolean) IS 'The invoice of an id, locked if it is to be changed. Error: P0002 there is none.';

CREATE FUNCTION stormops_internal.take_number(tenant_id uuid, invoice_id uuid, OUT invoice_number bigint, OUT finalized_at timestamptz)
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    -- Whoever else finalizes for this tenant waits here until we commit, or takes the number that we gave back.
    SELECT FROM stormops.tenants AS t WHERE t.tenant_id = $1 FOR NO KEY UPDATE;
    UPDATE stormops.invoices AS i
    SET status = 'finalized', finalized_at = clock_timestamp(), finalized_by = stormops_internal.calling_role(),
        invoice_number = 1 + (SELECT coalesce(max(n.invoice_number), 0) FROM stormops.invoices AS n WHERE n.tenant_id = $1),
        finalized_mark = coalesce((SELECT k.mark FROM stormops_internal.next_marks(ARRAY[$1]) AS k), 1)
    WHERE i.tenant_id = $1 AND i.invoice_id = $2
    RETURNING i.invoice_number, i.finalized_at
$$;
COMMENT ON FUNCTION stormops_internal.take_number(uuid, uuid) IS 'Finalizes a draft with the next number of the tenant.';

CREATE FUNCTION stormops.finalize_invoice(invoice_id uuid, OUT invoice_number bigint, OUT finalized_at timestamptz)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    invoice record;
    stale text;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_read_committed();
    -- Waits for a run that refreshes drafts, and for a price that is being set.
    LOCK TABLE stormops.invoices IN ROW EXCLUSIVE MODE;
    SELECT * INTO invoice FROM stormops_internal.require_invoice($1, true);
    IF invoice.status <> 'draft' THEN
        IF invoice.status = 'finalized' THEN
            SELECT i.invoice_number, i.finalized_at INTO invoice_number, finalized_at FROM stormops.invoices AS i
            WHERE i.tenant_id = invoice.tenant_id AND i.invoice_id = $1;
            RETURN;
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the invoice is void',
            HINT = 'SELECT * FROM stormops.generate_invoice(tenant_id, period); drafts another for its month.';
    END IF;
    -- Other steps of this tenant's invoices wait here, so that two drafts never bill the same late events.
    PERFORM FROM stormops.tenants AS t WHERE t.tenant_id = invoice.tenant_id FOR NO KEY UPDATE;
    SELECT CASE
        WHEN EXISTS (
            SELECT FROM stormops.invoices AS o
            WHERE o.tenant_id = i.tenant_id AND o.kind = 'invoice' AND greatest(o.finalized_mark, o.voided_mark) > i.usage_mark)
            THEN 'another invoice of the tenant was finalized or voided since this one was drafted'
        WHEN i.price_digest IS DISTINCT FROM (
            SELECT p.digest FROM stormops_internal.prices_that_hold(ARRAY[i.tenant_id], ARRAY[i.price_book], i.period) AS p)
            THEN 'a price of the month was set since this one was drafted'
        WHEN i.price_book <> (SELECT a.price_book FROM stormops_internal.assigned_books(i.tenant_id) AS a)
            THEN 'the tenant pays by another price book than that of the draft'
    END INTO stale
    FROM stormops.invoices AS i WHERE i.tenant_id = invoice.tenant_id AND i.invoice_id = $1;
    IF stale IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = stale,
            HINT = 'SELECT * FROM stormops.generate_invoice(tenant_id, period); refreshes the draft.';
    END IF;
    SELECT n.* INTO invoice_number, finalized_at FROM stormops_internal.take_number(invoice.tenant_id, $1) AS n;
END
$$;
COMMENT ON FUNCTION stormops.finalize_invoice(uuid) IS 'Makes a draft final, with the next number of the tenant''s series: no gap, since a rolled back call gives its number back. One that is final already is returned as it is. Returns invoice_number, finalized_at. For operators. Errors: 25000 not READ COMMITTED; P0002 no such invoice; 55000 void, or the draft is older than another invoice''s step, a price of the month or the tenant''s price book.';
