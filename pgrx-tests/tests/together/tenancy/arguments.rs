//! Every function with arguments that nobody should give: NULL, not a number, infinite, empty, nested, enormous. Each
//! is answered or refused with a SQLSTATE that says why; none ends in an internal error, and no session dies of one. What
//! users call says what to do instead, where they may call it at all.

use std::collections::BTreeSet;

use postgres::Client;
use postgres::error::SqlState;
use stormops_tests::tokens::{claims, jwks, signed, trust};
use stormops_tests::twins::{self, Twins};

/// Type of an argument: a value that is one of its kind, and values that are hardly one.
const VALUES: &[(&str, &str, &[&str])] = &[
    ("boolean", "true", &["false"]),
    ("integer", "10", &["0", "-1", "2147483647", "-2147483648"]),
    ("bigint", "10", &["0", "-1", "9223372036854775807", "-9223372036854775808"]),
    ("numeric", "0.5", &["0", "-1", "1e300", "'NaN'", "'Infinity'", "'-Infinity'"]),
    ("double precision", "0.5", &["0", "-1", "1e308", "5e-324", "'NaN'", "'Infinity'", "'-Infinity'"]),
    ("text", "'x'", &["''", "' '", "repeat('x', 5000)", "'x''\\{}[]%$'", "U&'\\0001'"]),
    ("name", "'x'", &["''"]),
    ("uuid", "{id}", &["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"]),
    ("date", "'2024-01-01'", &["'infinity'", "'-infinity'", "'4713-01-01 BC'", "'5874897-12-31'"]),
    ("timestamp with time zone", "'2024-01-01'", &["'infinity'", "'-infinity'", "'4713-01-01 BC'", "'294276-12-31'"]),
    ("interval", "'1 day'", &["'0'", "'-1 day'", "'178000000 years'", "'-178000000 years'"]),
    (
        "jsonb",
        "'{}'",
        &["'null'", "'[]'", "'[null]'", "'[{}]'", "'[1, \"a\"]'", "'\"x\"'", "'1e300'", "'{\"x\": {\"y\": null}}'"],
    ),
    ("bytea", "'\\x00'", &["''", "'\\xffffffffffffffffffffffffffffffffffffffffffffffffff'"]),
    ("regclass", "'stormops.storms'", &["0::oid"]),
    ("oid", "'pg_class'::regclass", &["0"]),
    ("text[]", "'{x,y}'", &["'{}'", "'{NULL}'", "'{{x},{y}}'", "'[0:1]={x,y}'"]),
    ("bytea[]", "ARRAY['\\x00']", &["'{}'", "'{NULL}'"]),
    ("aclitem[]", "'{=r/postgres}'", &["'{}'", "'{NULL}'"]),
    ("timestamp with time zone[]", "'{2024-01-01}'", &["'{}'", "'{NULL}'", "'{infinity,-infinity}'"]),
    ("date[]", "'{2024-01-01}'", &["'{}'", "'{NULL}'", "'{infinity,-infinity}'"]),
    (
        "stormops_internal.experiment_cell",
        "ROW('x', 'y', 10, 5, 1, 1, 0, NULL, 10, '{}')",
        &[
            "ROW('x', 'y', -1, 5, 'NaN', 1, 0, '{1}', 10, '[]')",
            "ROW(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        ],
    ),
    (
        "record",
        "ROW({id}::uuid, 0.5)",
        &["ROW()", "ROW(NULL)", "ROW(ROW(1))", "ROW(NULL, 'x', '{{NULL}}'::text[], 'infinity'::timestamptz)"],
    ),
    ("stormops_internal.due_expectation[]", "'{}'", &["'{NULL}'"]),
    ("stormops_internal.judgement[]", "'{}'", &["'{NULL}'"]),
    ("uuid[]", "ARRAY[{id}]", &["'{}'", "'{NULL}'"]),
    ("integer[]", "'{10,12}'", &["'{}'", "'{NULL}'", "'{-1,0}'", "'{{10},{12}}'", "'[0:1]={10,12}'"]),
    ("smallint[]", "'{1,1}'", &["'{}'", "'{NULL}'", "'{0,-1}'", "'{{1},{1}}'", "'[0:1]={1,1}'"]),
    ("bigint[]", "'{10,12}'", &["'{}'", "'{NULL}'", "'{-1,0}'", "'{{10},{12}}'", "'[0:1]={10,12}'"]),
    ("numeric[]", "'{10,12}'", &["'{}'", "'{NULL}'", "'{-1,0}'", "'{NaN,Infinity}'"]),
    (
        "double precision[]",
        "'{0.5,0.25}'",
        &["'{}'", "'{NULL}'", "'{-1,0}'", "'{NaN,1}'", "'{Infinity,-Infinity}'", "'{{0.5},{0.25}}'", "'[0:1]={1,2}'"],
    ),
    (
        "stormops.score_sketch",
        "(SELECT stormops.score_agg(i) FROM generate_series(1, 40) AS i)",
        &["(SELECT stormops.score_agg(NULL))", "(SELECT stormops.score_agg(1e308) FROM generate_series(1, 40))"],
    ),
    (
        "stormops.uplift_sketch",
        "(SELECT stormops.uplift_agg(i, i % 2 = 0, i % 3, 0.5) FROM generate_series(1, 40) AS i)",
        &["(SELECT stormops.uplift_agg(NULL, NULL, NULL))", "(SELECT stormops.uplift_agg(1e308, true, 1e308))"],
    ),
];

/// Errors that say by themselves what to do: the server's own of a missing right, a timeout, a number that overflows.
const UNHINTED: &[SqlState] =
    &[SqlState::INSUFFICIENT_PRIVILEGE, SqlState::QUERY_CANCELED, SqlState::NUMERIC_VALUE_OUT_OF_RANGE];

/// Each function with each of its arguments in turn given badly, the others well or not at all: what is called, and the
/// type for which a value is lacking, if one is.
fn calls(superuser: &mut Client) -> Vec<(String, Option<String>)> {
    let id = format!("'{}'", twins::id(1));
    let (names, samples): (Vec<_>, Vec<_>) =
        VALUES.iter().map(|(name, sample, _)| (*name, sample.replace("{id}", &id))).unzip();
    let hardly = |(name, _, bad): &(&'static str, _, &'static [&'static str])| {
        let name = *name;
        std::iter::once("NULL").chain(bad.iter().copied()).map(move |value| (name, value))
    };
    let (bad_names, bad): (Vec<_>, Vec<_>) = VALUES.iter().flat_map(hardly).unzip();
    let query = "
        WITH sample AS (
            SELECT * FROM unnest($1::text[], $2::text[]) AS s (type, value)
        ), bad AS (
            SELECT * FROM unnest($3::text[], $4::text[]) AS b (type, value)
        ), argument AS (
            SELECT p.oid, p.prokind, a.place, format_type(a.type, NULL) AS type, a.place > p.pronargs - p.pronargdefaults AS optional,
                -- Where arguments have names, those that may be left out are.
                (SELECT string_agg(n.name, '' ORDER BY n.i) FROM (
                    SELECT name, row_number() OVER (ORDER BY i) AS i
                    FROM unnest(p.proargnames, p.proargmodes::text[]) WITH ORDINALITY AS n (name, mode, i)
                    WHERE coalesce(mode, 'i') IN ('i', 'b', 'v')) AS n
                WHERE n.i = a.place AND p.prokind <> 'a') AS name -- aggregates take no names
            FROM pg_proc AS p, unnest(p.proargtypes) WITH ORDINALITY AS a (type, place)
            WHERE p.pronamespace IN ('stormops'::regnamespace, 'stormops_internal'::regnamespace) AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
                AND 'internal'::regtype <> ALL (p.proargtypes)
        ), given AS (
            SELECT a.oid, a.place, b.value AS bad
            FROM argument AS a LEFT JOIN bad AS b ON b.type = a.type
        )
        SELECT format('SELECT %s(%s)%s', g.oid::regproc, string_agg(
                concat(a.name || ' => ', 'CAST(', CASE WHEN a.place = g.place THEN g.bad ELSE s.value END, ' AS ', a.type, ')'),
                ', ' ORDER BY a.place) FILTER (WHERE a.place = g.place OR NOT a.optional OR a.name IS NULL),
                CASE WHEN a.prokind = 'w' THEN ' OVER ()' END),
            string_agg(a.type, ', ') FILTER (WHERE s.type IS NULL)
        FROM given AS g JOIN argument AS a USING (oid) LEFT JOIN sample AS s ON s.type = a.type
        GROUP BY g.oid, a.prokind, g.place, g.bad ORDER BY g.oid, g.place, g.bad";
    let rows = superuser.query(query, &[&names, &samples, &bad_names, &bad]).expect("functions");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// How a role comes to its tenant, before each call.
enum Way {
    Nowhere,
    Set,
    /// By a token made anew: one is good for ten minutes, and all calls may take longer.
    Login,
}

#[track_caller]
fn no_internal_error(role: &str, way: Way) {
    let twins = Twins::new("arguments");
    let (calls, lacking): (Vec<_>, Vec<_>) =
        calls(&mut twins.db.superuser()).into_iter().partition(|(_, lacks)| lacks.is_none());
    let lacking: BTreeSet<_> = lacking.into_iter().filter_map(|(_, lacks)| lacks).collect();
    assert!(lacking.is_empty(), "VALUES lacks {lacking:?}");
    assert!(calls.len() > 1000, "only {} calls", calls.len());
    trust(&twins.db, &jwks(), "");
    let admin = "SELECT user_id FROM stormops.users WHERE tenant_id = $1 AND role = 'admin'";
    let admin = twins.db.superuser().query_one(admin, &[&twins.a]).expect("an admin").get(0);
    let enter = || match way {
        Way::Nowhere => String::new(),
        Way::Set => format!("SET LOCAL app.current_tenant = '{}';", twins.a),
        Way::Login => format!("SELECT stormops.login('{}');", signed("ed", &claims(twins.a, admin))),
    };
    let mut wrong = Vec::new();
    let mut client = twins.db.as_role(role);
    client.batch_execute(&format!("BEGIN; {} ROLLBACK", enter())).expect("a way in");
    for (call, _) in &calls {
        let answer = client.simple_query(&format!("BEGIN; SET LOCAL statement_timeout = '2s'; {} {call}", enter()));
        if let Err(error) = &answer {
            let said = error.as_db_error();
            let raw = said.is_some_and(|said| said.hint().is_none());
            let theirs = call.starts_with("SELECT stormops.") && role != "postgres";
            if raw && theirs && !UNHINTED.iter().any(|code| error.code() == Some(code)) {
                wrong.push(format!("{role}: {call}: no hint: {said:?}"));
            }
        }
        match answer.map_err(|error| error.code().cloned()) {
            Ok(_) => {}
            // An answer may be long in coming, but can be cancelled: that is no internal error.
            Err(Some(code)) if code != SqlState::INTERNAL_ERROR => {}
            Err(code) => wrong.push(format!("{role}: {call}: {code:?}")),
        }
        // Where the server ended the session, or the timeout came once more, of what there was to roll back.
        if client.batch_execute("ROLLBACK").is_err() {
            client = twins.db.as_role(role);
        }
    }
    assert!(wrong.is_empty(), "{} of {} calls:\n{}", wrong.len(), calls.len(), wrong.join("\n"));
}

macro_rules! no_argument_is_an_internal_error {
    ($($name:ident: $role:literal, $way:ident)*) => {$(
        #[test]
        fn $name() {
            no_internal_error($role, Way::$way);
        }
    )*};
}

// A test for each role, which can run beside each other.
no_argument_is_an_internal_error! {
    no_argument_is_an_internal_error_to_a_superuser: "postgres", Set
    no_argument_is_an_internal_error_to_an_operator: "op", Nowhere
    no_argument_is_an_internal_error_to_a_trusted_application: "tapp", Set
    no_argument_is_an_internal_error_to_an_application: "app", Login
    no_argument_is_an_internal_error_to_a_monitor: "mon", Nowhere
}
