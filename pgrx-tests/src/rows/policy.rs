use super::Row;

pub(super) const ROWS: &[Row] = &[
    ("policy_modes", "policy_mode, confidence, exploration, holdout", "'mode {n}', 0.5, 0, 0"),
    ("guardrails", "name, kind", "'guardrail {n}', 'experiment_control'"),
    (
        "policy_runs",
        "run_id, storm_id, policy_mode, parameters, decided_at, decided_by, treat, hold, excluded, reasons, \
         expected_value",
        "'{id}', '{storm}', 'moderate', '{\"outcome_days\": 90}', '2024-01-02', 'test', 1, 0, 0, '{}', 0",
    ),
    (
        "policy_decision_blocks",
        "run_id, block_no, storm_id, decided_at, policy_mode, first_property, last_property, n, property_ids, classes, scores, \
         score_sds, \"values\", decisions, reasons, propensities, counts, model_versions",
        "'{run}', 0, '{storm}', '2024-01-02', 'moderate', '{property}', '{property}', 1, ARRAY['{property}']::uuid[], \
         ARRAY[1], ARRAY[0.2], ARRAY[0.1], ARRAY[0], ARRAY['treat'], ARRAY['above_threshold'], ARRAY[1], ARRAY[1], ARRAY['m1']",
    ),
    (
        "policy_decision_rows",
        "run_id, property_id, storm_id, decided_at, propensity, score, score_sd, value, decision, reason, policy_mode, \
         model_version",
        // Another property than the block's: a run decides each once.
        "'{run}', 'ffffffff-0000-7000-8000-00000000000{n}', '{storm}', '2024-01-02', 1, 0.2, 0.1, 0, 'treat', 'above_threshold', 'moderate', 'm1'",
    ),
    (
        "policy_run_inputs",
        "run_id, block_no, property_ids, margins, costs, reasons, guardrails, measured",
        "'{run}', {n}, ARRAY['{property}']::uuid[], '{NULL}', '{5.00}', '{budget}', '{\"guardrail {n}\"}', '{1}'",
    ),
    ("policy_run_digests", "run_id, decisions, digest, fingerprints", "'{run}', 0, sha256('{n}'), ''"),
    (
        "policy_outcomes",
        "outcome_id, storm_id, property_id, run_id, converted, occurred_at, late, idempotency_key",
        "'{id}', '{storm}', '{property}', '{run}', true, '2024-01-03', false, 'O-{n}'",
    ),
];
