-- The functions that are Rust: pgrx declares them, and does not turn their documentation into this.
COMMENT ON FUNCTION stormops.new_id() IS 'A UUID of version 7 (RFC 9562): unique, and in the order of time.';
COMMENT ON FUNCTION stormops.first_id_at(bigint) IS 'The smallest UUID of version 7 of a moment, given in milliseconds since 1970: the bound of a partition by id.';
COMMENT ON FUNCTION stormops.milliseconds_of(uuid) IS 'The moment of an id of version 7, in milliseconds since 1970.';
COMMENT ON FUNCTION stormops.name_key(text) IS 'Folds a name so that two that a person would confuse are equal: case, white space, compatibility forms (NFKC), look-alike characters (Unicode Technical Standard 39, section 4). NULL if the name is longer than 200 characters, shows no letter or digit, or holds an invisible character.';
COMMENT ON FUNCTION stormops.tidy_name(text) IS 'The name with single blanks between its words and none around it.';
COMMENT ON FUNCTION stormops.email_key(text) IS 'The address with its domain in lower case; NULL if it is not name@domain.tld of at most 254 characters (RFC 5321).';
COMMENT ON FUNCTION stormops.log_digest(bytea[]) IS 'SHA-256 over fields, each after its length in four bytes (the most significant first; ffffffff stands for NULL): the canonical form of the log.';
COMMENT ON FUNCTION stormops.library_is_preloaded() IS 'True if shared_preload_libraries or session_preload_libraries name the library: then its guards hold from a session''s first statement on.';
COMMENT ON FUNCTION stormops.calling_role() IS 'The database role in force outside every SECURITY DEFINER function: who called.';
COMMENT ON FUNCTION stormops.visit_all_tenants() IS 'Lets the function of stormops_owner that calls it see every tenant''s rows until it returns. Errors: 42501 from anywhere else.';
COMMENT ON FUNCTION stormops.await_writers(oid) IS 'Waits until every transaction has ended that holds a lock of a table for writing now; blocks nobody.';
COMMENT ON FUNCTION stormops.lock_quotas(oid, uuid, text, boolean) IS 'Takes the locks of a metric of a tenant (NULL: of every tenant) to the end of the transaction: shared to meter it, or alone to change its quota. The table makes them StormOps'' own.';
COMMENT ON FUNCTION stormops.print_invoice(jsonb) IS 'The text of a document of invoice_json(). Error: 22023 it is none.';
COMMENT ON FUNCTION stormops.print_invoice_html(jsonb) IS 'The page of a document of invoice_json(). Error: 22023 it is none.';
COMMENT ON FUNCTION stormops.forecast_days(double precision[], integer, double precision) IS 'What the days left will bring, from the totals of complete days, oldest first: expected, and the prediction interval low to high; n; method: weekday means from two weeks of days on, else the daily mean. Independent days of one variance around their mean, Student''s t. Low and high are NULL of a single day. Error: 22023.';
COMMENT ON FUNCTION stormops.announce_standing() IS 'Trigger: tells every backend to read the tenant''s standing afresh once this transaction commits.';
COMMENT ON FUNCTION stormops.login_challenge() IS 'What a bound token must hold in its claim nonce: 43 characters drawn at random for this transaction of this session, and of no use in another.';
COMMENT ON FUNCTION stormops.break_glass(uuid) IS 'Works in the tenant of an open grant for the rest of the transaction, read only; a line of the server''s log says so first. Returns the tenant''s id. For the operator that opened the grant. Errors: 28000 no open grant of the calling role, or its tenant is closed; 55000 the grant is not committed yet; 25001 the transaction works in a tenant already.';
COMMENT ON FUNCTION stormops.read_jwks(text) IS 'The keys of a JWK set that can verify tokens, checked. Error: 22023.';
COMMENT ON FUNCTION stormops.new_signing_key() IS 'A new Ed25519 key pair: the private half (32 bytes) and the public one as a JWK.';
COMMENT ON FUNCTION stormops.sign_token(bytea, text, text) IS 'A token of these claims (a JSON object), signed by an Ed25519 private key.';
COMMENT ON FUNCTION stormops.install() IS 'Makes what is missing of StormOps'' tables, adopts those that are there, and restores policies, defaults and triggers; keeps every row. Runs as part of CREATE EXTENSION; for superusers.';
COMMENT ON FUNCTION stormops.current_user_id() IS 'The user on whose behalf this session works (app.current_user_id). NULL: the application itself. Errors as current_tenant(); 28000 if the user is not a member of the tenant.';
COMMENT ON FUNCTION stormops.current_user_role() IS 'The acting user''s role, as users has it now: admin, crew_chief, field_user or viewer. NULL: the application itself. Errors as current_user_id().';
COMMENT ON FUNCTION stormops.draw(uuid, uuid, uuid, text) IS 'A number in [0, 1) from tenant, storm, property and purpose (SipHash-2-4, 53 bits): uniform, independent between purposes, the same in every run, on every machine, in every version.';
COMMENT ON FUNCTION stormops.attitude(double precision) IS 'z, the (1 - confidence) quantile of the standard normal distribution: with uplift ~ N(score, sd), P(uplift > b) >= confidence where score + z * sd >= b. NULL outside (0, 1).';
COMMENT ON FUNCTION stormops.compare_proportions(bigint, bigint, bigint, bigint, double precision, double precision, bigint) IS 'All that the conversions of two arms say of each other, in one row: rates; lift with its Newcombe interval and the Miettinen-Nurminen score interval; relative lift with the interval of its logarithm (by Wilson''s limits where an arm converted throughout); p_value of no difference by method z or, with fewer than thirty leads or ten conversions or ten others in an arm, fisher (then boschloo_p too, up to 200 leads: as exact and finding more; choose one before looking); the always-valid interval and p-value by asymptotic confidence sequence or beta_binomial; p_short: the chance of so low a lift if the truth were min_lift (score test, exact below 30 leads in an arm); verdict: ok, inconclusive, anomaly against min_lift; more_leads_needed to tell, if the rates stay (NULL: more than a thousand million); detectable_lift: found with 80 % power; probability_better, expected_loss with uniform priors. planned_n: where the always-valid interval is narrowest, 5000 if NULL. NULL counts are zero. status: ok, no_treatment, no_control, no_outcomes. Errors: 22023.';
COMMENT ON FUNCTION stormops.draw_health_report(jsonb) IS 'The page of a storm from health_report_data(). Error: 22023 not such data.';
COMMENT ON FUNCTION stormops.draw_platform_report(jsonb) IS 'The page of the installation from platform_report_data(). Error: 22023 not such data.';
COMMENT ON FUNCTION stormops.egress_refusal(text) IS 'Why alerts cannot be sent to an address; NULL if they can, as far as its text tells: an https URL of at most 2000 bytes without user or password, to a host of stormops.egress_hosts if there are any.';
COMMENT ON FUNCTION stormops.post_alert(text, text, text, jsonb, integer) IS 'Sends one alert and waits at most timeout_ms, 1 to 60000. kind: pagerduty (Events API v2; secret: the routing key; empty address: its own), slack (incoming webhook; the address is the secret), webhook (signed as Standard Webhooks says with HMAC-SHA256). outcome: delivered, retry (retry_after: seconds the server asked for), dead (can never succeed); detail never holds the address, the secret or an answer. Connects to public addresses only, and to stormops.egress_networks.';
COMMENT ON FUNCTION stormops.arm_combine(double precision[], double precision[]) IS 'Merges two states of arm_agg(). Errors: 22003 overflow, 22023 not such a state.';
COMMENT ON FUNCTION stormops.arm_moments(double precision[]) IS 'What a state of arm_agg() holds, in one row: n, n_invalid (NaN, infinite), mean and sample variance, the covariate''s, and their covariance. Error: 22023 not such a state.';
COMMENT ON FUNCTION stormops.compare_means(double precision[], double precision[], double precision, bigint) IS 'The difference of two arms'' means, states of arm_agg(), in one row: Welch''s interval and p_value; always-valid interval and p-value from a hundred leads on, thirty of them in each arm; adjusted_…: less slope times the covariate (CUPED), with variance_left of the plain one. status: ok, no_treatment, no_control, no_outcomes. Errors: 22023.';
COMMENT ON FUNCTION stormops.compare_clusters(double precision[], double precision[], double precision[], double precision[], double precision, bigint) IS 'The difference of two arms'' means from n and sum by cluster, in one row: cluster-robust standard error CR1 with t of clusters - 1. clusters: those with leads. few_clusters: below 30, or an arm in fewer than 15: the error is too small, and nothing always-valid is claimed. No error where an arm is in one cluster only. Errors: 22023.';
COMMENT ON FUNCTION stormops.check_sample_ratio(bigint[], double precision[]) IS 'Whether arms are as large as their weights say, in one row: verdict ok, warning (p < 0.01), alarm (p < 0.001), too_few (fewer than eight expected in an arm); chi-square test; sequential_p, which holds at every look (Dirichlet-multinomial); deviation: the greatest of a share, below 0.001 always ok. Arms of weight 0 are left out, whoever is in them; without leads in the others the numbers are NULL. Error: 22023.';
COMMENT ON FUNCTION stormops.leads_per_arm(double precision, double precision, double precision) IS 'Leads in each arm to find a lift over control_rate with 80 % power in a two-sided test; NULL if it is no lift, leaves 0 to 1, is one from none to all, or needs more than there can be. Error: 22023 alpha.';
COMMENT ON FUNCTION stormops.comparison_power(double precision, double precision, bigint, double precision) IS 'Power to find a lift over control_rate with so many leads in each arm, two-sided; NULL if it is no lift or leaves 0 to 1. Error: 22023 alpha.';
COMMENT ON FUNCTION stormops.benjamini_hochberg(double precision[]) IS 'The p-values adjusted for being many (false discovery rate), in the order given; NULL stays NULL and does not count. Error: 22023 not p-values.';
COMMENT ON FUNCTION stormops.shipped_columns() IS 'The columns of the tables as shipped, read from the statements that install() runs.';
COMMENT ON FUNCTION stormops.next_run(text, timestamptz) IS 'When a cron expression of five fields (or @hourly, @daily, …) is due next, in UTC; NULL if pg_cron would not take it or it is never due.';

-- After every function is there: nobody may execute one unless stormops.grant_usage() says so,
-- the SECURITY DEFINER ones become their owner's, and the tables are made.
DO $$
DECLARE
    f record;
BEGIN
    GRANT USAGE, CREATE ON SCHEMA stormops TO stormops_owner;
    FOR f IN
        SELECT p.oid::pg_catalog.regprocedure AS signature, p.prosecdef
        FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace OPERATOR(pg_catalog.=) 'stormops'::pg_catalog.regnamespace
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f.signature);
        EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO stormops_owner', f.signature);
        IF f.prosecdef THEN
            EXECUTE pg_catalog.format('ALTER FUNCTION %s OWNER TO stormops_owner', f.signature);
        END IF;
    END LOOP;
    REVOKE EXECUTE ON FUNCTION stormops.install() FROM stormops_owner;
    ALTER FUNCTION stormops.install() SET client_min_messages = warning; -- it skips what is there
    PERFORM stormops.record_shipped();
    -- A restore sets row_security off and brings the tables with their rows; they come after this.
    IF pg_catalog.current_setting('row_security') OPERATOR(pg_catalog.=) 'on' THEN
        PERFORM stormops.install();
    END IF;
END
$$;
