CREATE TABLE IF NOT EXISTS stormops.guardrails (
    tenant_id    uuid NOT NULL REFERENCES stormops.tenants,
    name         text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    kind         text NOT NULL CHECK (kind IN (
        'consent', 'experiment_control', 'quiet_window', 'frequency_cap', 'spacing', 'area_capacity', 'budget')),
    enabled      boolean NOT NULL DEFAULT true,
    channel      text CHECK (char_length(channel) BETWEEN 1 AND 50),
    opt_in       boolean,
    most         integer CHECK (most BETWEEN 0 AND 1000000000),
    days         integer CHECK (days BETWEEN 1 AND 3650),
    amount       numeric(14, 2) CHECK (amount BETWEEN 0 AND 1e11),
    contact_cost numeric(12, 2) CHECK (contact_cost > 0 AND contact_cost <= 1e9),
    area         text CHECK (char_length(area) BETWEEN 1 AND 50),
    metres       integer CHECK (metres BETWEEN 1 AND 1000),
    time_zone    text CHECK (char_length(time_zone) BETWEEN 1 AND 100),
    from_date    date CHECK (isfinite(from_date)),
    until_date   date CHECK (isfinite(until_date)),
    weekdays     smallint[] CHECK (weekdays <@ '{1,2,3,4,5,6,7}' AND cardinality(weekdays) BETWEEN 1 AND 7 AND array_position(weekdays, NULL) IS NULL),
    from_time    time CHECK (from_time < '24:00'),
    until_time   time,
    PRIMARY KEY (tenant_id, name),
    CHECK (until_date >= from_date),
    CHECK ((from_time IS NULL) = (until_time IS NULL)),
    CHECK (from_time <> until_time),
    CONSTRAINT fields_of_its_kind CHECK (CASE kind
        WHEN 'consent' THEN num_nonnulls(most, days, amount, contact_cost, area, metres) = 0
        WHEN 'experiment_control' THEN num_nonnulls(channel, opt_in, most, days, amount, contact_cost, area, metres) = 0
        WHEN 'quiet_window' THEN time_zone IS NOT NULL AND num_nonnulls(from_date, until_date, weekdays, from_time) > 0
            AND num_nonnulls(channel, opt_in, most, days, amount, contact_cost, area, metres) = 0
        WHEN 'frequency_cap' THEN num_nulls(most, days) = 0 AND num_nonnulls(opt_in, amount, contact_cost, area, metres) = 0
        WHEN 'spacing' THEN num_nulls(metres, days) = 0 AND num_nonnulls(channel, opt_in, most, amount, contact_cost, area) = 0
        WHEN 'area_capacity' THEN num_nulls(most, days) = 0 AND num_nonnulls(channel, opt_in, amount, contact_cost, metres) = 0
        WHEN 'budget' THEN num_nulls(amount, days, contact_cost) = 0 AND num_nonnulls(channel, opt_in, most, area, metres) = 0
    END AND (kind = 'quiet_window' OR num_nonnulls(time_zone, from_date, until_date, weekdays, from_time, until_time) = 0))
);
CREATE OR REPLACE TRIGGER legal_guardrail BEFORE INSERT OR UPDATE ON stormops.guardrails
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.legal_guardrail();
CREATE OR REPLACE TRIGGER given_once BEFORE UPDATE OF tenant_id, name, kind ON stormops.guardrails
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.given_once('tenant_id', 'name', 'kind');
COMMENT ON TABLE stormops.guardrails IS 'Whom no policy of the tenant treats, whatever the score. Provisioning copies default_guardrails(); the tenant changes its own rows and adds some. A kind has the columns that its description names, and no other: docs/guardrails.md.';
COMMENT ON COLUMN stormops.guardrails.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.guardrails.name IS 'Name for people to read, unique within the tenant; runs keep it.';
COMMENT ON COLUMN stormops.guardrails.kind IS 'consent, experiment_control, quiet_window, frequency_cap, spacing, area_capacity or budget; the reason with which it excludes. The first that applies, in this order, is logged.';
COMMENT ON COLUMN stormops.guardrails.enabled IS 'False: nothing is asked of it.';
COMMENT ON COLUMN stormops.guardrails.channel IS 'consent, frequency_cap: of this channel; NULL: of all together.';
COMMENT ON COLUMN stormops.guardrails.opt_in IS 'consent: true asks for a consent on record, else it is enough that none is refused.';
COMMENT ON COLUMN stormops.guardrails.most IS 'frequency_cap: most contacts of a property within days; area_capacity: most properties of an area treated within days.';
COMMENT ON COLUMN stormops.guardrails.days IS 'How many days back it counts, 1 to 3650, to the second.';
COMMENT ON COLUMN stormops.guardrails.amount IS 'budget: most that treating may cost within days, in the tenant''s currency.';
COMMENT ON COLUMN stormops.guardrails.contact_cost IS 'budget: what treating a property costs of which neither it nor the mode says so.';
COMMENT ON COLUMN stormops.guardrails.area IS 'area_capacity: this area alone, as in properties; NULL: each area by itself.';
COMMENT ON COLUMN stormops.guardrails.metres IS 'spacing: as near as this, 1 to 1000 metres on a great circle, to a property that was treated within days for another storm, nobody is treated.';
COMMENT ON COLUMN stormops.guardrails.time_zone IS 'quiet_window: where its dates and times are, a name such as America/Chicago.';
COMMENT ON COLUMN stormops.guardrails.from_date IS 'quiet_window: first day; NULL: since ever.';
COMMENT ON COLUMN stormops.guardrails.until_date IS 'quiet_window: last day; NULL: for ever.';
COMMENT ON COLUMN stormops.guardrails.weekdays IS 'quiet_window: on these days only, 1 (Monday) to 7 (Sunday); NULL: on all.';
COMMENT ON COLUMN stormops.guardrails.from_time IS 'quiet_window: from this time of a day on; NULL: all day.';
COMMENT ON COLUMN stormops.guardrails.until_time IS 'quiet_window: until before this time; one before from_time is of the next morning, and each side of midnight belongs to its own day.';

-- Rows come only from apply_policy(), in blocks of arrays: of what many properties have in common little is written twice.
-- Checked at the commit, since the run's own row counts what is decided from these.
CREATE TABLE IF NOT EXISTS stormops.policy_run_inputs (
    tenant_id    uuid NOT NULL,
    run_id       uuid NOT NULL,
    block_no     integer NOT NULL CHECK (block_no >= 0),
    property_ids uuid[] NOT NULL,
    margins      numeric[] NOT NULL,
    costs        numeric[] NOT NULL,
    reasons      text[] NOT NULL,
    guardrails   text[] NOT NULL,
    measured     double precision[] NOT NULL,
    PRIMARY KEY (tenant_id, run_id, block_no),
    FOREIGN KEY (tenant_id, run_id) REFERENCES stormops.policy_runs DEFERRABLE INITIALLY DEFERRED,
    CHECK (cardinality(property_ids) BETWEEN 1 AND 4096),
    CONSTRAINT one_length CHECK (cardinality(margins) = cardinality(property_ids)
        AND cardinality(costs) = cardinality(property_ids) AND cardinality(reasons) = cardinality(property_ids)
        AND cardinality(guardrails) = cardinality(property_ids) AND cardinality(measured) = cardinality(property_ids))
);
COMMENT ON TABLE stormops.policy_run_inputs IS 'What a run knew of single properties beside their scores: money of their own, and the guardrail that excluded them; properties with neither are not in it. With policy_runs.parameters and the log it is all that the run rests on. Written by apply_policy(); append-only.';
COMMENT ON COLUMN stormops.policy_run_inputs.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.policy_run_inputs.run_id IS 'The run, of the same tenant.';
COMMENT ON COLUMN stormops.policy_run_inputs.block_no IS 'From 0 on, in the order of property_id.';
COMMENT ON COLUMN stormops.policy_run_inputs.property_ids IS 'The properties, at most 4096, in order; the other arrays are as long.';
COMMENT ON COLUMN stormops.policy_run_inputs.margins IS 'job_margin of each as it was; NULL: the mode''s.';
COMMENT ON COLUMN stormops.policy_run_inputs.costs IS 'contact_cost of each as it was; NULL: the mode''s.';
COMMENT ON COLUMN stormops.policy_run_inputs.reasons IS 'The kind of the guardrail that excluded each; NULL: none did.';
COMMENT ON COLUMN stormops.policy_run_inputs.guardrails IS 'Its name.';
COMMENT ON COLUMN stormops.policy_run_inputs.measured IS 'What it counted: contacts, properties of the area, or currency, of which the last is more than it allows; NULL where it counts nothing.';

-- Written by every run under guardrails that count over storms, for which they stand in line.
CREATE TABLE IF NOT EXISTS stormops_internal.policy_turns (
    for_tenant uuid PRIMARY KEY REFERENCES stormops.tenants,
    runs       bigint NOT NULL CHECK (runs > 0)
);
COMMENT ON TABLE stormops_internal.policy_turns IS 'How often a tenant''s policies ran under guardrails: the row that two runs at once take in turn.';
COMMENT ON COLUMN stormops_internal.policy_turns.for_tenant IS 'The tenant.';
COMMENT ON COLUMN stormops_internal.policy_turns.runs IS 'The runs so far.';
