-- The tamper-evident log: a chain of hashes over a tenant's events, and one over its policy runs.
CREATE TABLE IF NOT EXISTS stormops.tenant_log (
    tenant_id  uuid NOT NULL REFERENCES stormops.tenants,
    log        text NOT NULL CHECK (log IN ('events', 'runs')),
    entry      bigint NOT NULL CHECK (entry > 0),
    subject_id uuid NOT NULL,
    adopted    boolean NOT NULL,
    content    bytea NOT NULL CHECK (octet_length(content) = 32),
    hash       bytea NOT NULL CHECK (octet_length(hash) = 32),
    -- Whoever comes second to an entry waits for the first: a chain has no fork.
    PRIMARY KEY (tenant_id, log, entry),
    UNIQUE (tenant_id, log, subject_id)
);
-- 0.2.0: a chain for what a tenant's own admins do, who can hold theirs for as long as they like.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_constraint AS k WHERE k.conrelid = 'stormops.tenant_log'::regclass AND k.conname = 'tenant_log_log_check'
            AND pg_get_constraintdef(k.oid) LIKE '%people%'
    ) THEN
        ALTER TABLE stormops.tenant_log DROP CONSTRAINT IF EXISTS tenant_log_log_check;
        ALTER TABLE stormops.tenant_log ADD CONSTRAINT tenant_log_log_check CHECK (log IN ('events', 'people', 'runs'));
    END IF;
END
$$;
COMMENT ON TABLE stormops.tenant_log IS 'The chains of hashes that make tenant_events and the policy runs with their decisions tamper-evident; see verify_log(). Append-only; whoever inserts an event or a run is entered here when the transaction commits.';
COMMENT ON COLUMN stormops.tenant_log.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.tenant_log.log IS 'events: rows of tenant_events; people: those of them about users (from 0.2.0 on); runs: rows of policy_runs with their decisions. Chains of their own, so that nothing a tenant does can hold up a suspension.';
COMMENT ON COLUMN stormops.tenant_log.entry IS 'Place in the chain: 1, 2, 3, ... without a gap.';
COMMENT ON COLUMN stormops.tenant_log.subject_id IS 'The event_id or run_id.';
COMMENT ON COLUMN stormops.tenant_log.adopted IS 'True: the row was older than the chain, which vouches for it only from then on.';
COMMENT ON COLUMN stormops.tenant_log.content IS 'SHA-256 of the row''s canonical form: event_digests(), run_digests().';
COMMENT ON COLUMN stormops.tenant_log.hash IS 'SHA-256 of the hash before and this entry: entry_hash().';
