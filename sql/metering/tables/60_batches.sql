-- Which events are rolled up, and which of them came too late for an invoice, is said by rows of the tenant's own: they
-- travel with its events in a dump, a logical copy and a move, where a sequence stays behind and a watermark means nothing.
CREATE TABLE IF NOT EXISTS stormops.usage_batches (
    tenant_id uuid NOT NULL,
    batch_id  uuid NOT NULL,
    mark      bigint CHECK (mark > 0),
    PRIMARY KEY (tenant_id, batch_id)
);
COMMENT ON TABLE stormops.usage_batches IS 'Transactions whose events are not rolled up (mark NULL), and those that were when a month of theirs had an invoice already. Whatever else is in tenant_usage is rolled up, and counted by every invoice of its month. Written by a trigger and by rollup_usage().';
COMMENT ON COLUMN stormops.usage_batches.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.usage_batches.batch_id IS 'tenant_usage.batch_id of its events.';
COMMENT ON COLUMN stormops.usage_batches.mark IS 'NULL: not rolled up. Else the step at which it was: an invoice with a usage_mark below it does not count it. The steps of a tenant are 1, 2, 3 ..., over its batches and its invoices.';

-- 0.2.0: of a number for each event and a watermark. An event of before needs a batch only where it is not rolled up, or was
-- after an invoice of its month.
DO $$
DECLARE
    reached bigint;
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute AS a
        WHERE a.attrelid = 'stormops.tenant_usage'::regclass AND a.attname = 'usage_seq' AND NOT a.attisdropped
    ) THEN
        RETURN;
    END IF;
    SELECT p.watermark INTO reached FROM stormops_internal.metering_progress AS p;
    ALTER TABLE stormops.invoices DISABLE TRIGGER USER;
    -- Twice the place, so that late events have a step between.
    WITH step AS (
        SELECT s.tenant_id, s.invoice_id, s.what, 2 * dense_rank() OVER (PARTITION BY s.tenant_id ORDER BY s.happened_at, s.what) AS mark
        FROM (
            SELECT i.tenant_id, i.invoice_id, 'generated' AS what, i.generated_at AS happened_at FROM stormops.invoices AS i
            UNION ALL
            SELECT i.tenant_id, i.invoice_id, 'finalized', i.finalized_at FROM stormops.invoices AS i WHERE i.finalized_at IS NOT NULL
            UNION ALL
            SELECT i.tenant_id, i.invoice_id, 'voided', i.voided_at FROM stormops.invoices AS i WHERE i.voided_at IS NOT NULL
        ) AS s
    )
    UPDATE stormops.invoices AS i SET usage_mark = s.generated, finalized_mark = s.finalized, voided_mark = s.voided
    FROM (
        SELECT s.tenant_id, s.invoice_id, min(s.mark) FILTER (WHERE s.what = 'generated') AS generated,
            min(s.mark) FILTER (WHERE s.what = 'finalized') AS finalized, min(s.mark) FILTER (WHERE s.what = 'voided') AS voided
        FROM step AS s GROUP BY s.tenant_id, s.invoice_id
    ) AS s
    WHERE i.tenant_id = s.tenant_id AND i.invoice_id = s.invoice_id;
    ALTER TABLE stormops.invoices ENABLE TRIGGER USER;
    WITH late AS (
        SELECT e.tenant_id, e.metric_name, e.recorded_at, e.usage_id,
            CASE WHEN e.usage_seq <= reached THEN (
                SELECT coalesce(max(i.usage_mark), 0) + 1 FROM stormops.invoices AS i
                WHERE i.tenant_id = e.tenant_id AND i.kind = 'invoice' AND i.usage_seq < e.usage_seq)
            END AS mark
        FROM stormops.tenant_usage AS e
        WHERE e.usage_seq > reached OR EXISTS (
            SELECT FROM stormops.invoices AS i
            WHERE i.tenant_id = e.tenant_id AND i.kind = 'invoice' AND i.usage_seq < e.usage_seq
                AND i.period = date_trunc('month', e.recorded_at AT TIME ZONE 'UTC')::date)
    ), batch AS MATERIALIZED (
        SELECT l.tenant_id, l.mark, stormops.new_id() AS batch_id FROM late AS l GROUP BY l.tenant_id, l.mark
    ), made AS (
        INSERT INTO stormops.usage_batches (tenant_id, batch_id, mark) SELECT b.tenant_id, b.batch_id, b.mark FROM batch AS b
    )
    UPDATE stormops.tenant_usage AS e SET batch_id = b.batch_id
    FROM late AS l JOIN batch AS b ON b.tenant_id = l.tenant_id AND b.mark IS NOT DISTINCT FROM l.mark
    WHERE e.tenant_id = l.tenant_id AND e.metric_name = l.metric_name AND e.recorded_at = l.recorded_at AND e.usage_id = l.usage_id;
    ALTER TABLE stormops.tenant_usage DROP COLUMN usage_seq;
    ALTER TABLE stormops.invoices DROP COLUMN usage_seq;
    ALTER TABLE stormops.invoices ALTER COLUMN usage_mark SET NOT NULL;
    ALTER TABLE stormops_internal.metering_progress DROP COLUMN watermark;
END
$$;
