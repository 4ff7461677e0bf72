CREATE TABLE IF NOT EXISTS stormops.lead_uplift (
    tenant_id     uuid NOT NULL,
    storm_id      uuid NOT NULL,
    property_id   uuid NOT NULL,
    scored_at     timestamptz NOT NULL DEFAULT now() CHECK (isfinite(scored_at)),
    model_version text NOT NULL CHECK (char_length(model_version) BETWEEN 1 AND 100),
    uplift        double precision NOT NULL CHECK (uplift BETWEEN -1 AND 1),
    uplift_sd     double precision CHECK (uplift_sd > 0 AND uplift_sd <= 1),
    baseline      double precision CHECK (baseline BETWEEN 0 AND 1),
    PRIMARY KEY (tenant_id, storm_id, property_id, scored_at, model_version),
    FOREIGN KEY (tenant_id, storm_id) REFERENCES stormops.storms,
    FOREIGN KEY (tenant_id, property_id) REFERENCES stormops.properties
);
CREATE INDEX IF NOT EXISTS lead_uplift_property ON stormops.lead_uplift (tenant_id, property_id);
-- Where new rows lie: rows stand in the order in which they came, so this is small, costs a writer next to
-- nothing, and lets a check read only what is new.
CREATE INDEX IF NOT EXISTS lead_uplift_arrival ON stormops.lead_uplift USING brin (tenant_id, scored_at) WITH (pages_per_range = 32, autosummarize = on);
COMMENT ON TABLE stormops.lead_uplift IS 'Uplift scores: by how much treating a property raises its chance of becoming a job. The latest one of a property counts for its storm.';
COMMENT ON COLUMN stormops.lead_uplift.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.lead_uplift.storm_id IS 'The storm, of the same tenant.';
COMMENT ON COLUMN stormops.lead_uplift.property_id IS 'The property, of the same tenant.';
COMMENT ON COLUMN stormops.lead_uplift.scored_at IS 'When it was scored.';
COMMENT ON COLUMN stormops.lead_uplift.model_version IS 'The model that scored it, 1 to 100 characters.';
COMMENT ON COLUMN stormops.lead_uplift.uplift IS 'Difference of probabilities, -1 to 1: P(job | treated) - P(job | not treated).';
COMMENT ON COLUMN stormops.lead_uplift.uplift_sd IS 'Standard deviation of the score''s own uncertainty, above 0 to 1, where the model gives one.';
COMMENT ON COLUMN stormops.lead_uplift.baseline IS 'P(job | not treated), 0 to 1, where the model gives it.';

-- The sketch is a bytea and not of the extension's own type: the column would go with the extension.
CREATE TABLE IF NOT EXISTS stormops.uplift_baselines (
    tenant_id     uuid NOT NULL,
    model_version text NOT NULL CHECK (char_length(model_version) BETWEEN 1 AND 100),
    name          text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    storm_id      uuid NOT NULL,
    sketch        bytea NOT NULL CHECK (octet_length(sketch) >= 32),
    n             bigint NOT NULL CHECK (n > 0),
    mean          double precision NOT NULL CHECK (mean BETWEEN -1 AND 1),
    sd            double precision CHECK (sd BETWEEN 0 AND 2),
    made_at       timestamptz NOT NULL CHECK (isfinite(made_at)),
    made_by       text NOT NULL,
    acting_user   uuid,
    PRIMARY KEY (tenant_id, model_version, name),
    FOREIGN KEY (tenant_id, storm_id) REFERENCES stormops.storms
);
ALTER TABLE stormops.uplift_baselines ALTER COLUMN sketch SET STORAGE EXTERNAL;
CREATE INDEX IF NOT EXISTS uplift_baselines_storm ON stormops.uplift_baselines (tenant_id, storm_id);
COMMENT ON TABLE stormops.uplift_baselines IS 'Scores that later storms are compared with. Written by set_baseline().';
COMMENT ON COLUMN stormops.uplift_baselines.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.uplift_baselines.model_version IS 'The model whose scores they are.';
COMMENT ON COLUMN stormops.uplift_baselines.name IS 'Name, unique for the model; "default" is what checks use without a name.';
COMMENT ON COLUMN stormops.uplift_baselines.storm_id IS 'The storm that was scored, of the same tenant.';
COMMENT ON COLUMN stormops.uplift_baselines.sketch IS 'The scores, a state of score_agg(): sketch::stormops.score_sketch.';
COMMENT ON COLUMN stormops.uplift_baselines.n IS 'How many scores.';
COMMENT ON COLUMN stormops.uplift_baselines.mean IS 'Their mean.';
COMMENT ON COLUMN stormops.uplift_baselines.sd IS 'Their standard deviation; NULL of one score.';
COMMENT ON COLUMN stormops.uplift_baselines.made_at IS 'When it was set or last replaced.';
COMMENT ON COLUMN stormops.uplift_baselines.made_by IS 'The database role that set it.';
COMMENT ON COLUMN stormops.uplift_baselines.acting_user IS 'The tenant''s user on whose behalf it was set, if the context named one.';
