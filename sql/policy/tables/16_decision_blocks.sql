-- Every decision, some thousands of one run to a row, in the order of property_id: typed arrays of one length, which plain SQL reads
-- with unnest(), with or without the extension. What is alike in many decisions stands once, in the dictionaries.
-- The key begins with the run, whose id is in the order of time: a month's decisions are one partition, retention is
-- dropping it, and new keys fall at the end of the index. Blocks come only from apply_policy(), out of the tenant's own
-- properties; neither those nor runs can be deleted, so the references need no trigger. That the numbers in the
-- arrays are finite and in their ranges, and the properties in order, each once, apply_policy() asserts: a CHECK would cost a
-- call for each decision.
CREATE TABLE IF NOT EXISTS stormops.policy_decision_blocks (
    tenant_id      uuid NOT NULL,
    run_id         uuid NOT NULL,
    block_no       integer NOT NULL CHECK (block_no >= 0),
    storm_id       uuid NOT NULL,
    decided_at     timestamptz NOT NULL CHECK (isfinite(decided_at)),
    policy_mode    text NOT NULL,
    first_property uuid NOT NULL,
    last_property  uuid NOT NULL,
    n              integer NOT NULL CHECK (n BETWEEN 1 AND 4096),
    property_ids   uuid[] NOT NULL,
    classes        smallint[] NOT NULL,
    scores         double precision[] NOT NULL,
    score_sds      double precision[] NOT NULL,
    "values"       double precision[] NOT NULL,
    decisions      text[] NOT NULL CHECK (decisions <@ '{treat,hold,exclude}'),
    reasons        text[] NOT NULL,
    propensities   double precision[] NOT NULL CHECK (0 < ALL (propensities) AND 1 >= ALL (propensities)),
    counts         integer[] NOT NULL CHECK (0 < ALL (counts)),
    model_versions text[] NOT NULL,
    models         smallint[],
    PRIMARY KEY (tenant_id, run_id, first_property),
    CONSTRAINT one_length CHECK (cardinality(property_ids) = n AND cardinality(classes) = n AND cardinality(scores) = n AND cardinality(score_sds) = n AND cardinality("values") = n),
    CONSTRAINT first_and_last CHECK (property_ids[1] = first_property AND property_ids[n] = last_property AND first_property <= last_property),
    CONSTRAINT dictionaries CHECK (cardinality(decisions) BETWEEN 1 AND 255 AND cardinality(reasons) = cardinality(decisions)
        AND cardinality(propensities) = cardinality(decisions) AND cardinality(counts) = cardinality(decisions)),
    CONSTRAINT models CHECK (cardinality(model_versions) BETWEEN 1 AND 255 AND CASE WHEN models IS NULL THEN cardinality(model_versions) = 1 ELSE cardinality(models) = n END)
) PARTITION BY RANGE (run_id);
CREATE TABLE IF NOT EXISTS stormops_internal.policy_decision_blocks_default PARTITION OF stormops.policy_decision_blocks DEFAULT;
-- lz4, or nothing: pglz costs more than all else together. What a database has, a dump of it asks for; a new installation asks its server.
DO $$
DECLARE
    c record;
    fast boolean := EXISTS (SELECT FROM pg_settings AS s WHERE s.name = 'default_toast_compression' AND 'lz4' = ANY (s.enumvals));
BEGIN
    FOR c IN
        SELECT t.relid::regclass AS part, a.attname
        FROM pg_partition_tree('stormops.policy_decision_blocks') AS t JOIN pg_attribute AS a ON a.attrelid = t.relid
        WHERE a.attnum > 0 AND NOT a.attisdropped AND format_type(a.atttypid, NULL) LIKE '%[]' AND CASE WHEN fast THEN a.attcompression <> 'l' ELSE a.attstorage <> 'e' END
    LOOP
        EXECUTE format(CASE WHEN fast THEN 'ALTER TABLE %s ALTER COLUMN %I SET COMPRESSION lz4' ELSE 'ALTER TABLE %s ALTER COLUMN %I SET STORAGE EXTERNAL' END, c.part, c.attname);
    END LOOP;
END
$$;
-- Where new blocks lie: they stand in the order in which they came, so this is small, costs a writer next to nothing, and lets
-- a check read only what is new. 16 pages hold about a million decisions.
CREATE INDEX IF NOT EXISTS policy_decision_blocks_arrival ON stormops.policy_decision_blocks USING brin (tenant_id, decided_at) WITH (pages_per_range = 16, autosummarize = on);
COMMENT ON TABLE stormops_internal.policy_decision_blocks_default IS 'Decisions of a month that has no partition yet; maintain_partitions() moves them.';
COMMENT ON TABLE stormops.policy_decision_blocks IS 'Every decision with its propensity, up to 4,096 of a run in a row, in the order of property_id; append-only. Written by apply_policy(); partitioned by month of the run; policy_decisions_log shows a row for each decision.';
COMMENT ON COLUMN stormops.policy_decision_blocks.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.policy_decision_blocks.run_id IS 'The run, of the same tenant.';
COMMENT ON COLUMN stormops.policy_decision_blocks.block_no IS 'Place of the block in its run, from 0, in the order of property_id.';
COMMENT ON COLUMN stormops.policy_decision_blocks.storm_id IS 'The run''s storm.';
COMMENT ON COLUMN stormops.policy_decision_blocks.decided_at IS 'Server time of the run.';
COMMENT ON COLUMN stormops.policy_decision_blocks.policy_mode IS 'The mode applied.';
COMMENT ON COLUMN stormops.policy_decision_blocks.first_property IS 'The least property_id of the block.';
COMMENT ON COLUMN stormops.policy_decision_blocks.last_property IS 'The greatest.';
COMMENT ON COLUMN stormops.policy_decision_blocks.n IS 'How many decisions the block has, 1 to 4,096.';
COMMENT ON COLUMN stormops.policy_decision_blocks.property_ids IS 'The properties, of the same tenant, in order, each once. The arrays below that have n elements have them in this order.';
COMMENT ON COLUMN stormops.policy_decision_blocks.classes IS 'Place, from 1, of each decision in decisions, reasons and propensities. n elements.';
COMMENT ON COLUMN stormops.policy_decision_blocks.scores IS 'The uplift scores decided on, -1 to 1. n elements.';
COMMENT ON COLUMN stormops.policy_decision_blocks.score_sds IS 'Their standard deviations, above 0 to 1; the mode''s default_sd where the model gave none. n elements.';
COMMENT ON COLUMN stormops.policy_decision_blocks."values" IS 'Expected net value of treating: margin * score - contact_cost, or score - breakeven_uplift without money. n elements.';
COMMENT ON COLUMN stormops.policy_decision_blocks.decisions IS 'treat, hold or exclude, of each class.';
COMMENT ON COLUMN stormops.policy_decision_blocks.reasons IS 'treat: above_threshold, explore_treat; hold: below_threshold, over_capacity, holdout, explore_hold; exclude: do_not_contact. Of each class.';
COMMENT ON COLUMN stormops.policy_decision_blocks.propensities IS 'Probability, above 0 to 1, with which the decision was taken: what inverse-propensity estimates divide by. Of each class.';
COMMENT ON COLUMN stormops.policy_decision_blocks.counts IS 'How many of the n decisions are of each class.';
COMMENT ON COLUMN stormops.policy_decision_blocks.model_versions IS 'The models that gave the scores, each once.';
COMMENT ON COLUMN stormops.policy_decision_blocks.models IS 'Place, from 1, of each score''s model in model_versions, n elements; NULL: one model gave all.';
