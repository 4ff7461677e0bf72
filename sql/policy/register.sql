-- What of policy the whole platform must know of.

-- Which role inside a tenant may do what with which table: see role_matrix().
INSERT INTO pg_temp.role_matrix (table_name, command, least_role, columns, through) VALUES
    ('policy_modes', 'SELECT', 'viewer', NULL, NULL),
    ('policy_modes', 'INSERT', 'admin', NULL, NULL),
    ('policy_modes', 'UPDATE', 'admin', '{confidence,exploration,holdout,breakeven_uplift,margin,contact_cost,capacity,budget,default_sd,outcome_days}', NULL),
    ('policy_modes', 'DELETE', 'admin', NULL, NULL),
    ('policy_runs', 'SELECT', 'viewer', NULL, NULL),
    ('policy_runs', 'INSERT', 'crew_chief', NULL, 'apply_policy()'),
    ('policy_runs', 'UPDATE', 'crew_chief', NULL, 'apply_policy()'),
    ('policy_run_inputs', 'SELECT', 'viewer', NULL, NULL),
    ('policy_run_inputs', 'INSERT', 'crew_chief', NULL, 'apply_policy()'),
    ('policy_decision_blocks', 'SELECT', 'viewer', NULL, NULL),
    ('policy_decision_blocks', 'INSERT', 'crew_chief', NULL, 'apply_policy()'),
    ('policy_decision_rows', 'SELECT', 'viewer', NULL, NULL),
    ('policy_run_digests', 'SELECT', 'admin', NULL, NULL),
    ('policy_run_digests', 'INSERT', 'crew_chief', NULL, 'apply_policy()'),
    ('policy_outcomes', 'SELECT', 'viewer', NULL, NULL),
    ('policy_outcomes', 'INSERT', 'field_user', NULL, 'record_outcome(), record_outcomes()');

-- Guardrails.
INSERT INTO pg_temp.role_matrix (table_name, command, least_role, columns, through) VALUES
    ('guardrails', 'SELECT', 'viewer', NULL, NULL),
    ('guardrails', 'INSERT', 'admin', NULL, NULL),
    ('guardrails', 'UPDATE', 'admin', '{enabled,channel,opt_in,most,days,amount,contact_cost,area,metres,time_zone,from_date,until_date,weekdays,from_time,until_time}', NULL),
    ('guardrails', 'DELETE', 'admin', NULL, NULL);

-- Tables that hold no tenant's rows.
INSERT INTO pg_temp.installation_tables (table_name) VALUES
    ('policy_turns');

-- Views that show tenants' rows as their caller sees them.
INSERT INTO pg_temp.granted_views (view_name, kinds) VALUES
    ('policy_decisions', '{app,trusted_app,operator}'),
    ('policy_decisions_log', '{app,trusted_app,operator}'),
    ('policy_decisions_plain', '{app,trusted_app,operator}'),
    ('storm_results', '{app,trusted_app,operator}');

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
    ('stormops.default_policy_modes()', '{app,trusted_app,operator}'),
    ('stormops.apply_policy(uuid,text,boolean)', '{app,trusted_app}'),
    ('stormops.preview_policy(uuid,text)', '{app,trusted_app}'),
    ('stormops.policy_parameters(text)', '{app,trusted_app}'),
    ('stormops.policy_decisions(uuid,jsonb)', '{app,trusted_app}'),
    ('stormops_internal.policy_candidates(uuid,jsonb)', '{app,trusted_app}'),
    ('stormops.default_guardrails(text)', '{app,trusted_app,operator}'),
    ('stormops.add_default_guardrails()', '{app,trusted_app}'),
    ('stormops.check_guardrails(uuid,double precision)', '{app,trusted_app}'),
    ('stormops.explain_decision(uuid,uuid,uuid)', '{app,trusted_app}'),
    ('stormops.decide_again(uuid)', '{app,trusted_app}'),
    ('stormops_internal.guardrails_in_force()', '{app,trusted_app}'),
    ('stormops_internal.guardrail_rows(jsonb)', '{app,trusted_app}'),
    ('stormops_internal.guard_storm(uuid,jsonb,boolean)', '{app,trusted_app}'),
    ('stormops_internal.capped_collect(internal,uuid,text,timestamp with time zone,uuid[],text[],timestamp with time zone[],bigint[])', '{app,trusted_app}'),
    ('stormops_internal.capped_finish(internal)', '{app,trusted_app}'),
    ('stormops_internal.capped_agg(uuid,text,timestamp with time zone,uuid[],text[],timestamp with time zone[],bigint[])', '{app,trusted_app}'),
    ('stormops_internal.capped_properties(bytea)', '{app,trusted_app}'),
    ('stormops_internal.near_collect(internal,uuid,double precision,double precision,double precision,uuid[],uuid[],timestamp with time zone[],timestamp with time zone[],double precision[])', '{app,trusted_app}'),
    ('stormops_internal.near_finish(internal)', '{app,trusted_app}'),
    ('stormops_internal.near_agg(uuid,double precision,double precision,double precision,uuid[],uuid[],timestamp with time zone[],timestamp with time zone[],double precision[])', '{app,trusted_app}'),
    ('stormops_internal.guard_few(uuid,jsonb)', '{app,trusted_app}'),
    ('stormops_internal.guard_many(uuid,jsonb)', '{app,trusted_app}'),
    ('stormops_internal.guarded_properties(uuid,jsonb)', '{app,trusted_app}'),
    ('stormops_internal.kept_exceptions(uuid)', '{app,trusted_app}'),
    ('stormops_internal.area_of(text,double precision,double precision)', '{app,trusted_app}'),
    ('stormops_internal.point_of(double precision,double precision)', '{app,trusted_app}'),
    ('stormops_internal.treated_since(uuid,timestamp with time zone)', '{app,trusted_app}'),
    ('stormops_internal.run_inputs(uuid)', '{app,trusted_app}'),
    ('stormops_internal.draws_are_known(jsonb)', '{app,trusted_app}'),
    ('stormops_internal.inputs_digest(uuid[],numeric[],numeric[],text[],text[],double precision[])', '{app,trusted_app}'),
    ('stormops_internal.decision_steps(uuid,uuid)', '{app,trusted_app}'),
    ('stormops_internal.opt_outs(uuid)', '{app,trusted_app}'),
    ('stormops_internal.guardrail_counts(uuid)', '{app,trusted_app}'),
    ('stormops_internal.rate_bounds(bigint,bigint,double precision)', '{app,trusted_app}'),
    ('stormops_internal.policy_exceptions(uuid,jsonb,boolean)', '{app,trusted_app}'),
    ('stormops_internal.doubles_of(jsonb)', '{app,trusted_app}'),
    ('stormops_internal.policy_numbers(jsonb)', '{app,trusted_app}'),
    ('stormops_internal.decide_policy(uuid,uuid,double precision[],text,boolean)', '{app,trusted_app}'),
    ('stormops_internal.count_policy(uuid,uuid,double precision[],text)', '{app,trusted_app}'),
    ('stormops_internal.require_open_storm(uuid)', '{app,trusted_app}'),
    ('stormops_internal.raise_no_scores(uuid)', '{app,trusted_app}'),
    ('stormops_internal.policy_tally(jsonb)', '{app,trusted_app}'),
    ('stormops_internal.decision_counts(text,text,double precision)', '{app,trusted_app}'),
    ('stormops_internal.attitude(double precision)', '{app,trusted_app}'),
    ('stormops.draw(uuid,uuid,uuid,text)', '{app,trusted_app}'),
    ('stormops.decisions_about(uuid)', '{app,trusted_app,operator}'),
    -- The views call it as whoever asks them.
    ('stormops_internal.unpack_decisions(uuid[],smallint[],double precision[],double precision[],double precision[],text[],text[],double precision[],text[],smallint[],uuid)', '{app,trusted_app,operator}'),
    ('stormops_internal.block_may_have(uuid,uuid,uuid[])', '{app,trusted_app,operator}'),
    ('stormops_internal.find_decisions(uuid,uuid,uuid[],smallint[],uuid[])', '{app,trusted_app}'),
    ('stormops_internal.randomised_of_block(uuid[],smallint[],double precision[],text[],double precision[],uuid[])', '{app,trusted_app}'),
    ('stormops.record_outcome(uuid,uuid,boolean,numeric,timestamp with time zone,text)', '{app,trusted_app}'),
    ('stormops.record_outcomes(uuid,jsonb)', '{app,trusted_app}'),
    ('stormops_internal.logged_sides(boolean)', '{app,trusted_app}'),
    ('stormops_internal.exploration_needed(double precision,double precision,double precision,double precision,double precision)', '{app,trusted_app}'),
    ('stormops.suggest_policy(text,boolean)', '{app,trusted_app}'),
    ('stormops.evaluate_policy(uuid,text,jsonb)', '{app,trusted_app}'),
    ('stormops.compare_policies(uuid)', '{app,trusted_app}'),
    ('stormops_internal.evaluation_run(uuid)', '{app,trusted_app}'),
    ('stormops_internal.evaluation_target(text,jsonb)', '{app,trusted_app}'),
    ('stormops_internal.evaluation_log(uuid)', '{app,trusted_app}'),
    ('stormops_internal.evaluation_agg(uuid,boolean,double precision,double precision,double precision,boolean,double precision,double precision)', '{app,trusted_app}'),
    ('stormops_internal.value_policies(bytea,jsonb,jsonb)', '{app,trusted_app}'),
    ('stormops.maintain_partitions(integer)', '{operator}'),
    ('stormops.drop_decisions_before(date)', '{operator}'),
    ('stormops.pack_decisions(integer)', '{operator}');

-- Tables whose health is watched: see counted_tables().
INSERT INTO pg_temp.counted_tables (table_name, time_column, natural_key, parents, call) VALUES
    ('policy_runs', 'decided_at', '{storm_id,decided_at}', '{"storm_id": "storms"}', 'apply_policy'),
    ('policy_decisions_log', 'decided_at', '{run_id,property_id}', '{"property_id": "properties", "run_id": "policy_runs", "storm_id": "storms"}', NULL),
    ('policy_outcomes', 'recorded_at', '{run_id,property_id,occurred_at}', '{"property_id": "properties", "run_id": "policy_runs"}', 'record_outcomes');

-- What runs on its own: see known_jobs().
INSERT INTO pg_temp.known_jobs (job, schedule, function, purpose) VALUES
    ('partitions', '30 2 * * *', 'maintain_partitions', 'make the decision log''s partitions ahead');

-- What can be wrong, and what to do about it, in order.
INSERT INTO pg_temp.shipped_issues (issue, actions) VALUES
    ('no_policy', ARRAY['SELECT * FROM stormops.preview_policy(storm_id)', 'SELECT * FROM stormops.apply_policy(storm_id)']),
    ('no_outcomes', ARRAY['Check that outcomes are recorded: stormops.record_outcome(...)',
        'See when the outcome window ends: window_ends_at in check_conversion_rates(storm_id)']),
    ('partition_runway', ARRAY['SELECT stormops.maintain_partitions(3)', 'Check that it is scheduled: stormops.schedules()']);
