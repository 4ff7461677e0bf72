CREATE TABLE IF NOT EXISTS stormops.price_book_assignments (
    tenant_id   uuid NOT NULL REFERENCES stormops.tenants,
    assigned_at timestamptz NOT NULL DEFAULT clock_timestamp() CHECK (isfinite(assigned_at)),
    price_book  text NOT NULL CHECK (price_book ~ '^[a-z][a-z0-9_]{0,49}$'),
    assigned_by text NOT NULL CHECK (char_length(assigned_by) <= 63),
    PRIMARY KEY (tenant_id, assigned_at)
);
COMMENT ON TABLE stormops.price_book_assignments IS 'By which price book a tenant pays, and so in which currency: the latest row. None: "default". Written by set_price_book().';
COMMENT ON COLUMN stormops.price_book_assignments.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.price_book_assignments.assigned_at IS 'When it was assigned; later than any assignment of the tenant before it, whatever the clock said.';
COMMENT ON COLUMN stormops.price_book_assignments.price_book IS 'A book of price_books.';
COMMENT ON COLUMN stormops.price_book_assignments.assigned_by IS 'The database role that assigned it.';

CREATE TABLE IF NOT EXISTS stormops.invoices (
    tenant_id      uuid NOT NULL REFERENCES stormops.tenants,
    invoice_id     uuid NOT NULL,
    kind           text NOT NULL DEFAULT 'invoice' CHECK (kind IN ('invoice', 'credit_note')),
    period         date NOT NULL CHECK (isfinite(period) AND extract(day FROM period) = 1),
    status         text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'finalized', 'void')),
    invoice_number bigint CHECK (invoice_number > 0),
    org_name       text NOT NULL CHECK (char_length(org_name) BETWEEN 1 AND 200),
    price_book     text NOT NULL CHECK (char_length(price_book) BETWEEN 1 AND 50),
    currency       text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    minor_unit     smallint NOT NULL CHECK (minor_unit BETWEEN 0 AND 4),
    total          numeric NOT NULL CHECK (total BETWEEN -1e30 AND 1e30),
    usage_seq      bigint NOT NULL CHECK (usage_seq >= 0),
    event_count    bigint NOT NULL CHECK (event_count >= 0),
    corrects       uuid,
    reason         text CHECK (char_length(reason) BETWEEN 1 AND 500),
    generated_at   timestamptz NOT NULL DEFAULT now() CHECK (isfinite(generated_at)),
    generated_by   text NOT NULL CHECK (char_length(generated_by) <= 63),
    finalized_at   timestamptz CHECK (isfinite(finalized_at)),
    finalized_by   text CHECK (char_length(finalized_by) <= 63),
    voided_at      timestamptz CHECK (isfinite(voided_at)),
    voided_by      text CHECK (char_length(voided_by) <= 63),
    PRIMARY KEY (tenant_id, invoice_id),
    FOREIGN KEY (tenant_id, corrects) REFERENCES stormops.invoices,
    CHECK ((status = 'draft') = (invoice_number IS NULL)),
    CHECK ((status = 'draft') = (finalized_at IS NULL) AND (status = 'draft') = (finalized_by IS NULL)),
    CHECK ((status = 'void') = (voided_at IS NOT NULL) AND (status = 'void') = (voided_by IS NOT NULL)),
    CHECK ((kind = 'credit_note') = (corrects IS NOT NULL)),
    CHECK (kind = 'invoice' OR total < 0),
    CHECK ((status = 'void' OR kind = 'credit_note') = (reason IS NOT NULL))
);
-- 0.2.0: steps of the tenant's own, 1, 2, 3 ..., instead of the number of the last event over all tenants. What happened first
-- is told by them and by no clock. 60_batches.sql makes them of what was there.
ALTER TABLE stormops.invoices ADD COLUMN IF NOT EXISTS usage_mark bigint CHECK (usage_mark > 0);
ALTER TABLE stormops.invoices ADD COLUMN IF NOT EXISTS finalized_mark bigint CHECK (finalized_mark > 0);
ALTER TABLE stormops.invoices ADD COLUMN IF NOT EXISTS voided_mark bigint CHECK (voided_mark > 0);
-- 0.2.0: that a price was set since the draft is told by what stood then, not by a clock. A draft of before has none, and is
-- generated anew.
ALTER TABLE stormops.invoices ADD COLUMN IF NOT EXISTS price_digest bytea CHECK (octet_length(price_digest) = 32);
CREATE UNIQUE INDEX IF NOT EXISTS invoices_period ON stormops.invoices (tenant_id, period) WHERE kind = 'invoice' AND status <> 'void';
CREATE UNIQUE INDEX IF NOT EXISTS invoices_number ON stormops.invoices (tenant_id, invoice_number);
CREATE INDEX IF NOT EXISTS invoices_corrects ON stormops.invoices (tenant_id, corrects);
ALTER TABLE stormops.invoices ALTER COLUMN invoice_id SET DEFAULT stormops.new_id();
CREATE OR REPLACE TRIGGER guard_insert BEFORE INSERT ON stormops.invoices
    FOR EACH ROW WHEN ((new.status <> 'draft'::text)) EXECUTE FUNCTION stormops_internal.guard_invoice();
CREATE OR REPLACE TRIGGER guard_invoice BEFORE DELETE OR UPDATE ON stormops.invoices
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.guard_invoice();
CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON stormops.invoices
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.guard_invoice();
COMMENT ON TABLE stormops.invoices IS 'Invoices and credit notes. Written by generate_invoice(), finalize_invoice(), void_invoice(), credit_invoice(); a finalized one never changes again but for being voided (trigger).';
COMMENT ON COLUMN stormops.invoices.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.invoices.invoice_id IS 'UUID version 7, made by the server.';
COMMENT ON COLUMN stormops.invoices.kind IS 'invoice or credit_note.';
COMMENT ON COLUMN stormops.invoices.period IS 'First day of the calendar month, UTC.';
COMMENT ON COLUMN stormops.invoices.status IS 'draft: may be generated anew; finalized: immutable; void: was finalized and is not due.';
COMMENT ON COLUMN stormops.invoices.invoice_number IS 'Number from finalisation on: 1, 2, 3 ... without a gap in the tenant''s own series, credit notes included. (Up to 0.1.0 the series was one of all tenants.)';
COMMENT ON COLUMN stormops.invoices.org_name IS 'The tenant''s name when it was generated.';
COMMENT ON COLUMN stormops.invoices.price_book IS 'The price book that it was rated by.';
COMMENT ON COLUMN stormops.invoices.currency IS 'ISO 4217 code.';
COMMENT ON COLUMN stormops.invoices.minor_unit IS 'Digits after the point of its amounts.';
COMMENT ON COLUMN stormops.invoices.total IS 'Sum of the lines'' amounts; negative where late corrections outweigh the month, and of every credit note.';
COMMENT ON COLUMN stormops.invoices.usage_mark IS 'The step at which it was drafted: see usage_batches.';
COMMENT ON COLUMN stormops.invoices.finalized_mark IS 'The step at which it was finalized.';
COMMENT ON COLUMN stormops.invoices.voided_mark IS 'The step at which it was voided.';
COMMENT ON COLUMN stormops.invoices.price_digest IS 'SHA-256 of the prices that held for it in its month when it was drafted; NULL: of a credit note, or drafted by 0.1.0.';
COMMENT ON COLUMN stormops.invoices.event_count IS 'Events of the period that it counts, of all metrics.';
COMMENT ON COLUMN stormops.invoices.corrects IS 'Of a credit note: the invoice that it corrects.';
COMMENT ON COLUMN stormops.invoices.reason IS 'Why it was credited or voided, in the words of whoever did it.';
COMMENT ON COLUMN stormops.invoices.generated_at IS 'When it was last generated.';
COMMENT ON COLUMN stormops.invoices.generated_by IS 'The database role that generated it.';
COMMENT ON COLUMN stormops.invoices.finalized_at IS 'When it was finalized.';
COMMENT ON COLUMN stormops.invoices.finalized_by IS 'The database role that finalized it.';
COMMENT ON COLUMN stormops.invoices.voided_at IS 'When it was voided.';
COMMENT ON COLUMN stormops.invoices.voided_by IS 'The database role that voided it.';

CREATE TABLE IF NOT EXISTS stormops.invoice_lines (
    tenant_id   uuid NOT NULL,
    invoice_id  uuid NOT NULL,
    line        integer NOT NULL CHECK (line > 0),
    kind        text NOT NULL CHECK (kind IN ('usage', 'included', 'flat', 'minimum', 'adjustment', 'credit')),
    metric_name text NOT NULL CHECK (char_length(metric_name) BETWEEN 1 AND 100),
    unit        text CHECK (char_length(unit) BETWEEN 1 AND 50),
    from_time   timestamptz NOT NULL CHECK (isfinite(from_time)),
    to_time     timestamptz NOT NULL CHECK (isfinite(to_time)),
    tier        text CHECK (char_length(tier) BETWEEN 1 AND 50),
    rule        text NOT NULL CHECK (char_length(rule) BETWEEN 1 AND 500),
    quantity    numeric NOT NULL CHECK (quantity BETWEEN -1e30 AND 1e30),
    unit_price  numeric CHECK (unit_price BETWEEN 0 AND 1e30),
    amount      numeric NOT NULL CHECK (amount BETWEEN -1e30 AND 1e30),
    price_id    uuid,
    adjusts     uuid,
    PRIMARY KEY (tenant_id, invoice_id, line),
    FOREIGN KEY (tenant_id, invoice_id) REFERENCES stormops.invoices,
    FOREIGN KEY (tenant_id, adjusts) REFERENCES stormops.invoices,
    CHECK (to_time > from_time),
    CHECK ((kind = 'adjustment') = (adjusts IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS invoice_lines_adjusts ON stormops.invoice_lines (tenant_id, adjusts) WHERE adjusts IS NOT NULL;
CREATE OR REPLACE TRIGGER guard_insert AFTER INSERT ON stormops.invoice_lines REFERENCING NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.guard_invoice_lines();
CREATE OR REPLACE TRIGGER guard_update AFTER UPDATE ON stormops.invoice_lines REFERENCING OLD TABLE AS gone NEW TABLE AS come
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.guard_invoice_lines();
CREATE OR REPLACE TRIGGER guard_delete AFTER DELETE ON stormops.invoice_lines REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.guard_invoice_lines();
CREATE OR REPLACE TRIGGER guard_truncate BEFORE TRUNCATE ON stormops.invoice_lines
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.guard_invoice_lines();
COMMENT ON TABLE stormops.invoice_lines IS 'Lines of invoices. Written with their invoice; fixed once it is finalized (trigger).';
COMMENT ON COLUMN stormops.invoice_lines.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.invoice_lines.invoice_id IS 'The invoice, of the same tenant.';
COMMENT ON COLUMN stormops.invoice_lines.line IS '1, 2, 3 ...';
COMMENT ON COLUMN stormops.invoice_lines.kind IS 'usage; included: usage that costs nothing; flat; minimum: what was missing to it; adjustment: what late events change on a closed invoice; credit.';
COMMENT ON COLUMN stormops.invoice_lines.metric_name IS 'The metric, or the name of the charge.';
COMMENT ON COLUMN stormops.invoice_lines.unit IS 'Unit of the quantity.';
COMMENT ON COLUMN stormops.invoice_lines.from_time IS 'First moment of what is charged.';
COMMENT ON COLUMN stormops.invoice_lines.to_time IS 'First moment after it.';
COMMENT ON COLUMN stormops.invoice_lines.tier IS 'Whom the price holds for: a tier, "tenant" for a price of its own, NULL for everybody.';
COMMENT ON COLUMN stormops.invoice_lines.rule IS 'How the amount came about, for people to read.';
COMMENT ON COLUMN stormops.invoice_lines.quantity IS 'Exact quantity, in the unit; of flat and minimum the share of the month; of an adjustment the difference.';
COMMENT ON COLUMN stormops.invoice_lines.unit_price IS 'Price of a unit, a package or a month, unrounded.';
COMMENT ON COLUMN stormops.invoice_lines.amount IS 'Rounded once, half to even, to the currency''s minor unit.';
COMMENT ON COLUMN stormops.invoice_lines.price_id IS 'The row of prices that it was rated by.';
COMMENT ON COLUMN stormops.invoice_lines.adjusts IS 'Of an adjustment: the closed invoice that was too low or too high.';
