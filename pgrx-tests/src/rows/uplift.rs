use super::Row;

pub(super) const ROWS: &[Row] = &[
    (
        "lead_uplift",
        "storm_id, property_id, scored_at, model_version, uplift",
        "'{storm}', '{property}', '2024-01-01', 'm{n}', 0.2",
    ),
    (
        "uplift_baselines",
        "model_version, name, storm_id, sketch, n, mean, made_at, made_by",
        "'m{n}', 'default', '{storm}', '\\x534f733100000000000000000000000000000000000000009a9999999999c93f', 1, 0.2, '2024-01-01', 'test'",
    ),
    (
        "uplift_models",
        "model_version, kind, features, model, digest, made_at, made_by",
        "'m{n}', 'linear', '[]', '{}', sha256('{}'), '2024-01-01', 'test'",
    ),
    (
        "uplift_calibrations",
        "model_version, scores, effects, effect_sds, cases, measured, measured_ses, common_effect, between_sd, n, storms, made_at, made_by",
        "'m{n}', '{0,0.1}', '{0,0.1}', '{0.1,0.1}', '{1,1}', '{0,0.1}', '{0.1,0.1}', 0, 0, 2, 1, '2024-01-01', 'test'",
    ),
];
