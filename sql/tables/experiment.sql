CREATE TABLE IF NOT EXISTS stormops.experiments (
    tenant_id      uuid NOT NULL,
    experiment_id  uuid NOT NULL,
    storm_id       uuid NOT NULL,
    name           text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    status         text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'running', 'stopped')),
    arms           jsonb NOT NULL DEFAULT '{"treatment": 0.5, "control": 0.5}' CHECK (jsonb_typeof(arms) = 'object' AND pg_column_size(arms) <= 8192),
    primary_metric text NOT NULL DEFAULT 'conversion' CHECK (char_length(primary_metric) BETWEEN 1 AND 100),
    planned_n      integer CHECK (planned_n > 0),
    started_at     timestamptz CHECK (isfinite(started_at)),
    stopped_at     timestamptz CHECK (isfinite(stopped_at)),
    created_at     timestamptz NOT NULL DEFAULT now() CHECK (isfinite(created_at)),
    PRIMARY KEY (tenant_id, experiment_id),
    UNIQUE (tenant_id, storm_id, name),
    FOREIGN KEY (tenant_id, storm_id) REFERENCES stormops.storms,
    CHECK (stopped_at >= started_at)
);
COMMENT ON TABLE stormops.experiments IS 'Randomised comparisons within a storm.';
COMMENT ON COLUMN stormops.experiments.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.experiments.experiment_id IS 'UUID; version 7 by default.';
COMMENT ON COLUMN stormops.experiments.storm_id IS 'The storm, of the same tenant.';
COMMENT ON COLUMN stormops.experiments.name IS 'Name for people to read; unique within the storm.';
COMMENT ON COLUMN stormops.experiments.status IS 'draft, running or stopped.';
COMMENT ON COLUMN stormops.experiments.arms IS 'Arm names and their weights, a JSON object of at most 8 kB.';
COMMENT ON COLUMN stormops.experiments.primary_metric IS 'What is compared.';
COMMENT ON COLUMN stormops.experiments.planned_n IS 'Planned number of properties over all arms.';
COMMENT ON COLUMN stormops.experiments.started_at IS 'When assignment began.';
COMMENT ON COLUMN stormops.experiments.stopped_at IS 'When it ended.';
COMMENT ON COLUMN stormops.experiments.created_at IS 'When the row was written.';

CREATE TABLE IF NOT EXISTS stormops.experiment_assignments (
    tenant_id     uuid NOT NULL,
    experiment_id uuid NOT NULL,
    property_id   uuid NOT NULL,
    arm           text NOT NULL CHECK (char_length(arm) BETWEEN 1 AND 50),
    assigned_at   timestamptz NOT NULL DEFAULT now() CHECK (isfinite(assigned_at)),
    PRIMARY KEY (tenant_id, experiment_id, property_id),
    FOREIGN KEY (tenant_id, experiment_id) REFERENCES stormops.experiments,
    FOREIGN KEY (tenant_id, property_id) REFERENCES stormops.properties
);
CREATE INDEX IF NOT EXISTS experiment_assignments_property ON stormops.experiment_assignments (tenant_id, property_id);
COMMENT ON TABLE stormops.experiment_assignments IS 'Which property is in which arm. An assignment is never changed.';
COMMENT ON COLUMN stormops.experiment_assignments.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.experiment_assignments.experiment_id IS 'The experiment, of the same tenant.';
COMMENT ON COLUMN stormops.experiment_assignments.property_id IS 'The property, of the same tenant.';
COMMENT ON COLUMN stormops.experiment_assignments.arm IS 'Name of the arm, one of the experiment''s arms.';
COMMENT ON COLUMN stormops.experiment_assignments.assigned_at IS 'When it was assigned.';
