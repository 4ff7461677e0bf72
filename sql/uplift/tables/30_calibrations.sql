CREATE TABLE IF NOT EXISTS stormops.uplift_calibrations (
    tenant_id     uuid NOT NULL REFERENCES stormops.tenants,
    model_version text NOT NULL CHECK (char_length(model_version) BETWEEN 1 AND 100),
    scores        double precision[] NOT NULL CHECK (cardinality(scores) >= 2 AND cardinality(scores) <= 100 AND -1 <= ALL (scores) AND 1 >= ALL (scores)),
    effects       double precision[] NOT NULL CHECK (-1 <= ALL (effects) AND 1 >= ALL (effects)),
    effect_sds    double precision[] NOT NULL CHECK (0 < ALL (effect_sds) AND 1 >= ALL (effect_sds)),
    cases         bigint[] NOT NULL CHECK (0 < ALL (cases)),
    measured      double precision[] NOT NULL,
    measured_ses  double precision[] NOT NULL CHECK (0 < ALL (measured_ses)),
    common_effect double precision NOT NULL CHECK (common_effect BETWEEN -1 AND 1),
    between_sd    double precision NOT NULL CHECK (between_sd >= 0 AND between_sd < 'Infinity'),
    n             bigint NOT NULL CHECK (n > 0),
    storms        bigint NOT NULL CHECK (storms > 0),
    made_at       timestamptz NOT NULL CHECK (isfinite(made_at)),
    made_by       text NOT NULL,
    acting_user   uuid,
    PRIMARY KEY (tenant_id, model_version),
    CHECK (cardinality(effects) = cardinality(scores) AND cardinality(effect_sds) = cardinality(scores)
        AND cardinality(cases) = cardinality(scores) AND cardinality(measured) = cardinality(scores)
        AND cardinality(measured_ses) = cardinality(scores))
);
COMMENT ON TABLE stormops.uplift_calibrations IS 'What the scores of a model stood for once outcomes came in: a line through points, from score to effect. Written by calibrate_model(); policies decide by it while it is here.';
COMMENT ON COLUMN stormops.uplift_calibrations.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.uplift_calibrations.model_version IS 'The model whose scores they are.';
COMMENT ON COLUMN stormops.uplift_calibrations.scores IS 'The points'' scores, rising: the mean scores of bins of the ranking.';
COMMENT ON COLUMN stormops.uplift_calibrations.effects IS 'The points'' effects, never falling: what was measured, drawn towards what all have in common.';
COMMENT ON COLUMN stormops.uplift_calibrations.effect_sds IS 'The effects'' standard deviations, above 0 to 1.';
COMMENT ON COLUMN stormops.uplift_calibrations.cases IS 'Decisions in each bin.';
COMMENT ON COLUMN stormops.uplift_calibrations.measured IS 'The effects as they were measured (augmented inverse propensity).';
COMMENT ON COLUMN stormops.uplift_calibrations.measured_ses IS 'Their standard errors.';
COMMENT ON COLUMN stormops.uplift_calibrations.common_effect IS 'What all bins have in common, by their precision.';
COMMENT ON COLUMN stormops.uplift_calibrations.between_sd IS 'The standard deviation of the bins'' true effects (DerSimonian and Laird); 0: chance explains all differences.';
COMMENT ON COLUMN stormops.uplift_calibrations.n IS 'Decisions that it rests on.';
COMMENT ON COLUMN stormops.uplift_calibrations.storms IS 'Storms that it rests on.';
COMMENT ON COLUMN stormops.uplift_calibrations.made_at IS 'When it was made or last replaced.';
COMMENT ON COLUMN stormops.uplift_calibrations.made_by IS 'The database role that made it.';
COMMENT ON COLUMN stormops.uplift_calibrations.acting_user IS 'The tenant''s user on whose behalf it was made, if the context named one.';
