CREATE TABLE IF NOT EXISTS stormops.uplift_models (
    tenant_id     uuid NOT NULL REFERENCES stormops.tenants,
    model_version text NOT NULL CHECK (char_length(model_version) BETWEEN 1 AND 100),
    kind          text NOT NULL CHECK (kind IN ('onnx', 'onnx_pair', 'onnx_treatment', 'linear')),
    features      jsonb NOT NULL CHECK (pg_column_size(features) <= 262144),
    model         bytea NOT NULL CHECK (octet_length(model) BETWEEN 1 AND 16777216),
    control       bytea CHECK (octet_length(control) BETWEEN 1 AND 16777216),
    digest        bytea NOT NULL CHECK (octet_length(digest) = 32),
    notes         jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(notes) = 'object' AND pg_column_size(notes) <= 262144),
    made_at       timestamptz NOT NULL CHECK (isfinite(made_at)),
    made_by       text NOT NULL,
    acting_user   uuid,
    retired_at    timestamptz CHECK (isfinite(retired_at)),
    PRIMARY KEY (tenant_id, model_version),
    CHECK ((kind = 'onnx_pair') = (control IS NOT NULL))
);
COMMENT ON TABLE stormops.uplift_models IS 'Models that score properties, a row a version. Written by register_model(); what a version computes never changes.';
COMMENT ON COLUMN stormops.uplift_models.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.uplift_models.model_version IS 'Name of the version, 1 to 100 characters, as lead_uplift.model_version has it.';
COMMENT ON COLUMN stormops.uplift_models.kind IS 'onnx: a file that predicts uplift; onnx_pair: one file for the outcome with and one without treatment; onnx_treatment: one file, run with treatment 1 and 0; linear: learned in the database.';
COMMENT ON COLUMN stormops.uplift_models.features IS 'What each input of the model is made of, by the input''s name: named features and arithmetic over them, as docs/models.md has it.';
COMMENT ON COLUMN stormops.uplift_models.model IS 'The model: an ONNX file, of a pair the one with treatment; of a linear one its coefficients as JSON. Up to 16 MB.';
COMMENT ON COLUMN stormops.uplift_models.control IS 'Of a pair: the ONNX file that predicts the outcome without treatment.';
COMMENT ON COLUMN stormops.uplift_models.digest IS 'SHA-256 over model and control, one after the other.';
COMMENT ON COLUMN stormops.uplift_models.notes IS 'What whoever made the model says of it: metrics, data, program. A JSON object.';
COMMENT ON COLUMN stormops.uplift_models.made_at IS 'When it was registered.';
COMMENT ON COLUMN stormops.uplift_models.made_by IS 'The database role that registered it.';
COMMENT ON COLUMN stormops.uplift_models.acting_user IS 'The tenant''s user on whose behalf it was registered, if the context named one.';
COMMENT ON COLUMN stormops.uplift_models.retired_at IS 'When it was retired: it scores no storm any more. NULL: in use.';
