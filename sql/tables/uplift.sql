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
COMMENT ON TABLE stormops.lead_uplift IS 'Uplift scores: by how much treating a property raises its chance of becoming a job. The latest one of a property counts for its storm.';
COMMENT ON COLUMN stormops.lead_uplift.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.lead_uplift.storm_id IS 'The storm, of the same tenant.';
COMMENT ON COLUMN stormops.lead_uplift.property_id IS 'The property, of the same tenant.';
COMMENT ON COLUMN stormops.lead_uplift.scored_at IS 'When it was scored.';
COMMENT ON COLUMN stormops.lead_uplift.model_version IS 'The model that scored it, 1 to 100 characters.';
COMMENT ON COLUMN stormops.lead_uplift.uplift IS 'Difference of probabilities, -1 to 1: P(job | treated) - P(job | not treated).';
COMMENT ON COLUMN stormops.lead_uplift.uplift_sd IS 'Standard deviation of the score''s own uncertainty, above 0 to 1, where the model gives one.';
COMMENT ON COLUMN stormops.lead_uplift.baseline IS 'P(job | not treated), 0 to 1, where the model gives it.';
