-- Invoices to read: by programs, in psql, in a browser.

CREATE FUNCTION stormops_internal.print_invoice(document jsonb) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'print_invoice_wrapper';
COMMENT ON FUNCTION stormops_internal.print_invoice(jsonb) IS 'The text of a document of invoice_json(). Error: 22023 it is none.';

CREATE FUNCTION stormops_internal.print_invoice_html(document jsonb) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'print_invoice_html_wrapper';
COMMENT ON FUNCTION stormops_internal.print_invoice_html(jsonb) IS 'The page of a document of invoice_json(). Error: 22023 it is none.';

CREATE FUNCTION stormops.list_invoices(
    period text DEFAULT NULL, tenant_id uuid DEFAULT NULL,
    OUT invoice_id uuid, OUT tenant uuid, OUT org_name text, OUT kind text, OUT month date, OUT status text, OUT invoice_number bigint,
    OUT currency text, OUT total numeric, OUT generated_at timestamptz, OUT finalized_at timestamptz
) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    asked date := CASE WHEN $1 IS NOT NULL THEN stormops_internal.billing_period($1) END;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    RETURN QUERY
        SELECT i.invoice_id, i.tenant_id, i.org_name, i.kind, i.period, i.status, i.invoice_number, i.currency, i.total, i.generated_at, i.finalized_at
        FROM stormops.invoices AS i
        WHERE i.period = coalesce(asked, i.period) AND i.tenant_id = coalesce($2, i.tenant_id)
        ORDER BY i.period, i.invoice_number NULLS LAST, i.org_name, i.invoice_id;
END
$$;
COMMENT ON FUNCTION stormops.list_invoices(text, uuid) IS 'Invoices and credit notes of a month (NULL: all), of a tenant (NULL: all). For operators; a tenant reads its own in invoices. Error: 22023 not a month.';

CREATE FUNCTION stormops.invoice_json(invoice_id uuid) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    document jsonb;
    own uuid := CASE WHEN NOT stormops_internal.is_operator() THEN stormops_internal.target_tenant(NULL, false) END;
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    SELECT jsonb_build_object(
        'invoice_id', i.invoice_id, 'tenant_id', i.tenant_id, 'kind', i.kind, 'number', i.invoice_number::text, 'status', i.status,
        'period', to_char(i.period, 'YYYY-MM'), 'organisation', i.org_name, 'currency', i.currency,
        'total', round(i.total, i.minor_unit)::text, 'price_book', i.price_book, 'usage_mark', i.usage_mark::text,
        'generated_at', stormops_internal.utc_text(i.generated_at), 'finalized_at', stormops_internal.utc_text(i.finalized_at),
        'voided_at', stormops_internal.utc_text(i.voided_at), 'corrects', i.corrects, 'corrects_number', c.invoice_number::text, 'reason', i.reason,
        'lines', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'line', l.line::text, 'kind', l.kind, 'metric_name', l.metric_name, 'unit', l.unit,
                'from_time', stormops_internal.utc_text(l.from_time), 'to_time', stormops_internal.utc_text(l.to_time), 'tier', l.tier, 'rule', l.rule,
                'quantity', trim_scale(l.quantity)::text, 'unit_price', trim_scale(l.unit_price)::text,
                'amount', round(l.amount, i.minor_unit)::text, 'price_id', l.price_id, 'adjusts', l.adjusts) ORDER BY l.line)
            FROM stormops.invoice_lines AS l WHERE l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id), '[]'))
    INTO document
    FROM stormops.tenants AS t
    JOIN stormops.invoices AS i ON i.tenant_id = t.tenant_id
    LEFT JOIN stormops.invoices AS c ON c.tenant_id = i.tenant_id AND c.invoice_id = i.corrects
    WHERE i.invoice_id = $1 AND i.tenant_id = coalesce(own, i.tenant_id);
    IF document IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = format('invoice %s does not exist', coalesce($1::text, 'NULL')),
            HINT = 'stormops.invoices has a tenant''s own; stormops.list_invoices() is for operators.';
    END IF;
    RETURN document;
END
$$;
COMMENT ON FUNCTION stormops.invoice_json(uuid) IS 'An invoice or credit note with its lines as JSON. Numbers are text, exact to the last digit; times are UTC. For operators, and for a tenant''s admins its own. Errors: P0002 no such invoice (of the tenant); 42501; 0B000 no tenant in context.';

CREATE FUNCTION stormops_internal.utc_text(moment timestamptz) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT to_char($1 AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') $$;
COMMENT ON FUNCTION stormops_internal.utc_text(timestamptz) IS 'The moment in UTC to the second, as ISO 8601 writes it.';

CREATE FUNCTION stormops.invoice_text(invoice_id uuid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops_internal.print_invoice(stormops.invoice_json($1)) $$;
COMMENT ON FUNCTION stormops.invoice_text(uuid) IS E'An invoice for psql (\\pset format unaligned, \\t on): columns of fixed width. Errors as invoice_json().';

CREATE FUNCTION stormops.invoice_html(invoice_id uuid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT stormops_internal.print_invoice_html(stormops.invoice_json($1)) $$;
COMMENT ON FUNCTION stormops.invoice_html(uuid) IS 'An invoice as one page that needs nothing else, for the browser (light or dark) and the printer; every value escaped. Errors as invoice_json().';
