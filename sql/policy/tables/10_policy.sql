CREATE TABLE IF NOT EXISTS stormops.policy_modes (
    tenant_id        uuid NOT NULL REFERENCES stormops.tenants,
    policy_mode      text NOT NULL CHECK (char_length(policy_mode) BETWEEN 1 AND 50),
    confidence       double precision NOT NULL CHECK (confidence BETWEEN 0.001 AND 0.999),
    exploration      double precision NOT NULL CHECK (exploration BETWEEN 0 AND 0.5),
    holdout          double precision NOT NULL CHECK (holdout BETWEEN 0 AND 0.9),
    breakeven_uplift double precision NOT NULL DEFAULT 0.05 CHECK (breakeven_uplift BETWEEN 0 AND 1),
    margin           numeric(12, 2) CHECK (margin > 0 AND margin <= 1e9),
    contact_cost     numeric(12, 2) CHECK (contact_cost >= 0 AND contact_cost <= 1e9),
    capacity         integer CHECK (capacity > 0),
    budget           numeric(14, 2) CHECK (budget > 0 AND budget <= 1e11),
    default_sd       double precision NOT NULL DEFAULT 0.05 CHECK (default_sd > 0 AND default_sd <= 1),
    outcome_days     integer NOT NULL DEFAULT 90 CHECK (outcome_days BETWEEN 1 AND 3650),
    PRIMARY KEY (tenant_id, policy_mode),
    CHECK (margin IS NULL OR contact_cost IS NOT NULL),
    CHECK (budget IS NULL OR coalesce(contact_cost, 0) > 0)
);
-- 0.2.0: a whole row may be written, as mappers of objects do; what role_matrix() does not name keeps its value.
CREATE OR REPLACE TRIGGER given_once BEFORE UPDATE OF tenant_id, policy_mode ON stormops.policy_modes
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.given_once('tenant_id', 'policy_mode');
COMMENT ON TABLE stormops.policy_modes IS 'The risk attitudes of a tenant. Provisioning copies default_policy_modes(); the tenant changes its own rows and adds modes.';
COMMENT ON COLUMN stormops.policy_modes.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.policy_modes.policy_mode IS 'Name of the mode: conservative, moderate, aggressive, or the tenant''s own.';
COMMENT ON COLUMN stormops.policy_modes.confidence IS 'q: treat where P(net value > 0) >= q, 0.001 to 0.999. A higher q treats a subset.';
COMMENT ON COLUMN stormops.policy_modes.exploration IS 'Probability, 0 to 0.5, of doing the opposite of the rule, so that the log can later value other rules. 0: never.';
COMMENT ON COLUMN stormops.policy_modes.holdout IS 'Probability, 0 to 0.9, of holding a property at random, whatever its score: the control group.';
COMMENT ON COLUMN stormops.policy_modes.breakeven_uplift IS 'Uplift at which treating pays, 0 to 1; used where margin and contact cost are not both known.';
COMMENT ON COLUMN stormops.policy_modes.margin IS 'Margin of one job, in the tenant''s currency; break-even is then contact_cost / margin.';
COMMENT ON COLUMN stormops.policy_modes.contact_cost IS 'Cost of treating one property, in the tenant''s currency.';
COMMENT ON COLUMN stormops.policy_modes.capacity IS 'Most properties that can be treated; the best by value per cost are taken.';
COMMENT ON COLUMN stormops.policy_modes.budget IS 'Most that the rule may spend on contact costs; the best by value per cost are taken.';
COMMENT ON COLUMN stormops.policy_modes.default_sd IS 'Standard deviation assumed for a score that comes without one.';
COMMENT ON COLUMN stormops.policy_modes.outcome_days IS 'Days after the decision within which an outcome counts; a later one is recorded as late.';

CREATE TABLE IF NOT EXISTS stormops.policy_runs (
    tenant_id      uuid NOT NULL,
    run_id         uuid NOT NULL,
    storm_id       uuid NOT NULL,
    policy_mode    text NOT NULL,
    parameters     jsonb NOT NULL,
    decided_at     timestamptz NOT NULL CHECK (isfinite(decided_at)),
    decided_by     text NOT NULL,
    acting_user    uuid,
    treat          bigint NOT NULL CHECK (treat >= 0),
    hold           bigint NOT NULL CHECK (hold >= 0),
    excluded       bigint NOT NULL CHECK (excluded >= 0),
    reasons        jsonb NOT NULL,
    expected_value numeric NOT NULL,
    supersedes     uuid,
    superseded_at  timestamptz CHECK (isfinite(superseded_at)),
    PRIMARY KEY (tenant_id, run_id),
    FOREIGN KEY (tenant_id, storm_id) REFERENCES stormops.storms,
    FOREIGN KEY (tenant_id, supersedes) REFERENCES stormops.policy_runs
);
CREATE UNIQUE INDEX IF NOT EXISTS policy_runs_current ON stormops.policy_runs (tenant_id, storm_id) WHERE superseded_at IS NULL;
CREATE INDEX IF NOT EXISTS policy_runs_storm ON stormops.policy_runs (tenant_id, storm_id, decided_at);
CREATE INDEX IF NOT EXISTS policy_runs_supersedes ON stormops.policy_runs (tenant_id, supersedes);
COMMENT ON TABLE stormops.policy_runs IS 'One row for each call of apply_policy(): its parameters and counts. A storm has one current run; the others are superseded.';
COMMENT ON COLUMN stormops.policy_runs.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.policy_runs.run_id IS 'UUID version 7: in the order of time.';
COMMENT ON COLUMN stormops.policy_runs.storm_id IS 'The storm, of the same tenant.';
COMMENT ON COLUMN stormops.policy_runs.policy_mode IS 'The mode applied.';
COMMENT ON COLUMN stormops.policy_runs.parameters IS 'All that the decisions rest on beside the data: the mode''s row and the guardrails as they were, the z of its confidence, the exploration in effect, and the number and digest of the inputs (policy_run_inputs). decide_again(run_id) decides alike from these and the log.';
COMMENT ON COLUMN stormops.policy_runs.decided_at IS 'Server time of the decision.';
COMMENT ON COLUMN stormops.policy_runs.decided_by IS 'The database role that called.';
COMMENT ON COLUMN stormops.policy_runs.acting_user IS 'The tenant''s user on whose behalf it called, if the context named one.';
COMMENT ON COLUMN stormops.policy_runs.treat IS 'Properties to treat.';
COMMENT ON COLUMN stormops.policy_runs.hold IS 'Properties to hold.';
COMMENT ON COLUMN stormops.policy_runs.excluded IS 'Properties outside the policy (do_not_contact, guardrails).';
COMMENT ON COLUMN stormops.policy_runs.reasons IS 'Properties by reason code, a JSON object.';
COMMENT ON COLUMN stormops.policy_runs.expected_value IS 'Sum of value over the treated properties: currency if margin and cost are known, else jobs beyond break-even.';
COMMENT ON COLUMN stormops.policy_runs.supersedes IS 'The run that this one replaced.';
COMMENT ON COLUMN stormops.policy_runs.superseded_at IS 'When a later run replaced this one; NULL: the current run.';

CREATE TABLE IF NOT EXISTS stormops.policy_outcomes (
    tenant_id       uuid NOT NULL,
    outcome_id      uuid NOT NULL,
    storm_id        uuid NOT NULL,
    property_id     uuid NOT NULL,
    run_id          uuid NOT NULL,
    converted       boolean NOT NULL,
    value           numeric(14, 2) CHECK (value BETWEEN 0 AND 1e11),
    occurred_at     timestamptz NOT NULL CHECK (isfinite(occurred_at)),
    late            boolean NOT NULL,
    idempotency_key text NOT NULL CHECK (char_length(idempotency_key) BETWEEN 1 AND 200),
    recorded_at     timestamptz NOT NULL DEFAULT now() CHECK (isfinite(recorded_at)),
    PRIMARY KEY (tenant_id, outcome_id),
    UNIQUE (tenant_id, idempotency_key),
    FOREIGN KEY (tenant_id, property_id) REFERENCES stormops.properties,
    FOREIGN KEY (tenant_id, run_id) REFERENCES stormops.policy_runs
);
CREATE INDEX IF NOT EXISTS policy_outcomes_property ON stormops.policy_outcomes (tenant_id, property_id);
CREATE INDEX IF NOT EXISTS policy_outcomes_run ON stormops.policy_outcomes (tenant_id, run_id, property_id);
CREATE INDEX IF NOT EXISTS policy_outcomes_storm ON stormops.policy_outcomes (tenant_id, storm_id, property_id);
-- Where new rows lie: rows stand in the order in which they came, so this is small, costs a writer next to
-- nothing, and lets a check read only what is new.
CREATE INDEX IF NOT EXISTS policy_outcomes_arrival ON stormops.policy_outcomes USING brin (tenant_id, recorded_at) WITH (pages_per_range = 32, autosummarize = on);
ALTER TABLE stormops.policy_outcomes ALTER COLUMN outcome_id SET DEFAULT stormops.new_id();
COMMENT ON TABLE stormops.policy_outcomes IS 'What came of the decisions. Written by record_outcome() and record_outcomes(); append-only. A property converted if any of its outcomes did; values add up.';
COMMENT ON COLUMN stormops.policy_outcomes.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.policy_outcomes.outcome_id IS 'UUID version 7, made by the server.';
COMMENT ON COLUMN stormops.policy_outcomes.storm_id IS 'The storm, that of the run.';
COMMENT ON COLUMN stormops.policy_outcomes.property_id IS 'The property, one with a decision in the run.';
COMMENT ON COLUMN stormops.policy_outcomes.run_id IS 'The run that was current when the outcome occurred.';
COMMENT ON COLUMN stormops.policy_outcomes.converted IS 'True: the property became a job.';
COMMENT ON COLUMN stormops.policy_outcomes.value IS 'Worth of the job, 0 to 1e11, in the tenant''s currency.';
COMMENT ON COLUMN stormops.policy_outcomes.occurred_at IS 'When it occurred; not before the decision, not in the future.';
COMMENT ON COLUMN stormops.policy_outcomes.late IS 'True: more than the mode''s outcome_days after the decision; kept, and left out of the primary measure.';
COMMENT ON COLUMN stormops.policy_outcomes.idempotency_key IS 'A key that the same outcome carries when it is sent again; unique within the tenant.';
COMMENT ON COLUMN stormops.policy_outcomes.recorded_at IS 'Server time.';
