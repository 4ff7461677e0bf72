CREATE TABLE IF NOT EXISTS stormops.experiments (
    tenant_id         uuid NOT NULL,
    experiment_id     uuid NOT NULL,
    storm_id          uuid NOT NULL,
    name              text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    status            text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'stopped')),
    arms              jsonb NOT NULL DEFAULT '{"treatment": 0.5, "control": 0.5}' CHECK (jsonb_typeof(arms) = 'object' AND pg_column_size(arms || '{}') <= 8192),
    control           text NOT NULL DEFAULT 'control' CHECK (arms ? control),
    primary_metric    text NOT NULL DEFAULT 'conversion' CHECK (primary_metric IN ('conversion', 'value')),
    planned_n         integer CHECK (planned_n > 0),
    unit              text NOT NULL DEFAULT 'property' CHECK (unit IN ('property', 'neighbourhood')),
    population        text NOT NULL DEFAULT 'scored' CHECK (population IN ('scored', 'active')),
    covariate         text CHECK (covariate = 'uplift'),
    cluster_by        text CHECK (cluster_by = 'neighbourhood'),
    untouched_control boolean NOT NULL DEFAULT true,
    outcome_days      integer NOT NULL DEFAULT 90 CHECK (outcome_days BETWEEN 1 AND 3650),
    started_at        timestamptz NOT NULL DEFAULT now() CHECK (isfinite(started_at)),
    stopped_at        timestamptz CHECK (isfinite(stopped_at)),
    stop_reason       text CHECK (char_length(stop_reason) BETWEEN 1 AND 500),
    created_by        text NOT NULL DEFAULT current_user CHECK (char_length(created_by) <= 63),
    acting_user       uuid,
    PRIMARY KEY (tenant_id, experiment_id),
    UNIQUE (tenant_id, storm_id, name),
    FOREIGN KEY (tenant_id, storm_id) REFERENCES stormops.storms,
    CHECK (stopped_at >= started_at),
    CHECK ((status = 'stopped') = (stopped_at IS NOT NULL)),
    CHECK (unit = 'property' OR cluster_by IS NOT NULL)
);
ALTER TABLE stormops.experiments ALTER COLUMN experiment_id SET DEFAULT stormops.new_id();
COMMENT ON TABLE stormops.experiments IS 'Randomised comparisons within a storm. Written by create_experiment() and stop_experiment(): what is compared, and how, is fixed before the first assignment.';
COMMENT ON COLUMN stormops.experiments.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.experiments.experiment_id IS 'UUID; version 7 by default.';
COMMENT ON COLUMN stormops.experiments.storm_id IS 'The storm, of the same tenant.';
COMMENT ON COLUMN stormops.experiments.name IS 'Name for people to read; unique within the storm.';
COMMENT ON COLUMN stormops.experiments.status IS 'running or stopped; only a running one assigns.';
COMMENT ON COLUMN stormops.experiments.arms IS 'Arm names and their weights, a JSON object: 2 to 50 arms, weights that add up to 1.';
COMMENT ON COLUMN stormops.experiments.control IS 'The arm that the others are compared with.';
COMMENT ON COLUMN stormops.experiments.primary_metric IS 'What is compared: conversion (share of properties that became a job) or value (currency per property).';
COMMENT ON COLUMN stormops.experiments.planned_n IS 'Planned number of properties over all arms. Once so many have had their outcome_days the report decides by the fixed-horizon test, before by the always-valid one.';
COMMENT ON COLUMN stormops.experiments.unit IS 'What is drawn: each property, or each neighbourhood with all of its properties.';
COMMENT ON COLUMN stormops.experiments.population IS 'Who takes part: scored (active, contactable properties with a score of this storm) or active (all active, contactable properties).';
COMMENT ON COLUMN stormops.experiments.covariate IS 'uplift: adjust by the score that a property had when it was assigned (CUPED); NULL: do not.';
COMMENT ON COLUMN stormops.experiments.cluster_by IS 'neighbourhood: standard errors allow for neighbours being alike; NULL: properties are independent.';
COMMENT ON COLUMN stormops.experiments.untouched_control IS 'True: nobody may contact the control arm, and contacts are reported as contamination. False: control gets a treatment of its own.';
COMMENT ON COLUMN stormops.experiments.outcome_days IS 'Days after its assignment within which a property''s outcome counts.';
COMMENT ON COLUMN stormops.experiments.started_at IS 'When it was created, which is when assignment may begin.';
COMMENT ON COLUMN stormops.experiments.stopped_at IS 'When it was stopped.';
COMMENT ON COLUMN stormops.experiments.stop_reason IS 'Why, in the words of whoever stopped it.';
COMMENT ON COLUMN stormops.experiments.created_by IS 'The database role that called.';
COMMENT ON COLUMN stormops.experiments.acting_user IS 'The tenant''s user on whose behalf it called, if the context named one.';

CREATE TABLE IF NOT EXISTS stormops.experiment_assignments (
    tenant_id     uuid NOT NULL,
    experiment_id uuid NOT NULL,
    property_id   uuid NOT NULL,
    arm           text NOT NULL CHECK (char_length(arm) BETWEEN 1 AND 50),
    neighbourhood text CHECK (char_length(neighbourhood) BETWEEN 1 AND 50),
    assigned_at   timestamptz NOT NULL DEFAULT now() CHECK (isfinite(assigned_at)),
    PRIMARY KEY (tenant_id, experiment_id, property_id),
    FOREIGN KEY (tenant_id, experiment_id) REFERENCES stormops.experiments,
    FOREIGN KEY (tenant_id, property_id) REFERENCES stormops.properties
);
CREATE INDEX IF NOT EXISTS experiment_assignments_property ON stormops.experiment_assignments (tenant_id, property_id);
-- Where new rows lie: rows stand in the order in which they came, so this is small, costs a writer next to
-- nothing, and lets a check read only what is new.
CREATE INDEX IF NOT EXISTS experiment_assignments_arrival ON stormops.experiment_assignments USING brin (tenant_id, assigned_at) WITH (pages_per_range = 32, autosummarize = on);
COMMENT ON TABLE stormops.experiment_assignments IS 'Which property is in which arm. Written by assign_experiment(); an assignment is never changed.';
COMMENT ON COLUMN stormops.experiment_assignments.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.experiment_assignments.experiment_id IS 'The experiment, of the same tenant.';
COMMENT ON COLUMN stormops.experiment_assignments.property_id IS 'The property, of the same tenant.';
COMMENT ON COLUMN stormops.experiment_assignments.arm IS 'Name of the arm, one of the experiment''s arms.';
COMMENT ON COLUMN stormops.experiment_assignments.neighbourhood IS 'neighbourhood() of the property when it was assigned; NULL without coordinates.';
COMMENT ON COLUMN stormops.experiment_assignments.assigned_at IS 'When it was assigned.';
