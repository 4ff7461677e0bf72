CREATE TABLE IF NOT EXISTS stormops.policy_run_digests (
    tenant_id    uuid NOT NULL,
    run_id       uuid NOT NULL,
    decisions    bigint NOT NULL CHECK (decisions >= 0),
    digest       bytea NOT NULL CHECK (octet_length(digest) = 32),
    fingerprints bytea NOT NULL CHECK (octet_length(fingerprints) = 8 * decisions),
    PRIMARY KEY (tenant_id, run_id),
    FOREIGN KEY (tenant_id, run_id) REFERENCES stormops.policy_runs
);
-- They are random: compressing them would only take time.
ALTER TABLE stormops.policy_run_digests ALTER COLUMN fingerprints SET STORAGE EXTERNAL;
-- Deferred, so that a chain is held from the first entry to the commit and no longer.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = 'stormops.policy_run_digests'::regclass AND g.tgname = 'enter_run') THEN
        CREATE CONSTRAINT TRIGGER enter_run AFTER INSERT ON stormops.policy_run_digests DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION stormops_internal.enter_run();
    END IF;
END
$$;
COMMENT ON TABLE stormops.policy_run_digests IS 'What the decisions of each run were when it was made, as decisions_digest() gives it. Written by apply_policy(); append-only; entered in tenant_log.';
COMMENT ON COLUMN stormops.policy_run_digests.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.policy_run_digests.run_id IS 'The run, of the same tenant.';
COMMENT ON COLUMN stormops.policy_run_digests.decisions IS 'How many decisions the run has.';
COMMENT ON COLUMN stormops.policy_run_digests.digest IS 'SHA-256 over the digests of all its decisions, in the order of property_id.';
COMMENT ON COLUMN stormops.policy_run_digests.fingerprints IS 'Eight bytes for each decision, in that order: the last four of property_id and the first four of its digest. They name the row that was touched.';
