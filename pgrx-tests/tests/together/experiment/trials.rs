//! Real randomised trials through the SQL functions, against numbers that reference packages give on the same rows:
//! statsmodels 0.15.0, gbstats 0.8.0, scipy 1.17.1, psi-inference 0.1.0, scikit-uplift 0.5.1, confseq 0.0.11. The rows
//! come from Python packages that carry them (experiment_trials.py), which `.ci/setup test` fetches.

use std::fs::read;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use postgres::Client;
use stormops_tests::{Db, fails_with};

/// A trial as CSV. What is missing is an error, never a pass.
pub fn trial(name: &str) -> Vec<u8> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = here.parent().expect("the workspace").join("target");
    let (python, trials) = (target.join("venv/bin/python"), target.join("trials"));
    assert!(read(&python).is_ok() && trials.is_dir(), "no trials here: run `.ci/setup test` first");
    let printed =
        Command::new(python).arg(here.join("experiment_trials.py")).arg(trials).arg(name).output().expect("python");
    let said = String::from_utf8_lossy(&printed.stderr);
    assert!(printed.status.success(), "{name} cannot be read: run `.ci/setup test` again\n{said}");
    printed.stdout
}

/// A database with the trial in a table of these columns, in the CSV's order.
fn loaded(name: &str, columns: &str, rows: i64) -> (Db, Client) {
    let db = Db::new(name);
    let mut client = db.superuser();
    client.batch_execute(&format!("CREATE TABLE {name} ({columns})")).expect("a table");
    let mut copy = client.copy_in(&format!("COPY {name} FROM STDIN (FORMAT csv, HEADER)")).expect("copy");
    copy.write_all(&trial(name)).expect("rows");
    assert_eq!(copy.finish().expect("rows"), rows as u64);
    (db, client)
}

fn hillstrom() -> (Db, Client) {
    let columns = "recency int, history_segment text, history float8, mens int, womens int, zip_code text, newbie int,
        channel text, segment text, visit int, conversion int, spend float8";
    loaded("hillstrom", columns, 64_000)
}

/// A row's numbers, each against what is expected: within the tolerance, relative, and absolute around 0.
#[track_caller]
fn gives(client: &mut Client, query: &str, expected: &[(&str, f64, f64)]) {
    let row = client.query_one(query, &[]).expect("one row");
    for (column, value, tolerance) in expected {
        let got: f64 = row.get(column);
        assert!((got - value).abs() <= tolerance * value.abs().max(1e-300), "{column}: {got:e}, not {value:e}");
    }
}

/// `compare_proportions` of Hillstrom's women's e-mail against none.
fn compared(outcome: &str) -> String {
    format!(
        "SELECT c.*, c.lift - c.always_valid_low AS half_width FROM (
            SELECT count(*) FILTER (WHERE segment = 'Womens E-Mail' AND {outcome} = 1) AS x1,
                count(*) FILTER (WHERE segment = 'Womens E-Mail') AS n1,
                count(*) FILTER (WHERE segment = 'No E-Mail' AND {outcome} = 1) AS x0,
                count(*) FILTER (WHERE segment = 'No E-Mail') AS n0 FROM hillstrom
        ) AS s, stormops.compare_proportions(x1, n1, x0, n0, planned_n => 5000) AS c"
    )
}

#[test]
fn rates_of_hillstroms_trial() {
    let (_db, mut client) = hillstrom();
    gives(
        &mut client,
        &compared("visit"),
        &[
            ("p_value", 3.1824031593349214e-44, 1e-9),
            ("lift_low", 0.03889409535998813, 1e-10),
            ("lift_high", 0.051574342962213596, 1e-10),
            ("score_low", 0.03889837826933164, 1e-9),
            ("score_high", 0.05157926430750806, 1e-9),
            ("p_short", 0.07042153339761553, 1e-9),
            ("relative_lift", 0.4260550702669102, 1e-10),
            ("relative_low", 0.3561712234724586, 1e-10),
            ("relative_high", 0.4995400493949955, 1e-10),
            ("half_width", 0.010417028924336161, 1e-12),
            ("always_valid_p", 1.1646540401833723e-41, 1e-10),
        ],
    );
    gives(
        &mut client,
        &compared("conversion"),
        &[
            ("p_value", 1.5710512910668448e-4, 1e-9),
            ("half_width", 0.002649544398197517, 1e-12),
            ("always_valid_p", 0.007216698235452568, 1e-12),
            ("probability_better", 0.99992384902, 1e-9),
        ],
    );
    let arms = "SELECT r.* FROM (SELECT array_agg(n) AS n FROM (
            SELECT count(*) AS n FROM hillstrom GROUP BY segment) AS s) AS s,
        stormops.check_sample_ratio(n, '{1, 1, 1}') AS r";
    gives(&mut client, arms, &[("p_value", 0.9036929575604196, 1e-9)]);
}

#[test]
fn covariates_of_two_trials() {
    let compare = |table: &str, y: &str, x: &str, treated: &str, control: &str| {
        format!(
            "SELECT c.* FROM stormops.compare_means((SELECT stormops.arm_agg({y}, {x}) FROM {table} WHERE {treated}),
                (SELECT stormops.arm_agg({y}, {x}) FROM {table} WHERE {control})) AS c"
        )
    };
    let (_db, mut client) = hillstrom();
    gives(
        &mut client,
        &compare("hillstrom", "spend", "history", "segment = 'Womens E-Mail'", "segment = 'No E-Mail'"),
        &[
            ("slope", 0.00103194290093415, 1e-9),
            ("difference", 0.4244122159365966, 1e-9),
            ("adjusted_difference", 0.42270540278438734, 1e-9),
        ],
    );
    let columns = "data_id text, treat int, age int, educ int, black int, hisp int, marr int, nodegree int,
        re74 float8, re75 float8, re78 float8";
    let (_db, mut client) = loaded("nsw", columns, 445);
    gives(
        &mut client,
        &compare("nsw", "re78", "re75", "treat = 1", "treat = 0"),
        &[
            ("slope", 0.1666682874366202, 1e-9),
            ("difference", 1794.34, 1e-5),
            ("adjusted_difference", 1750.1509023542264, 1e-9),
        ],
    );
}

#[test]
fn villages_of_thorntons_trial() {
    let columns = "village float8, got float8, distance float8, income float8, paid float8, age float8, hiv float8";
    let (_db, mut client) = loaded("thornton", columns, 4_820);
    let clusters = "SELECT c.*, c.clusters::float8 AS villages FROM (
            SELECT array_agg(n1) AS n1, array_agg(s1) AS s1, array_agg(n0) AS n0, array_agg(s0) AS s0 FROM (
                SELECT sum(paid) AS n1, sum(got * paid) AS s1, sum(1 - paid) AS n0, sum(got * (1 - paid)) AS s0
                FROM thornton WHERE got IS NOT NULL AND paid IS NOT NULL AND village IS NOT NULL GROUP BY village
            ) AS v) AS a, stormops.compare_clusters(n1, s1, n0, s0) AS c";
    gives(
        &mut client,
        clusters,
        &[("villages", 119.0, 0.0), ("difference", 0.4519822744063286, 1e-12), ("se", 0.022790321861048794, 1e-12)],
    );
}

#[test]
fn drift_of_hillstroms_customers() {
    let (_db, mut client) = hillstrom();
    // New customers against old ones.
    let drift = "SELECT jsonb_object_agg(statistic, value) AS d FROM (
            SELECT stormops.score_agg(history) FILTER (WHERE newbie = 1) AS a,
                stormops.score_agg(history) FILTER (WHERE newbie = 0) AS b FROM hillstrom
        ) AS s, stormops.drift(a, b)";
    let drift = format!(
        "SELECT (d->>'psi')::float8 AS psi, (d->>'jensen_shannon')::float8 AS js, (d->>'hellinger')::float8 AS hellinger,
            (d->>'chi2')::float8 AS chi2 FROM ({drift}) AS d"
    );
    gives(
        &mut client,
        &drift,
        &[
            ("psi", 0.3157752839599368, 1e-11),
            ("js", 0.23401142162857436, 1e-11),
            ("hellinger", 0.1967104923299024, 1e-11),
            ("chi2", 4680.795011256327, 1e-11),
        ],
    );
}

#[test]
fn ranking_of_hillstroms_customers() {
    let (_db, mut client) = hillstrom();
    let metrics = |score: &str, order: &str| {
        format!(
            "SELECT m.* FROM (SELECT stormops.uplift_agg(s, segment = 'Womens E-Mail', visit ORDER BY {order}) AS s FROM (
                SELECT {score} AS s, segment, visit::float8 AS visit, md5(h::text) AS shuffled
                FROM hillstrom AS h WHERE segment <> 'Mens E-Mail') AS rows) AS s, stormops.uplift_metrics(s) AS m"
        )
    };
    // A score with many ties. scikit-uplift takes them as groups in these two.
    for order in ["visit", "visit DESC", "shuffled"] {
        gives(
            &mut client,
            &metrics("history", order),
            &[("qini", 0.0026215140678726542, 1e-10), ("auuc", 0.0010476345927874125, 1e-10)],
        );
        // All equal: the ranking says nothing, and its best tenth is as good as everybody.
        gives(
            &mut client,
            &metrics("0.5", order),
            &[
                ("qini", 0.0, 0.0),
                ("auuc", 0.0, 0.0),
                ("uplift_at_10", 0.045233106587052985, 1e-12),
                ("autoc", 0.0, 0.0),
                ("rate_qini", 0.0, 0.0),
            ],
        );
    }
}

/// confseq's own thousand rows with the bounds that they have after each, to its own tolerance.
#[test]
fn bounded_lift_of_confseqs_trial() {
    let columns =
        "row int, t int, y float8, treatment int, point_estimate float8, upper_bound float8, lower_bound float8,
        p_value float8";
    let (_db, mut client) = loaded("bernoulli", columns, 1_000);
    let looks = "SELECT max(abs(b.lift - point_estimate)) AS lift, max(abs(b.low - lower_bound)) AS low,
            max(abs(b.high - upper_bound)) AS high,
            -- Its p-value is of one side, ours of two.
            max(abs(b.p_value - least(1, 2 * e.p_value))) FILTER (WHERE point_estimate > 0 AND e.p_value < 1) AS p,
            count(*)::float8 AS looks
        FROM (
            SELECT *, stormops.bounded_lift_agg(y, treatment = 1, 0.5) OVER (ORDER BY t) AS state FROM bernoulli
        ) AS e, stormops.bounded_lift(state, planned_n => 50, outcome_variance => 0.16) AS b";
    let row = client.query_one(looks, &[]).expect("one row");
    for column in ["lift", "low", "high", "p"] {
        let error: f64 = row.get(column);
        assert!(error < 1e-4, "{column} is off by {error:e}");
    }
    assert_eq!(row.get::<_, f64>("looks"), 1000.0);
    let none = client.query_one("SELECT n, lift FROM stormops.bounded_lift(NULL)", &[]).expect("one row");
    assert_eq!((none.get::<_, i64>(0), none.get::<_, Option<f64>>(1)), (0, None));
    for refused in [
        "SELECT stormops.bounded_lift_agg(1.5, true, 0.5)",
        "SELECT stormops.bounded_lift_agg('NaN', true, 0.5)",
        "SELECT stormops.bounded_lift_agg(1, true, 1)",
        "SELECT stormops_internal.bounded_accum('{0,0,0,0,0,0,0,0.5}', 1, true, 0.5)",
        "SELECT * FROM stormops.bounded_lift('{0,0,0,0,0,0,0}')",
        "SELECT * FROM stormops.bounded_lift('{1,0,0,0,0,0,0,0.5}')",
        "SELECT * FROM stormops.bounded_lift(NULL, outcome_variance => 0.3)",
        "SELECT * FROM stormops.bounded_lift(NULL, least_propensity => 0)",
    ] {
        fails_with(client.query(refused, &[]), "22023");
    }
}

/// river 0.26.1 on the visits of 5,000 customers without e-mail, then of 5,000 with one: elements 5567 and 5747, from 0.
#[test]
fn changes_in_hillstroms_visits() {
    let columns = "recency int, history_segment text, history float8, mens int, womens int, zip_code text, newbie int,
        channel text, segment text, visit int, conversion int, spend float8, at int GENERATED ALWAYS AS IDENTITY";
    let db = Db::new("visits");
    let mut client = db.superuser();
    client.batch_execute(&format!("CREATE TABLE hillstrom ({columns})")).expect("a table");
    let copy = "COPY hillstrom (recency, history_segment, history, mens, womens, zip_code, newbie, channel, segment,
        visit, conversion, spend) FROM STDIN (FORMAT csv, HEADER)";
    let mut copy = client.copy_in(copy).expect("copy");
    copy.write_all(&trial("hillstrom")).expect("rows");
    copy.finish().expect("rows");
    client
        .batch_execute(
            "CREATE TABLE stream AS SELECT array_agg(visit::float8 ORDER BY part, at) AS visits FROM (
                (SELECT 1 AS part, at, visit FROM hillstrom WHERE segment = 'No E-Mail' ORDER BY at LIMIT 5000)
                UNION ALL
                (SELECT 2, at, visit FROM hillstrom WHERE segment = 'Mens E-Mail' ORDER BY at LIMIT 5000)) AS s",
        )
        .expect("a stream");
    for (method, first) in [("adwin", 5567), ("page_hinkley", 5747)] {
        let at = "SELECT at FROM stream, stormops.drift_points(visits, $1) LIMIT 1";
        assert_eq!(client.query_one(at, &[&method]).expect("a change").get::<_, i64>(0) - 1, first);
        // The same a part at a time, with what is kept between.
        let parts = "SELECT c.changes[1], c.n, length(a.next_state)
            FROM stream, stormops.watch_drift(NULL, visits[:4000], $1) AS a,
                stormops.watch_drift(a.next_state, visits[4001:5500]) AS b,
                stormops.watch_drift(b.next_state, visits[5501:]) AS c";
        let row = client.query_one(parts, &[&method]).expect("a change");
        assert_eq!((row.get::<_, i64>(0) - 1, row.get::<_, i64>(1)), (first, 10_000));
        assert!(row.get::<_, i32>(2) < 2000);
    }
    for (sqlstate, refused) in [
        ("22023", "SELECT stormops.drift_points('{1}', 'kswin')"),
        ("22023", "SELECT stormops.drift_points('{1}', 'adwin', 1)"),
        ("22023", "SELECT stormops.drift_points('{1}', 'page_hinkley', threshold => 0)"),
        ("22P03", "SELECT stormops.watch_drift('\\x00', '{1}')"),
    ] {
        fails_with(client.query(refused, &[]), sqlstate);
    }
    let none = "SELECT count(*) FROM stormops.drift_points('{}') WHERE at > 0";
    assert_eq!(client.query_one(none, &[]).expect("a row").get::<_, i64>(0), 0);
}
