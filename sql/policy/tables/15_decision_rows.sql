-- What 0.1.0 wrote row by row. The key begins with the run, whose id is in the order of time: a month's decisions are one
-- partition, and retention is dropping it.
-- 0.2.0: the log is blocks, and its name is that of the view of both (25_log.sql): the rows stand under another. In a new
-- installation there are none.
DO $$
DECLARE
    old record;
BEGIN
    IF to_regclass('stormops.policy_decision_rows') IS NULL THEN
CREATE TABLE IF NOT EXISTS stormops.policy_decisions_log (
    tenant_id     uuid NOT NULL,
    run_id        uuid NOT NULL,
    property_id   uuid NOT NULL,
    storm_id      uuid NOT NULL,
    decided_at    timestamptz NOT NULL CHECK (isfinite(decided_at)),
    propensity    double precision NOT NULL CHECK (propensity > 0 AND propensity <= 1),
    score         double precision NOT NULL CHECK (score BETWEEN -1 AND 1),
    score_sd      double precision NOT NULL CHECK (score_sd > 0 AND score_sd <= 1),
    value         double precision NOT NULL CHECK (value > '-Infinity' AND value < 'Infinity'),
    decision      text NOT NULL CHECK (decision IN ('treat', 'hold', 'exclude')),
    reason        text NOT NULL,
    policy_mode   text NOT NULL,
    model_version text NOT NULL,
    PRIMARY KEY (tenant_id, run_id, property_id)
) PARTITION BY RANGE (run_id);
CREATE TABLE IF NOT EXISTS stormops_internal.policy_decisions_log_default PARTITION OF stormops.policy_decisions_log DEFAULT;
CREATE INDEX IF NOT EXISTS policy_decisions_log_arrival ON stormops.policy_decisions_log USING brin (tenant_id, decided_at) WITH (pages_per_range = 128, autosummarize = on);
        ALTER TABLE stormops.policy_decisions_log RENAME TO policy_decision_rows;
        -- Partitions, checks and indexes by their new table, as in a new installation; a month without decisions needs none.
        FOR old IN
            SELECT i.inhrelid::regclass AS name, c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'stormops.policy_decision_rows'::regclass AND c.relname ~ '^policy_decisions_log_'
        LOOP
            EXECUTE format('ALTER TABLE %s RENAME TO %I', old.name, replace(old.relname, 'policy_decisions_log', 'policy_decision_rows'));
        END LOOP;
        FOR old IN
            SELECT i.indexrelid::regclass AS name, c.relname
            FROM pg_partition_tree('stormops.policy_decision_rows') AS t JOIN pg_index AS i ON i.indrelid = t.relid JOIN pg_class AS c ON c.oid = i.indexrelid
            WHERE c.relname ~ '^policy_decisions_log_'
        LOOP
            EXECUTE format('ALTER INDEX %s RENAME TO %I', old.name, replace(old.relname, 'policy_decisions_log', 'policy_decision_rows'));
        END LOOP;
        FOR old IN
            SELECT k.conname FROM pg_constraint AS k
            WHERE k.conrelid = 'stormops.policy_decision_rows'::regclass AND k.contype IN ('c', 'n') AND k.conname ~ '^policy_decisions_log_'
        LOOP
            EXECUTE format('ALTER TABLE stormops.policy_decision_rows RENAME CONSTRAINT %I TO %I', old.conname, replace(old.conname, 'policy_decisions_log', 'policy_decision_rows'));
        END LOOP;
    END IF;
END
$$;
COMMENT ON TABLE stormops_internal.policy_decision_rows_default IS 'Decisions of a month that has no partition.';
COMMENT ON TABLE stormops.policy_decision_rows IS 'Decisions as 0.1.0 wrote them, one row for each property of a run; new ones are in policy_decision_blocks. policy_decisions_log shows both. Partitioned by month of the run.';
COMMENT ON COLUMN stormops.policy_decision_rows.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.policy_decision_rows.run_id IS 'The run, of the same tenant.';
COMMENT ON COLUMN stormops.policy_decision_rows.property_id IS 'The property, of the same tenant.';
COMMENT ON COLUMN stormops.policy_decision_rows.storm_id IS 'The run''s storm.';
COMMENT ON COLUMN stormops.policy_decision_rows.decided_at IS 'Server time of the run.';
COMMENT ON COLUMN stormops.policy_decision_rows.propensity IS 'Probability, above 0 to 1, with which the logged decision was taken: what inverse-propensity estimates divide by.';
COMMENT ON COLUMN stormops.policy_decision_rows.score IS 'The uplift score decided on.';
COMMENT ON COLUMN stormops.policy_decision_rows.score_sd IS 'Its standard deviation; the mode''s default_sd if the model gave none.';
COMMENT ON COLUMN stormops.policy_decision_rows.value IS 'Expected net value of treating: margin * score - contact_cost, or score - breakeven_uplift without money.';
COMMENT ON COLUMN stormops.policy_decision_rows.decision IS 'treat, hold or exclude.';
COMMENT ON COLUMN stormops.policy_decision_rows.reason IS 'treat: above_threshold, explore_treat; hold: below_threshold, over_capacity, holdout, explore_hold; exclude: do_not_contact.';
COMMENT ON COLUMN stormops.policy_decision_rows.policy_mode IS 'The mode applied.';
COMMENT ON COLUMN stormops.policy_decision_rows.model_version IS 'The model that gave the score.';
