//! Ways of tampering with the log.

/// What a superuser does, and which row the verdict names: the table and the id, `$run` the first run, `$last` the
/// second, `$property` a property, `$event` and `$first` the last and the first event.
pub(super) const TAMPERING: &[(&str, &str, &str)] = &[
    ("UPDATE tenant_events SET reason = 'late' WHERE event_id = $event", "tenant_events", "$event"),
    ("UPDATE tenant_events SET happened_at = happened_at - interval '1 us' WHERE event_id = $event", "tenant_events", "$event"),
    ("UPDATE tenant_events SET actor = 'nobody' WHERE event_id = $first", "tenant_events", "$first"),
    ("UPDATE tenant_events SET from_status = NULL, to_status = from_status WHERE event_id = $event", "tenant_events", "$event"),
    ("DELETE FROM tenant_events WHERE event_id = $first", "tenant_events", "$first"),
    // Not through the trigger: a row that was slipped in.
    (
        "SET LOCAL session_replication_role = replica;
         INSERT INTO tenant_events (tenant_id, event_id, action, actor) VALUES ($tenant, $new, 'suspend', 'op')",
        "tenant_events",
        "$new",
    ),
    // Two rows change places.
    (
        "UPDATE tenant_events AS e SET action = o.action, from_status = o.from_status, to_status = o.to_status, reason = o.reason
         FROM tenant_events AS o WHERE (e.event_id, o.event_id) IN (($first, $event), ($event, $first))",
        "tenant_events",
        "$first",
    ),
    ("UPDATE tenant_log SET hash = sha256('x') WHERE log = 'events' AND entry = 1", "tenant_log", "$first"),
    ("UPDATE tenant_log SET content = sha256('x') WHERE log = 'runs' AND entry = 2", "tenant_log", "$last"),
    ("UPDATE tenant_log SET adopted = true WHERE log = 'runs' AND entry = 1", "tenant_log", "$run"),
    ("DELETE FROM tenant_log WHERE log = 'runs' AND entry = 1", "tenant_log", "$last"),
    // Two entries change places.
    (
        "UPDATE tenant_log SET entry = entry + 10 WHERE log = 'runs';
         UPDATE tenant_log SET entry = 13 - entry WHERE log = 'runs'",
        "tenant_log",
        "$last",
    ),
    ("UPDATE policy_runs SET treat = treat + 1 WHERE run_id = $run", "policy_runs", "$run"),
    ("UPDATE policy_runs SET parameters = parameters || '{\"holdout\": 0}' WHERE run_id = $last", "policy_runs", "$last"),
    ("UPDATE policy_runs SET expected_value = expected_value + 0.01 WHERE run_id = $run", "policy_runs", "$run"),
    ("UPDATE policy_runs SET superseded_at = superseded_at + interval '1 s' WHERE run_id = $run", "policy_runs", "$run"),
    ("UPDATE policy_run_digests SET digest = sha256('x') WHERE run_id = $last", "policy_runs", "$last"),
    (
        "UPDATE policy_run_digests SET fingerprints = set_byte(fingerprints, 4, get_byte(fingerprints, 4) # 1) WHERE run_id = $run",
        "policy_runs",
        "$run",
    ),
    ("DELETE FROM policy_run_digests WHERE run_id = $run", "policy_runs", "$run"),
];

/// Of runs that 0.1.0 wrote, row by row: the row is named.
pub(super) const TAMPERING_WITH_ROWS: &[(&str, &str, &str)] = &[
    ("UPDATE policy_decision_rows SET decision = 'treat', reason = 'holdout' WHERE $one", "policy_decisions_log", "$property"),
    ("UPDATE policy_decision_rows SET score = score + 1e-16 WHERE $one", "policy_decisions_log", "$property"),
    ("UPDATE policy_decision_rows SET propensity = propensity / 2 WHERE $one", "policy_decisions_log", "$property"),
    ("UPDATE policy_decision_rows SET decided_at = decided_at + interval '1 us' WHERE $one", "policy_decisions_log", "$property"),
    ("UPDATE policy_decision_rows SET model_version = 'v1 ' WHERE $one", "policy_decisions_log", "$property"),
    ("DELETE FROM policy_decision_rows WHERE $one", "policy_decisions_log", "$property"),
    ("DELETE FROM policy_decision_rows WHERE run_id = $run", "policy_decisions_log", "$least"),
    (
        "INSERT INTO policy_decision_rows SELECT tenant_id, run_id, $new, storm_id, decided_at, propensity, score,
             score_sd, value, decision, reason, policy_mode, model_version FROM policy_decision_rows WHERE $one",
        "policy_decisions_log",
        "$new",
    ),
    // Two decisions change places: the first of them is named.
    (
        "UPDATE policy_decision_rows AS d SET score = o.score, score_sd = o.score_sd, value = o.value, decision = o.decision,
             reason = o.reason, propensity = o.propensity
         FROM policy_decision_rows AS o
         WHERE d.run_id = $run AND o.run_id = $run
             AND (d.property_id, o.property_id) IN (($least, $property), ($property, $least))",
        "policy_decisions_log",
        "$least",
    ),
    // Of no run at all.
    (
        "INSERT INTO policy_decision_rows SELECT tenant_id, $new, property_id, storm_id, decided_at, propensity, score,
             score_sd, value, decision, reason, policy_mode, model_version FROM policy_decision_rows WHERE $one",
        "policy_decision_rows",
        "$property",
    ),
];

/// Of blocks: the decision is named, or, where it is the block as a whole, its first property. `$at`: the place of `$property`.
pub(super) const TAMPERING_WITH_BLOCKS: &[(&str, &str)] = &[
    ("UPDATE policy_decision_blocks SET scores[$at] = scores[$at] + 1e-16 WHERE $block", "$property"),
    ("UPDATE policy_decision_blocks SET score_sds[$at] = score_sds[$at] / 2 WHERE $block", "$property"),
    ("UPDATE policy_decision_blocks SET \"values\"[$at] = -\"values\"[$at] WHERE $block", "$property"),
    ("UPDATE policy_decision_blocks SET classes[$at] = 1 + classes[$at] % cardinality(decisions) WHERE $block", "$property"),
    ("UPDATE policy_decision_blocks SET property_ids[$at] = $between WHERE $block", "$between"),
    // Two decisions change places: the first of them is named.
    (
        "UPDATE policy_decision_blocks SET scores[1] = scores[$at], scores[$at] = scores[1], \"values\"[1] = \"values\"[$at],
             \"values\"[$at] = \"values\"[1] WHERE $block",
        "$least",
    ),
    // The dictionaries.
    ("UPDATE policy_decision_blocks SET decisions[1] = CASE decisions[1] WHEN 'treat' THEN 'hold' ELSE 'treat' END WHERE $block", "$least"),
    ("UPDATE policy_decision_blocks SET reasons[2] = 'holdout ' WHERE $block", "$second"),
    ("UPDATE policy_decision_blocks SET propensities[2] = propensities[2] / 2 WHERE $block", "$second"),
    ("UPDATE policy_decision_blocks SET model_versions[1] = 'v1 ' WHERE $block", "$least"),
    ("UPDATE policy_decision_blocks SET counts[1] = counts[1] + 1 WHERE $block", "$least"),
    // The same decisions, told otherwise.
    (
        "UPDATE policy_decision_blocks SET decisions = decisions || decisions[1], reasons = reasons || reasons[1],
             propensities = propensities || propensities[1], counts = counts || 1, classes[1] = cardinality(decisions) + 1 WHERE $block",
        "$least",
    ),
    ("UPDATE policy_decision_blocks SET models = array_fill(1::smallint, ARRAY[n]), model_versions = model_versions || 'v2'::text WHERE $block", "$least"),
    ("UPDATE policy_decision_blocks SET decided_at = decided_at + interval '1 us' WHERE $block", "$least"),
    ("UPDATE policy_decision_blocks SET policy_mode = 'aggressive' WHERE $block", "$least"),
    ("UPDATE policy_decision_blocks SET storm_id = $new WHERE $block", "$least"),
    // Arrays of a form that is never written.
    ("UPDATE policy_decision_blocks SET scores = ('[0:' || n - 1 || ']=' || scores::text)::float8[] WHERE $block", "$least"),
    ("UPDATE policy_decision_blocks SET score_sds[$at] = NULL WHERE $block", "$least"),
    // Decisions that are taken away, and put in.
    (
        "UPDATE policy_decision_blocks SET n = n - 1, property_ids = property_ids[:$at - 1] || property_ids[$at + 1:], classes = classes[:$at - 1] || classes[$at + 1:],
             scores = scores[:$at - 1] || scores[$at + 1:], score_sds = score_sds[:$at - 1] || score_sds[$at + 1:],
             \"values\" = \"values\"[:$at - 1] || \"values\"[$at + 1:] WHERE $block",
        "$property",
    ),
    (
        "UPDATE policy_decision_blocks SET n = n - 1, first_property = property_ids[2], property_ids = property_ids[2:], classes = classes[2:],
             scores = scores[2:], score_sds = score_sds[2:], \"values\" = \"values\"[2:] WHERE $block",
        "$least",
    ),
    (
        "UPDATE policy_decision_blocks SET n = n + 1, last_property = $new, property_ids = property_ids || $new::uuid, classes = classes || classes[1],
             scores = scores || scores[1], score_sds = score_sds || score_sds[1], \"values\" = \"values\" || \"values\"[1] WHERE run_id = $run AND block_no = 2",
        "$new",
    ),
    // Blocks that are taken away, put in, and change places.
    ("DELETE FROM policy_decision_blocks WHERE $block", "$least"),
    ("DELETE FROM policy_decision_blocks WHERE run_id = $run AND block_no = 1", "$middle"),
    ("DELETE FROM policy_decision_blocks WHERE run_id = $run", "$least"),
    (
        "INSERT INTO policy_decision_blocks SELECT tenant_id, run_id, 3, storm_id, decided_at, policy_mode, $new, $new, 1, ARRAY[$new::uuid],
             classes[:1], scores[:1], score_sds[:1], \"values\"[:1], decisions, reasons, propensities, counts, model_versions, models
         FROM policy_decision_blocks WHERE $block",
        "$new",
    ),
    ("UPDATE policy_decision_blocks SET block_no = 1 - block_no WHERE run_id = $run AND block_no < 2", "$least"),
    (
        "UPDATE policy_decision_blocks AS b SET scores = o.scores, score_sds = o.score_sds, \"values\" = o.\"values\"
         FROM policy_decision_blocks AS o WHERE b.run_id = $run AND o.run_id = $run AND b.block_no = 1 - o.block_no",
        "$least",
    ),
    // Of no run at all.
    (
        "INSERT INTO policy_decision_blocks SELECT tenant_id, $new, block_no, storm_id, decided_at, policy_mode, first_property, last_property, n,
             property_ids, classes, scores, score_sds, \"values\", decisions, reasons, propensities, counts, model_versions, models
         FROM policy_decision_blocks WHERE $block",
        "$least",
    ),
];
