//! The upkeep of the decision log: partitions are made ahead, rows find them, and old ones go.

use postgres::{Client, Error};
use stormops_tests::tenant::{scored_storm, session, tenant};
use stormops_tests::{Db, await_blocked, fails_with, get};
use uuid::Uuid;

const SOME: i32 = 100;

fn maintain(operator: &mut Client, ahead: Option<i32>) -> Result<i32, Error> {
    operator.query_one("SELECT stormops.maintain_partitions($1)", &[&ahead]).map(|row| row.get(0))
}

/// A copy of a run's decisions that belongs to a month so many after this one.
fn copy_to_month(superuser: &mut Client, months: i32) -> Uuid {
    let copy = "
        WITH m (first_id) AS (
            SELECT stormops_internal.first_id_of((
                date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => $1))::date)
        ), copied AS (
            INSERT INTO stormops.policy_decision_blocks
            SELECT (jsonb_populate_record(b, jsonb_build_object('run_id', m.first_id))).*
            FROM stormops.policy_decision_blocks AS b, m WHERE run_id = (SELECT run_id FROM stormops.policy_runs)
        )
        SELECT first_id FROM m";
    get(superuser, copy, &[&months])
}

/// Where a run's decisions lie, as the tenant sees it: the end of the partition's name, and how many.
fn place(session: &mut Client, run: Uuid) -> (String, i64) {
    let place = "SELECT string_agg(DISTINCT right(tableoid::regclass::text, 7), ' '), sum(n)
        FROM policy_decision_blocks WHERE run_id = $1";
    let row = session.query_one(place, &[&run]).expect("decisions");
    (row.get(0), row.get(1))
}

fn month(superuser: &mut Client, months: i32) -> String {
    get(superuser, "SELECT to_char(now() AT TIME ZONE 'UTC' + make_interval(months => $1), 'YYYY_MM')", &[&months])
}

#[test]
fn partitions_are_made_once_and_rows_that_came_before_move_into_them() {
    let db = Db::new("maintain");
    let mut session = tenant(&db, "Abc").1;
    let hail = scored_storm(&mut session, "hail", SOME);
    session.execute("SELECT stormops.apply_policy($1)", &[&hail]).expect("a run");
    let (mut operator, mut superuser) = (db.as_role("op"), db.superuser());
    for bad in [Some(-1), Some(121)] {
        fails_with(maintain(&mut operator, bad), "22023");
    }
    for ahead in [0, 3] {
        assert_eq!(
            maintain(&mut operator, Some(ahead)).expect("upkeep"),
            0,
            "CREATE EXTENSION made this month and three"
        );
    }
    let later = copy_to_month(&mut superuser, 5);
    assert_eq!(
        place(&mut session, later),
        ("default".to_owned(), i64::from(SOME)),
        "a missing partition loses nothing"
    );
    for made in [3, 0] {
        assert_eq!(maintain(&mut operator, Some(6)).expect("upkeep"), 2 * made, "of each table");
        assert_eq!(place(&mut session, later), (month(&mut superuser, 5), i64::from(SOME)));
    }
    // A new partition is as closed as the others: its own row security, forced, nobody's but the owner's.
    let open =
        "SELECT count(*) FROM pg_partition_tree('stormops.policy_decision_blocks') JOIN pg_class AS c ON c.oid = relid
        WHERE NOT (relrowsecurity AND relforcerowsecurity AND pg_get_userbyid(relowner) = 'stormops_owner'
            AND (NOT isleaf OR NOT EXISTS (SELECT FROM aclexplode(relacl) AS a WHERE a.grantee <> relowner)))";
    assert_eq!(get::<i64>(&mut superuser, open, &[]), 0);
}

#[test]
fn decisions_of_a_month_that_never_had_a_partition_find_one_too() {
    let db = Db::new("late_upkeep");
    let mut session = tenant(&db, "Abc").1;
    let hail = scored_storm(&mut session, "hail", SOME);
    session.execute("SELECT stormops.apply_policy($1)", &[&hail]).expect("a run");
    let mut superuser = db.superuser();
    let earlier = copy_to_month(&mut superuser, -2);
    maintain(&mut db.as_role("op"), Some(0)).expect("upkeep, two months late");
    assert_eq!(place(&mut session, earlier), (month(&mut superuser, -2), i64::from(SOME)));
}

#[test]
fn two_upkeeps_at_once_make_each_partition_once() {
    let db = Db::new("two_upkeeps");
    let mut gate = db.superuser();
    gate.batch_execute("BEGIN; LOCK TABLE stormops.policy_decision_blocks IN SHARE MODE").expect("a gate");
    let both = [(); 2].map(|()| {
        let mut operator = db.as_role("op");
        std::thread::spawn(move || maintain(&mut operator, Some(8)).expect("upkeep"))
    });
    await_blocked(&db, 2);
    gate.batch_execute("COMMIT").expect("an open gate");
    let mut made = both.map(|thread| thread.join().expect("an end"));
    made.sort();
    assert_eq!(made, [0, 10]);
}

#[test]
fn a_policy_is_applied_while_partitions_are_made() {
    let db = Db::new("upkeep_at_work");
    let (abc, mut first) = tenant(&db, "Abc");
    let hail = scored_storm(&mut first, "hail", SOME);
    // The run is under way: it has written its decisions, and waits.
    first.batch_execute("BEGIN").expect("a transaction");
    first.execute("SELECT stormops.apply_policy($1)", &[&hail]).expect("a run");
    assert_eq!(maintain(&mut db.as_role("op"), Some(5)).expect("upkeep beside a run"), 4);
    first.batch_execute("COMMIT").expect("a commit");
    let stand: i64 = get(&mut session(&db, abc), "SELECT count(*) FROM policy_decisions", &[]);
    assert_eq!(stand, i64::from(SOME));
}

#[test]
fn old_decisions_are_dropped_by_the_month_and_the_last_month_never() {
    let db = Db::new("drop");
    let mut session = tenant(&db, "Abc").1;
    let hail = scored_storm(&mut session, "hail", SOME);
    session.execute("SELECT stormops.apply_policy($1)", &[&hail]).expect("a run");
    let (mut operator, mut superuser) = (db.as_role("op"), db.superuser());
    // Two months' partitions as they would be by now.
    for old in ["2020-01-01", "2020-02-01"] {
        let make = format!(
            "DO $$
             DECLARE
                 name text := stormops_internal.decisions_partition('{old}');
                 ends date := date '{old}' + interval '1 month';
             BEGIN
                 EXECUTE format('CREATE TABLE stormops_internal.%I PARTITION OF stormops.policy_decision_blocks
                     FOR VALUES FROM (%L) TO (%L)', name, stormops_internal.first_id_of('{old}'), stormops_internal.first_id_of(ends));
                 EXECUTE format('ALTER TABLE stormops_internal.%I OWNER TO stormops_owner', name);
             END $$"
        );
        superuser.batch_execute(&make).expect("an old partition");
    }
    let months = "SELECT (12 * (2020 - extract(year FROM now())) + 1 - extract(month FROM now()))::int";
    let january: i32 = get(&mut superuser, months, &[]);
    let old = [0, 1].map(|later| copy_to_month(&mut superuser, january + later));
    assert_eq!(old.map(|run| place(&mut session, run).0), ["2020_01", "2020_02"]);
    let mut drop_before = |date: &str| {
        let row = operator.query_one("SELECT stormops.drop_decisions_before($1::text::date)", &[&date])?;
        Ok::<Vec<String>, Error>(row.get(0))
    };
    for refused in ["today", "tomorrow", "infinity"] {
        fails_with(drop_before(refused), "22023");
    }
    fails_with(db.as_role("op").query("SELECT stormops.drop_decisions_before(NULL)", &[]), "22023");
    fails_with(session.query("SELECT stormops.drop_decisions_before('2020-02-01')", &[]), "42501");
    let none: [&str; 0] = [];
    for (before, dropped) in
        [("2020-01-31", &none[..]), ("2020-02-01", &["policy_decision_blocks_2020_01"]), ("2020-02-29", &none)]
    {
        assert_eq!(drop_before(before).expect("a list"), dropped, "{before}");
    }
    let left = "SELECT count(*) FILTER (WHERE run_id = $1), count(*) FILTER (WHERE run_id = $2), count(*)
        FROM policy_decisions_log";
    let left = session.query_one(left, &[&old[0], &old[1]]).expect("counts");
    assert_eq!([left.get::<_, i64>(0), left.get(1), left.get(2)], [0, i64::from(SOME), 2 * i64::from(SOME)]);
    assert_eq!(
        get::<i64>(&mut session, "SELECT treat + hold FROM policy_runs", &[]),
        i64::from(SOME),
        "the run's counts stay"
    );
}
