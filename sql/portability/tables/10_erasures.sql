-- 0.2.0: how far the erasure of a tenant has come, and at the end its receipt.
CREATE TABLE IF NOT EXISTS stormops_internal.erasures (
    for_tenant  uuid PRIMARY KEY REFERENCES stormops.tenants,
    begun_at    timestamptz NOT NULL DEFAULT now() CHECK (isfinite(begun_at)),
    begun_by    text NOT NULL CHECK (char_length(begun_by) <= 63),
    before      jsonb NOT NULL CHECK (jsonb_typeof(before) = 'object'),
    log_heads   jsonb NOT NULL CHECK (jsonb_typeof(log_heads) = 'array'),
    erased      bigint NOT NULL DEFAULT 0 CHECK (erased >= 0),
    analyzed    text[] NOT NULL DEFAULT '{}',
    finished_at timestamptz CHECK (isfinite(finished_at)),
    receipt     jsonb CHECK (jsonb_typeof(receipt) = 'object'),
    CHECK ((finished_at IS NULL) = (receipt IS NULL))
);
COMMENT ON TABLE stormops_internal.erasures IS 'Tenants that are erased or being erased. Written by erase_tenant(); none is ever deleted, as no tenant is.';
COMMENT ON COLUMN stormops_internal.erasures.for_tenant IS 'The tenant, which is closed.';
COMMENT ON COLUMN stormops_internal.erasures.begun_at IS 'When it was first called for.';
COMMENT ON COLUMN stormops_internal.erasures.begun_by IS 'By which database role.';
COMMENT ON COLUMN stormops_internal.erasures.before IS 'How many rows each table had then, an object of names and counts.';
COMMENT ON COLUMN stormops_internal.erasures.log_heads IS 'What log_head() gave then: the log itself is erased.';
COMMENT ON COLUMN stormops_internal.erasures.erased IS 'Rows deleted so far.';
COMMENT ON COLUMN stormops_internal.erasures.analyzed IS 'Tables whose statistics, which hold values of rows, were made anew.';
COMMENT ON COLUMN stormops_internal.erasures.finished_at IS 'When nothing was left that can go.';
COMMENT ON COLUMN stormops_internal.erasures.receipt IS 'What erase_tenant() returned at the end.';
