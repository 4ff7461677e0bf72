-- Price books, their currencies, and who pays by which.

CREATE FUNCTION stormops.currencies(OUT currency text, OUT minor_unit smallint) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT c.currency, m.minor_unit::smallint
    FROM (VALUES
        (0, 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF'),
        (2, 'AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP COU '
            'CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES '
            'KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR '
            'NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP '
            'TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG'),
        (3, 'BHD IQD JOD KWD LYD OMR TND'),
        (4, 'CLF UYW')
    ) AS m (minor_unit, codes), string_to_table(m.codes, ' ') AS c (currency)
$$;
COMMENT ON FUNCTION stormops.currencies() IS 'The currencies of ISO 4217 with the number of digits after the point.';

CREATE FUNCTION stormops.create_price_book(
    price_book text, currency text, description text DEFAULT NULL, OUT minor_unit smallint
)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
BEGIN
    SELECT c.minor_unit INTO minor_unit FROM stormops.currencies() AS c WHERE c.currency = create_price_book.currency;
    IF minor_unit IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('unknown currency "%s"', left(currency, 50)),
            HINT = 'SELECT * FROM stormops.currencies(); lists the codes of ISO 4217, such as USD.';
    END IF;
    IF price_book IS NULL OR price_book !~ '^[a-z][a-z0-9_]{0,49}$' OR char_length(description) > 500 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'name or description of the price book is not valid',
            HINT = 'A name is a small letter, then up to 49 small letters, digits and underscores; a description has up to 500 characters.';
    END IF;
    INSERT INTO stormops_internal.price_books AS b (price_book, currency, minor_unit, description, created_by)
    VALUES (price_book, currency, minor_unit, description, stormops_internal.calling_role())
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = format('price book "%s" already exists', price_book),
            HINT = 'A book keeps its currency; choose another name.';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.create_price_book(text, text, text) IS 'Makes an empty price book in a currency of ISO 4217. Returns its minor unit, the digits after the point. For operators. Errors: 22023 unknown currency, name not valid; 23505 it exists.';

CREATE FUNCTION stormops_internal.assigned_books(only_tenant uuid, OUT tenant_id uuid, OUT price_book text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT t.tenant_id, coalesce(a.price_book, 'default')
    FROM stormops.tenants AS t
    LEFT JOIN (
        SELECT DISTINCT ON (a.tenant_id) a.tenant_id, a.price_book FROM stormops.price_book_assignments AS a
        WHERE $1 IS NULL OR a.tenant_id = $1
        ORDER BY a.tenant_id, a.assigned_at DESC
    ) AS a ON a.tenant_id = t.tenant_id
    WHERE $1 IS NULL OR t.tenant_id = $1
$$;
COMMENT ON FUNCTION stormops_internal.assigned_books(uuid) IS 'The price book of a tenant, or of each.';

CREATE FUNCTION stormops_internal.prices_that_hold(
    tenants uuid[], books text[], period date, OUT tenant_id uuid, OUT digest bytea
) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    WITH price AS MATERIALIZED (
        SELECT p.price_book, p.for_tenant,
            string_agg(format('%s %s', p.price_id, extract(epoch FROM least(p.valid_to, l.ends))), ',' ORDER BY p.price_id) AS prices
        FROM stormops_internal.prices AS p, stormops_internal.month_start(($3 + interval '1 month')::date) AS l (ends)
        WHERE p.price_book = ANY ($2) AND p.valid_from < l.ends AND coalesce(p.valid_to, 'infinity') > stormops_internal.month_start($3)
        GROUP BY p.price_book, p.for_tenant
    )
    SELECT a.tenant_id, sha256(convert_to(concat_ws(';', a.price_book, coalesce(e.prices, ''), coalesce(o.prices, '')), 'UTF8'))
    FROM unnest($1, $2) AS a (tenant_id, price_book)
    LEFT JOIN price AS e ON e.price_book = a.price_book AND e.for_tenant IS NULL
    LEFT JOIN price AS o ON o.price_book = a.price_book AND o.for_tenant = a.tenant_id
$$;
COMMENT ON FUNCTION stormops_internal.prices_that_hold(uuid[], text[], date) IS 'For each tenant a digest of the prices of its book that hold in the month, for all, for tiers and for the tenant itself, and of their ends within it: it changes when one is set.';

CREATE FUNCTION stormops.set_price_book(tenant_id uuid, price_book text) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    new_currency text := (SELECT b.currency FROM stormops_internal.price_books AS b WHERE b.price_book = set_price_book.price_book);
BEGIN
    PERFORM stormops_internal.visit_all_tenants();
    PERFORM stormops_internal.require_read_committed();
    IF new_currency IS NULL OR NOT EXISTS (SELECT FROM stormops.tenants AS t WHERE t.tenant_id = set_price_book.tenant_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = 'no such tenant or price book',
            HINT = 'SELECT * FROM stormops.list_tenants(); SELECT stormops.create_price_book(...);';
    END IF;
    LOCK TABLE stormops.invoices IN SHARE MODE;
    PERFORM FROM stormops.tenants AS t WHERE t.tenant_id = set_price_book.tenant_id FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM stormops.invoices AS i WHERE i.tenant_id = set_price_book.tenant_id AND i.status = 'finalized' AND i.currency <> new_currency) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the tenant has invoices in another currency',
            HINT = 'What late events change on them could not be billed. Use a book of the same currency.';
    END IF;
    -- The latest assignment holds: so none is from before another, whatever the clock says.
    INSERT INTO stormops.price_book_assignments (tenant_id, assigned_at, price_book, assigned_by)
    SELECT set_price_book.tenant_id, greatest(clock_timestamp(), max(a.assigned_at) + interval '1 microsecond'), price_book,
        stormops_internal.calling_role()
    FROM stormops.price_book_assignments AS a WHERE a.tenant_id = set_price_book.tenant_id;
END
$$;
COMMENT ON FUNCTION stormops.set_price_book(uuid, text) IS 'By which book a tenant is invoiced from now on; what is finalized stays, and a draft is generated anew. For operators. Errors: 25000 not READ COMMITTED; P0002 no such tenant or book; 55000 it has invoices in another currency.';
