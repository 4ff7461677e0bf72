-- What of experiment the whole platform must know of.

-- Which role inside a tenant may do what with which table: see role_matrix().
INSERT INTO pg_temp.role_matrix (table_name, command, least_role, columns, through) VALUES
    ('experiments', 'SELECT', 'viewer', NULL, NULL),
    ('experiments', 'INSERT', 'crew_chief', NULL, 'create_experiment()'),
    ('experiments', 'UPDATE', 'crew_chief', NULL, 'stop_experiment()'),
    ('experiment_assignments', 'SELECT', 'viewer', NULL, NULL),
    ('experiment_assignments', 'INSERT', 'crew_chief', NULL, 'assign_experiment()');

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
    ('stormops.arm_agg(double precision)', '{app,trusted_app}'),
    ('stormops.arm_agg(double precision,double precision)', '{app,trusted_app}'),
    ('stormops.arm_rollup(double precision[])', '{app,trusted_app}'),
    ('stormops_internal.arm_combine(double precision[],double precision[])', '{app,trusted_app}'),
    ('stormops.arm_moments(double precision[])', '{app,trusted_app}'),
    ('stormops.bounded_lift_agg(double precision,boolean,double precision)', '{app,trusted_app}'),
    ('stormops.bounded_lift(double precision[],double precision,bigint,double precision,double precision)', '{app,trusted_app}'),
    ('stormops.compare_proportions(bigint,bigint,bigint,bigint,double precision,double precision,bigint)', '{app,trusted_app}'),
    ('stormops.compare_means(double precision[],double precision[],double precision,bigint)', '{app,trusted_app}'),
    ('stormops.compare_clusters(double precision[],double precision[],double precision[],double precision[],double precision,bigint)', '{app,trusted_app}'),
    ('stormops.check_sample_ratio(bigint[],double precision[])', '{app,trusted_app}'),
    ('stormops.leads_per_arm(double precision,double precision,double precision)', '{app,trusted_app}'),
    ('stormops.comparison_power(double precision,double precision,bigint,double precision)', '{app,trusted_app}'),
    ('stormops.benjamini_hochberg(double precision[])', '{app,trusted_app}'),
    ('stormops_internal.decisions_of(uuid,uuid)', '{app,trusted_app}'),
    ('stormops_internal.conversion_counts(uuid,uuid)', '{app,trusted_app}'),
    ('stormops.compared_decisions(uuid)', '{app,trusted_app}'),
    ('stormops_internal.conversion_rates_of(uuid,uuid,double precision,double precision,boolean)', '{app,trusted_app}'),
    ('stormops.check_conversion_rates(uuid,double precision,double precision,boolean)', '{app,trusted_app}'),
    ('stormops.create_experiment(uuid,text,jsonb,text,text,integer,text,text,text,text,boolean,integer)', '{app,trusted_app}'),
    ('stormops.assign_experiment(uuid)', '{app,trusted_app}'),
    ('stormops.stop_experiment(uuid,text)', '{app,trusted_app}'),
    ('stormops_internal.draw_arms(uuid)', '{app,trusted_app}'),
    ('stormops_internal.neighbourhood(double precision,double precision)', '{app,trusted_app}'),
    ('stormops_internal.raise_no_experiment(uuid)', '{app,trusted_app}'),
    ('stormops_internal.experiment_units(uuid)', '{app,trusted_app}'),
    ('stormops_internal.experiment_cells(uuid,text)', '{app,trusted_app}'),
    ('stormops_internal.experiment_arms(uuid,text)', '{app,trusted_app}'),
    ('stormops_internal.arm_contrast(stormops_internal.experiment_cell,stormops_internal.experiment_cell,text,boolean,double precision,bigint)', '{app,trusted_app}'),
    ('stormops_internal.cluster_contrast(jsonb,jsonb,double precision,double precision,bigint)', '{app,trusted_app}'),
    ('stormops_internal.experiment_summary(text,text,text,text,double precision,double precision,double precision,double precision)', '{app,trusted_app}'),
    ('stormops.check_sample_ratio_by(uuid,text)', '{app,trusted_app}'),
    ('stormops.experiment_looks(uuid,double precision)', '{app,trusted_app}'),
    ('stormops.experiment_report(uuid,text,double precision)', '{app,trusted_app}');

-- Tables whose health is watched: see counted_tables().
INSERT INTO pg_temp.counted_tables (table_name, time_column, natural_key, parents, call) VALUES
    ('experiments', 'started_at', '{storm_id,name}', '{"storm_id": "storms"}', 'create_experiment'),
    ('experiment_assignments', 'assigned_at', '{experiment_id,property_id}', '{"experiment_id": "experiments", "property_id": "properties"}',
        'assign_experiment');

-- What can be wrong, and what to do about it, in order.
INSERT INTO pg_temp.shipped_issues (issue, actions) VALUES
    ('low_lift', ARRAY['Verify policy compliance', 'Check control contamination', 'Review experiment assignments', 'Analyze by segment']),
    ('no_control', ARRAY['Raise holdout in policy_modes: without a control group lift cannot be measured',
        'Apply the policy again with supersede => true']);
