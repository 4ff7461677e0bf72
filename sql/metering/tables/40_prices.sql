-- The installation's own: what things cost, for all tenants. No tenant's rows, so no grants; functions show a tenant its part.
CREATE TABLE IF NOT EXISTS stormops_internal.price_books (
    price_book  text PRIMARY KEY CHECK (price_book ~ '^[a-z][a-z0-9_]{0,49}$'),
    currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    minor_unit  smallint NOT NULL CHECK (minor_unit BETWEEN 0 AND 4),
    description text CHECK (char_length(description) <= 500),
    created_at  timestamptz NOT NULL DEFAULT now() CHECK (isfinite(created_at)),
    created_by  text NOT NULL CHECK (char_length(created_by) <= 63)
);
COMMENT ON TABLE stormops_internal.price_books IS 'Price books, one currency each. Written by create_price_book(). "default" is what tenants pay by unless set_price_book() says otherwise; "cost" is what usage costs the operator.';
COMMENT ON COLUMN stormops_internal.price_books.price_book IS 'Name: a small letter, then up to 49 small letters, digits and underscores.';
COMMENT ON COLUMN stormops_internal.price_books.currency IS 'ISO 4217 code.';
COMMENT ON COLUMN stormops_internal.price_books.minor_unit IS 'Digits after the point of an amount in that currency (ISO 4217), to which lines are rounded.';
COMMENT ON COLUMN stormops_internal.price_books.description IS 'What the book is for, up to 500 characters.';
COMMENT ON COLUMN stormops_internal.price_books.created_at IS 'When it was made.';
COMMENT ON COLUMN stormops_internal.price_books.created_by IS 'The database role that made it.';

CREATE TABLE IF NOT EXISTS stormops_internal.prices (
    price_id          uuid PRIMARY KEY,
    price_book        text NOT NULL REFERENCES stormops_internal.price_books,
    for_tenant        uuid REFERENCES stormops.tenants,
    tier              text CHECK (tier IN ('trial', 'standard', 'enterprise')),
    metric_name       text NOT NULL CHECK (char_length(metric_name) BETWEEN 1 AND 100),
    model             text NOT NULL CHECK (model IN ('per_unit', 'graduated', 'volume', 'package', 'flat', 'minimum')),
    unit_prices       numeric[] NOT NULL CHECK (cardinality(unit_prices) >= 1 AND cardinality(unit_prices) <= 20 AND array_position(unit_prices, NULL) IS NULL
                          AND 0 <= ALL (unit_prices) AND 1e12 >= ALL (unit_prices)),
    up_to             numeric[] NOT NULL DEFAULT '{}' CHECK (array_position(up_to, NULL) IS NULL AND 0 < ALL (up_to) AND 1e15 >= ALL (up_to)),
    package_size      numeric CHECK (package_size > 0 AND package_size <= 1e15),
    included_quantity numeric NOT NULL DEFAULT 0 CHECK (included_quantity >= 0 AND included_quantity <= 1e15),
    valid_from        timestamptz NOT NULL CHECK (isfinite(valid_from) AND extract(epoch FROM valid_from) % 3600 = 0),
    valid_to          timestamptz CHECK (isfinite(valid_to) AND extract(epoch FROM valid_to) % 3600 = 0),
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp() CHECK (isfinite(created_at)),
    created_by        text NOT NULL CHECK (char_length(created_by) <= 63),
    CHECK (valid_to > valid_from),
    CHECK (for_tenant IS NULL OR tier IS NULL),
    CHECK (cardinality(unit_prices) = cardinality(up_to) + 1),
    CHECK (model IN ('graduated', 'volume') OR cardinality(unit_prices) = 1),
    CHECK ((model = 'package') = (package_size IS NOT NULL)),
    CHECK (model NOT IN ('flat', 'minimum') OR included_quantity = 0)
);
CREATE INDEX IF NOT EXISTS prices_of ON stormops_internal.prices (price_book, metric_name, valid_from);
CREATE INDEX IF NOT EXISTS prices_for ON stormops_internal.prices (for_tenant);
ALTER TABLE stormops_internal.prices ALTER COLUMN price_id SET DEFAULT stormops.new_id();
CREATE OR REPLACE TRIGGER take_restored BEFORE INSERT ON stormops_internal.price_books
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.take_restored();
CREATE OR REPLACE TRIGGER guard_price BEFORE INSERT OR DELETE OR UPDATE ON stormops_internal.prices
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.guard_price();
CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON stormops_internal.prices
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.guard_price();
COMMENT ON TABLE stormops_internal.prices IS 'Prices with the period in which they are valid, [valid_from, valid_to). Written by set_price(); never changed but for the end of their validity, and never deleted (trigger). The most specific one holds: of the tenant, of its tier, of all.';
COMMENT ON COLUMN stormops_internal.prices.price_id IS 'UUID version 7, made by the server.';
COMMENT ON COLUMN stormops_internal.prices.price_book IS 'The book.';
COMMENT ON COLUMN stormops_internal.prices.for_tenant IS 'The one tenant it holds for; NULL: all of the tier.';
COMMENT ON COLUMN stormops_internal.prices.tier IS 'The tier it holds for: trial, standard, enterprise; NULL: all.';
COMMENT ON COLUMN stormops_internal.prices.metric_name IS 'The metric; of models flat and minimum the name of the charge.';
COMMENT ON COLUMN stormops_internal.prices.model IS 'per_unit; graduated: each band''s quantity at the band''s price; volume: the whole quantity at the price of the band it reaches; package: whole packages begun; flat: an amount a month; minimum: what the other charges of the month are filled up to.';
COMMENT ON COLUMN stormops_internal.prices.unit_prices IS 'Price of a unit (of a package, of the month) in the book''s currency, 0 to 1e12; of graduated and volume one for each band.';
COMMENT ON COLUMN stormops_internal.prices.up_to IS 'Upper ends of all bands but the last, ascending, inclusive.';
COMMENT ON COLUMN stormops_internal.prices.package_size IS 'Units in a package, of model package.';
COMMENT ON COLUMN stormops_internal.prices.included_quantity IS 'Units a month that cost nothing.';
COMMENT ON COLUMN stormops_internal.prices.valid_from IS 'First moment, a whole hour UTC.';
COMMENT ON COLUMN stormops_internal.prices.valid_to IS 'First moment after it, a whole hour UTC; NULL: none yet.';
COMMENT ON COLUMN stormops_internal.prices.created_at IS 'When it was set.';
COMMENT ON COLUMN stormops_internal.prices.created_by IS 'The database role that set it.';

CREATE TABLE IF NOT EXISTS stormops_internal.invoice_numbers (
    series      text PRIMARY KEY CHECK (series = 'invoice'),
    last_number bigint NOT NULL CHECK (last_number >= 0)
);
-- 0.2.0: a series for each tenant, which is its last invoice. One for all told a tenant how many others pay, let nobody
-- finalize beside another, and began anew in a copy of rows alone.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_depend AS d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = 'stormops_internal.invoice_numbers'::regclass AND d.deptype = 'e'
    ) THEN
        ALTER EXTENSION stormops DROP TABLE stormops_internal.invoice_numbers;
    END IF;
    DROP TABLE stormops_internal.invoice_numbers;
END
$$;

INSERT INTO stormops_internal.price_books (price_book, currency, minor_unit, description, created_by)
VALUES ('default', 'USD', 2, 'What tenants pay.', 'stormops'), ('cost', 'USD', 2, 'What usage costs the operator.', 'stormops')
ON CONFLICT (price_book) DO NOTHING;
INSERT INTO stormops_internal.prices (price_id, price_book, metric_name, model, unit_prices, valid_from, created_by)
SELECT stormops.new_id(), 'default', p.metric_name, 'per_unit', ARRAY[p.unit_price], '2000-01-01 00:00Z', 'stormops'
FROM (VALUES ('model_call', 0.01), ('storage_mb', 0.10)) AS p (metric_name, unit_price)
WHERE NOT EXISTS (SELECT FROM stormops_internal.prices);
