-- What of uplift the whole platform must know of.

-- Which role inside a tenant may do what with which table: see role_matrix().
INSERT INTO pg_temp.role_matrix (table_name, command, least_role, columns, through) VALUES
    ('lead_uplift', 'SELECT', 'viewer', NULL, NULL),
    ('lead_uplift', 'INSERT', 'crew_chief', NULL, NULL),
    ('lead_uplift', 'DELETE', 'admin', NULL, NULL),
    ('uplift_baselines', 'SELECT', 'viewer', NULL, NULL),
    ('uplift_baselines', 'INSERT', 'crew_chief', NULL, 'set_baseline()'),
    ('uplift_baselines', 'UPDATE', 'crew_chief', NULL, 'set_baseline()'),
    ('uplift_baselines', 'DELETE', 'admin', NULL, NULL),
    ('uplift_models', 'SELECT', 'viewer', NULL, NULL),
    ('uplift_models', 'INSERT', 'admin', NULL, 'register_model(), learn_uplift()'),
    ('uplift_models', 'UPDATE', 'admin', NULL, 'retire_model()'),
    ('uplift_calibrations', 'SELECT', 'viewer', NULL, NULL),
    ('uplift_calibrations', 'INSERT', 'admin', NULL, 'calibrate_model()'),
    ('uplift_calibrations', 'UPDATE', 'admin', NULL, 'calibrate_model()'),
    ('uplift_calibrations', 'DELETE', 'admin', NULL, NULL);

-- Views that show tenants' rows as their caller sees them.
INSERT INTO pg_temp.granted_views (view_name, kinds) VALUES
    ('models', '{app,trusted_app,operator}');

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
    ('stormops_internal.score_is_state(bytea)', '{app,trusted_app}'),
    ('stormops.score_agg(double precision)', '{app,trusted_app}'),
    ('stormops.rollup(stormops.score_sketch)', '{app,trusted_app}'),
    ('stormops.n(stormops.score_sketch)', '{app,trusted_app}'),
    ('stormops.mean(stormops.score_sketch)', '{app,trusted_app}'),
    ('stormops.stddev(stormops.score_sketch)', '{app,trusted_app}'),
    ('stormops.quantile(stormops.score_sketch,double precision)', '{app,trusted_app}'),
    ('stormops.describe(stormops.score_sketch)', '{app,trusted_app}'),
    ('stormops.histogram(stormops.score_sketch,double precision,double precision,integer)', '{app,trusted_app}'),
    ('stormops.drift(stormops.score_sketch,stormops.score_sketch)', '{app,trusted_app}'),
    ('stormops.drift_verdict(stormops.score_sketch,stormops.score_sketch,double precision,double precision,double precision)', '{app,trusted_app}'),
    ('stormops.drift_points(double precision[],text,double precision,double precision)', '{app,trusted_app}'),
    ('stormops.watch_drift(bytea,double precision[],text,double precision,double precision)', '{app,trusted_app}'),
    ('stormops_internal.trial_is_state(bytea)', '{app,trusted_app}'),
    ('stormops.uplift_agg(double precision,boolean,double precision)', '{app,trusted_app}'),
    ('stormops.uplift_agg(double precision,boolean,double precision,double precision)', '{app,trusted_app}'),
    ('stormops.rollup(stormops.uplift_sketch)', '{app,trusted_app}'),
    ('stormops.n(stormops.uplift_sketch)', '{app,trusted_app}'),
    ('stormops.qini(stormops.uplift_sketch)', '{app,trusted_app}'),
    ('stormops.auuc(stormops.uplift_sketch)', '{app,trusted_app}'),
    ('stormops.uplift_at(stormops.uplift_sketch,double precision)', '{app,trusted_app}'),
    ('stormops.rate(stormops.uplift_sketch,text)', '{app,trusted_app}'),
    ('stormops.uplift_metrics(stormops.uplift_sketch)', '{app,trusted_app}'),
    ('stormops.curve(stormops.uplift_sketch,integer)', '{app,trusted_app}'),
    ('stormops.bins(stormops.uplift_sketch,integer)', '{app,trusted_app}'),
    ('stormops_internal.batch_scores(uuid,timestamp with time zone,text)', '{app,trusted_app}'),
    ('stormops_internal.latest_scores(uuid,uuid)', '{app,trusted_app}'),
    ('stormops_internal.storm_scores(uuid)', '{app,trusted_app}'),
    ('stormops_internal.earlier_scores(uuid,text)', '{app,trusted_app}'),
    ('stormops_internal.uplift_reference(uuid,text,text)', '{app,trusted_app}'),
    ('stormops.check_uplift_distribution(uuid,text,double precision,double precision,double precision)', '{app,trusted_app}'),
    ('stormops.score_design_effect(uuid)', '{app,trusted_app}'),
    ('stormops.uplift_drift(uuid,text)', '{app,trusted_app}'),
    ('stormops.set_baseline(uuid,text)', '{app,trusted_app}'),
    ('stormops.randomised_decisions(uuid)', '{app,trusted_app}'),
    ('stormops_internal.randomised_of_rows(uuid,uuid[])', '{app,trusted_app}'),
    ('stormops_internal.trial_of_run(uuid,uuid[])', '{app,trusted_app}'),
    ('stormops_internal.storm_trial(uuid)', '{app,trusted_app}'),
    ('stormops.uplift_summary(uuid)', '{app,trusted_app}'),
    ('stormops.uplift_curve(uuid,integer)', '{app,trusted_app}'),
    ('stormops.uplift_calibration(uuid,integer)', '{app,trusted_app}'),
    ('stormops.model_features()', '{app,trusted_app,operator}'),
    ('stormops_internal.feature_rows(uuid,timestamp with time zone,uuid,uuid,boolean)', '{app,trusted_app}'),
    ('stormops.storm_features(uuid,timestamp with time zone)', '{app,trusted_app}'),
    ('stormops_internal.answered_runs(uuid[],boolean)', '{app,trusted_app}'),
    ('stormops_internal.answered_decisions(boolean)', '{app,trusted_app}'),
    ('stormops_internal.require_answered(uuid[],boolean)', '{app,trusted_app}'),
    ('stormops.learn_uplift(text,text[],uuid[],boolean)', '{app,trusted_app}'),
    ('stormops_internal.calibrated_knots(stormops.uplift_sketch,integer)', '{app,trusted_app}'),
    ('stormops.calibrated_uplift(double precision,double precision[],double precision[],double precision[])', '{app,trusted_app}'),
    ('stormops_internal.model_trial(text,boolean)', '{app,trusted_app}'),
    ('stormops.model_calibration(text,integer,boolean)', '{app,trusted_app}'),
    ('stormops.calibrate_model(text,integer,boolean)', '{app,trusted_app}'),
    ('stormops_internal.model_score(text,bytea,bytea,jsonb,record)', '{app,trusted_app}'),
    ('stormops_internal.scored_rows(uuid,text,bytea,bytea,jsonb,uuid,uuid,boolean)', '{app,trusted_app}'),
    ('stormops_internal.require_model(text)', '{app,trusted_app}'),
    ('stormops.register_model(text,bytea,jsonb,bytea,jsonb)', '{app,trusted_app}'),
    ('stormops.retire_model(text)', '{app,trusted_app}'),
    ('stormops.model_scores(uuid,text)', '{app,trusted_app}'),
    ('stormops.score_storm(uuid,text)', '{app,trusted_app}');

-- Tables whose health is watched: see counted_tables().
INSERT INTO pg_temp.counted_tables (table_name, time_column, natural_key, parents, call) VALUES
    ('lead_uplift', 'scored_at', '{storm_id,property_id,scored_at}', '{"property_id": "properties", "storm_id": "storms"}', NULL);

-- What can be wrong, and what to do about it, in order.
INSERT INTO pg_temp.shipped_issues (issue, actions) VALUES
    ('uplift_drift', ARRAY['Check storm characteristics', 'Verify feature engineering', 'Check data quality', 'Consider model retraining']),
    ('no_scores', ARRAY['Score the storm''s properties into lead_uplift', 'Check that the scoring job names this storm_id']);
