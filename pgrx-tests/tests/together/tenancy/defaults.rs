//! A default holds where its argument is left out and where it is NULL or an empty text, as generators of code and mappers
//! send what they were not told.

use postgres::Client;
use stormops_tests::twins::{Twins, id};
use stormops_tests::{enter, sqlstate};

/// A value for each type that an argument without a default has.
const SAMPLES: [(&str, &str); 16] = [
    ("uuid", "{id}"),
    ("text", "'model_call'"),
    ("name", "'op'"),
    ("numeric", "1"),
    ("integer", "5"),
    ("bigint", "5"),
    ("boolean", "true"),
    ("double precision", "0.2"),
    ("double precision[]", "'{9,1,9,1,1,0,0}'"),
    ("jsonb", "'{}'"),
    ("bytea", "NULL"),
    ("regclass", "'public.own'"),
    ("interval", "'1 day'"),
    ("date", "'2024-01-01'"),
    ("stormops.score_sketch", "(SELECT stormops.score_agg(i / 50.0) FROM generate_series(1, 40) AS i)"),
    (
        "stormops.uplift_sketch",
        "(SELECT stormops.uplift_agg(i / 50.0, i % 2 = 0, i % 3 % 2, 0.5) FROM generate_series(1, 40) AS i)",
    ),
];

struct Call {
    kinds: Vec<String>,
    left_out: String,
    sent: String,
}

/// Each function with each argument that has a default, left out and sent.
fn calls(superuser: &mut Client, twins: &Twins) -> Vec<Call> {
    let id = format!("'{}'", id(1));
    let (types, values): (Vec<_>, Vec<_>) =
        SAMPLES.iter().map(|(kind, value)| (*kind, value.replace("{id}", &id))).unzip();
    let query = "
        WITH argument AS (
            SELECT p.oid, a.name, a.place, format_type(a.type, NULL) AS type, pg_get_function_arg_default(p.oid, a.place::integer) AS standard
            FROM pg_proc AS p, unnest(p.proargtypes::oid[], p.proargnames[:p.pronargs]) WITH ORDINALITY AS a (type, name, place)
            WHERE p.pronamespace = 'stormops'::regnamespace AND p.prokind = 'f'
        ), given AS (
            SELECT a.oid, string_agg(format('%I => CAST(%s AS %s)', a.name, coalesce(s.value, 'no sample of ' || a.type), a.type), ', ' ORDER BY a.place) AS required
            FROM argument AS a LEFT JOIN unnest($1::text[], $2::text[]) AS s (type, value) USING (type) WHERE a.standard IS NULL GROUP BY a.oid
        )
        SELECT f.kinds, format('SELECT * FROM %s(%s)', p.oid::regproc, g.required),
            format('SELECT * FROM %s(%s)', p.oid::regproc, concat_ws(', ', g.required, format('%I => CAST(%s AS %s)', a.name, v.value, a.type)))
        FROM argument AS a JOIN pg_proc AS p USING (oid) LEFT JOIN given AS g USING (oid)
        JOIN stormops_internal.granted_functions() AS f ON to_regprocedure(f.signature) = p.oid
        JOIN (VALUES ('NULL'), ('''''')) AS v (value) ON v.value = 'NULL' OR a.type = 'text'
        WHERE a.standard !~ '^NULL' ORDER BY 2, 3";
    let rows = superuser.query(query, &[&types, &values]).expect("functions");
    let of_twins = |call: String| {
        call.replace(
            "tenant_id => CAST('00000000-0000-7000-8000-000000000001'",
            &format!("tenant_id => CAST('{}'", twins.a),
        )
    };
    rows.iter()
        .map(|row| Call { kinds: row.get(0), left_out: of_twins(row.get(1)), sent: of_twins(row.get(2)) })
        .collect()
}

/// What becomes of a call, which leaves nothing behind.
fn answer(session: &mut Client, call: &str) -> String {
    let mut transaction = session.transaction().expect("a transaction");
    let result = transaction.query(call, &[]);
    match &result {
        Ok(rows) => format!("{} rows", rows.len()),
        Err(error) => format!("{} {}", sqlstate(&result), error.as_db_error().expect("an answer").message()),
    }
}

#[test]
fn null_and_nothing_mean_the_default() {
    let twins = Twins::new("defaults");
    let mut superuser = twins.db.superuser();
    superuser
        .batch_execute("CREATE TABLE public.own (tenant_id uuid NOT NULL, id uuid, PRIMARY KEY (tenant_id, id))")
        .expect("a table");
    let calls = calls(&mut superuser, &twins);
    assert!(calls.len() > 50, "{}", calls.len());
    let (mut differ, mut answered) = (Vec::new(), 0);
    for Call { kinds, left_out, sent } in calls {
        assert!(!left_out.contains("no sample"), "{left_out}");
        // What superusers do by hand nothing fills in, and NULL is a mistake.
        if kinds.is_empty() {
            continue;
        }
        let role = if kinds.iter().any(|kind| kind == "trusted_app") { "tapp" } else { "op" };
        let mut session = twins.db.as_role(role);
        if role == "tapp" {
            enter(&mut session, twins.a);
        }
        let (plain, given) = (answer(&mut session, &left_out), answer(&mut session, &sent));
        answered += usize::from(plain.ends_with("rows"));
        if plain != given {
            differ.push(format!("{sent}: {given}, and left out {plain}"));
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
    assert!(answered > 30, "{answered} calls answered");
}
