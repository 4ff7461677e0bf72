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
-- 0.2.0: the log is blocks, and what vouches for a run is a print of each. Runs that were sealed decision by decision stay so.
ALTER TABLE stormops.policy_run_digests ADD COLUMN IF NOT EXISTS blocks integer CHECK (blocks > 0);
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = 'stormops.policy_run_digests'::regclass AND k.conname = 'fingerprints_of_all') THEN
        ALTER TABLE stormops.policy_run_digests DROP CONSTRAINT policy_run_digests_check,
            ADD CONSTRAINT fingerprints_of_all CHECK (octet_length(fingerprints) = CASE WHEN blocks IS NULL THEN 8 * decisions ELSE 52 * blocks + 2 * decisions END);
    END IF;
END
$$;
-- Deferred, so that a chain is held from the first entry to the commit and no longer.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = 'stormops.policy_run_digests'::regclass AND g.tgname = 'enter_run') THEN
        CREATE CONSTRAINT TRIGGER enter_run AFTER INSERT ON stormops.policy_run_digests DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION stormops_internal.enter_run();
    END IF;
END
$$;
COMMENT ON TABLE stormops.policy_run_digests IS 'What the decisions of each run were when it was made, as run_seal() gives it. Written by apply_policy(); append-only; entered in tenant_log.';
COMMENT ON COLUMN stormops.policy_run_digests.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.policy_run_digests.run_id IS 'The run, of the same tenant.';
COMMENT ON COLUMN stormops.policy_run_digests.decisions IS 'How many decisions the run has.';
COMMENT ON COLUMN stormops.policy_run_digests.digest IS 'SHA-256 over the digests of its blocks, in the order of property_id; blocks NULL: over the digests of all its decisions.';
COMMENT ON COLUMN stormops.policy_run_digests.fingerprints IS 'For each block its first property (16 bytes), how many decisions (4), its SHA-256 (32) and two bytes for each decision, which name the one that was touched. blocks NULL: for each decision the last four bytes of property_id and the first four of its digest.';
COMMENT ON COLUMN stormops.policy_run_digests.blocks IS 'How many blocks the run has; NULL: 0.1.0 sealed it decision by decision, and so it is verified, whatever form it is kept in.';
