use super::Row;

pub(super) const ROWS: &[Row] = &[
    ("experiments", "experiment_id, storm_id, name", "'{id}', '{storm}', 'Experiment {n}'"),
    ("experiment_assignments", "experiment_id, property_id, arm", "'{experiment}', '{property}', 'control'"),
];
