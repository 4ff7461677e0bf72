//! A database in use: three tenants with rows of every kind, and what the database's own people added; and how two
//! databases are compared.

use postgres::Client;
use stormops_tests::{Db, enter, fails_with, provision};
use uuid::Uuid;

/// What a tenant does in its life with the extension, as the trusted application.
const LIFE: &str = "
    INSERT INTO storms (event_id, name, peril) VALUES ('hail', 'Hail', 'hail'), ('wind', 'Wind', 'wind');
    INSERT INTO properties (external_id, address, do_not_contact)
        SELECT i, i || ' Main Street, Zürich', i = 7 FROM generate_series(1, 200) AS i;
    INSERT INTO lead_uplift (storm_id, property_id, model_version, uplift, uplift_sd)
        SELECT storm_id, property_id, 'v1', external_id::int / 1000.0, CASE WHEN external_id < '5' THEN 1 / 30.0 END
        FROM storms, properties;
    INSERT INTO customer_journeys (property_id, touch, channel) SELECT property_id, 'call', 'phone' FROM properties;
    INSERT INTO tenant_usage (metric_name, metric_value, dimensions) VALUES ('model_call', 0.1, '{\"model\": \"v1\"}');
    SELECT stormops.create_experiment(storm_id, 'A/B', covariate => 'uplift') FROM storms;
    SELECT stormops.assign_experiment(experiment_id) FROM experiments;
    INSERT INTO data_quality_metrics (table_name, metric_name, metric_value, status)
        VALUES ('storms', 'freshness', 1e-300, 'ok');
    UPDATE policy_modes SET margin = 8000, contact_cost = 400 WHERE policy_mode = 'moderate';
    SELECT stormops.apply_policy(storm_id) FROM storms;
    SELECT stormops.record_outcomes(storm_id, (
            SELECT jsonb_agg(jsonb_build_object('property_id', d.property_id, 'converted', true, 'value', 1.25))
            FROM policy_decisions AS d WHERE d.storm_id = s.storm_id))
        FROM storms AS s;
    SELECT stormops.apply_policy(storm_id, 'aggressive', supersede => true) FROM storms;
    SELECT stormops.add_user('crew@example.org', 'crew_chief', 'Åsa')";

/// What the operator bills: a month that is final, credited in part, and one drafted.
const BILLED: &str = "
    SELECT stormops.set_price('platform', 'flat', 49, valid_from => '2024-01-01 00:00Z');
    SELECT stormops.create_price_book('euro', 'EUR');
    SELECT stormops.set_price_book(tenant_id, 'euro') FROM stormops.list_tenants() LIMIT 1;
    SELECT stormops.generate_invoices('2024-01'), stormops.generate_invoices('2024-02');
    SELECT stormops.finalize_invoice(invoice_id) FROM stormops.list_invoices('2024-01');
    SELECT stormops.credit_invoice(invoice_id, 1, 'outage') FROM stormops.list_invoices('2024-01') WHERE total > 0";

/// What the database's own people added to StormOps' tables.
const ADDED: &str = "
    CREATE POLICY no_wind ON stormops.storms AS RESTRICTIVE FOR SELECT USING (peril <> 'wind');
    CREATE TABLE public.audit (at timestamptz, what text);
    GRANT INSERT ON public.audit TO PUBLIC;
    CREATE FUNCTION public.audit() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN INSERT INTO public.audit VALUES (now(), TG_OP || ' ' || TG_TABLE_NAME); RETURN NEW; END $$;
    CREATE TRIGGER audited AFTER INSERT ON stormops.properties FOR EACH ROW EXECUTE FUNCTION public.audit();
    CREATE INDEX storms_by_name ON stormops.storms (tenant_id, name);
    ALTER TABLE stormops.storms ADD COLUMN note text DEFAULT 'ours';
    GRANT SELECT ON stormops.tenants TO mon";

pub struct Filled {
    pub db: Db,
    pub tenants: [Uuid; 3],
}

/// With the extension as it is.
pub fn filled() -> Filled {
    fill(Db::new("source"))
}

/// With the extension that a database has, whose version may be an older one.
pub fn fill(db: Db) -> Filled {
    db.superuser().batch_execute(ADDED).expect("additions");
    let tenants = ["Abc", "Best Roofs", "Closed"].map(|name| {
        let tenant = provision(&db, name);
        inside(&db, tenant).batch_execute(LIFE).expect("a tenant's life");
        tenant
    });
    let mut operator = db.as_role("op");
    db.superuser()
        .batch_execute("UPDATE stormops.tenants SET created_at = '2023-12-15 00:00Z'")
        .expect("older tenants");
    operator.batch_execute(BILLED).expect("prices, invoices and a credit note");
    operator.execute("SELECT stormops.maintain_partitions(5)", &[]).expect("partitions made later");
    operator.execute("SELECT stormops.close_tenant($1, 'sold')", &[&tenants[2]]).expect("a closed tenant");
    Filled { db, tenants }
}

pub fn inside(db: &Db, tenant: Uuid) -> Client {
    let mut session = db.as_role("tapp");
    session.batch_execute("SET search_path = public, stormops").expect("a search path");
    enter(&mut session, tenant);
    session
}

pub fn lines(session: &mut Client, query: &str) -> Vec<String> {
    let rows = session.query(query, &[]).unwrap_or_else(|e| panic!("{query}: {e:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// Each table with the number and the digest of its rows.
pub fn rows(db: &Db) -> Vec<String> {
    let mut superuser = db.superuser();
    let tables = "SELECT oid::regclass::text FROM pg_class
        WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('stormops', 'stormops_internal', 'public') ORDER BY 1";
    let tables = lines(&mut superuser, tables);
    assert!(tables.len() > 15, "{tables:?}");
    let digest = |table: &String| {
        let rows = "count(*), md5(string_agg(t::text, ' ' ORDER BY t::text))";
        format!("SELECT concat_ws(' ', '{table}', {rows}) FROM {table} AS t")
    };
    let digests: Vec<String> = tables.iter().map(digest).collect();
    lines(&mut superuser, &digests.join(" UNION ALL "))
}

/// What the catalogue says of tables and functions, one line each. An owner's default privileges are the same whether
/// they are spelled out or not.
const CATALOGUE: &str = "
    WITH r AS (SELECT * FROM pg_class WHERE relnamespace::regnamespace::text IN ('stormops', 'stormops_internal', 'public')),
    f AS (SELECT * FROM pg_proc WHERE pronamespace::regnamespace::text IN ('stormops', 'stormops_internal', 'public')),
    a AS (SELECT a.* FROM pg_attribute AS a JOIN r ON r.oid = a.attrelid WHERE attnum > 0 AND NOT attisdropped),
    acls (kind, name, acl) AS (
        SELECT 'table', oid::regclass::text, coalesce(relacl, acldefault('r', relowner)) FROM r
        UNION ALL SELECT 'column', attrelid::regclass || '.' || attname, attacl FROM a WHERE attacl IS NOT NULL
        UNION ALL SELECT 'function', oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)) FROM f
        UNION ALL SELECT 'schema', nspname::text, nspacl FROM pg_namespace WHERE nspname IN ('stormops', 'stormops_internal')
    )
    SELECT concat_ws(' ', 'table:', oid::regclass, relkind, relowner::regrole, relrowsecurity, relforcerowsecurity,
        reloptions, pg_get_expr(relpartbound, oid), obj_description(oid, 'pg_class')) FROM r
    UNION ALL SELECT concat_ws(' ', 'column:', attrelid::regclass, attname, format_type(atttypid, atttypmod),
        attnotnull, pg_get_expr(adbin, adrelid), col_description(attrelid, attnum))
        FROM a LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    UNION ALL SELECT concat_ws(' ', 'policy:', polrelid::regclass, polname, polcmd, polpermissive, polroles::regrole[],
        pg_get_expr(polqual, polrelid), '/', pg_get_expr(polwithcheck, polrelid), obj_description(oid, 'pg_policy'))
        FROM pg_policy
    UNION ALL SELECT concat_ws(' ', 'trigger:', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger
        WHERE NOT tgisinternal
    UNION ALL SELECT concat_ws(' ', 'constraint:', conrelid::regclass, conname, pg_get_constraintdef(c.oid),
        convalidated)
        FROM pg_constraint AS c JOIN r ON r.oid = conrelid WHERE contype <> 't'
    UNION ALL SELECT concat_ws(' ', 'index:', pg_get_indexdef(indexrelid), indisvalid)
        FROM pg_index JOIN r ON r.oid = indexrelid
    UNION ALL SELECT concat_ws(' ', 'partition:', inhrelid::regclass, inhparent::regclass) FROM pg_inherits
    UNION ALL SELECT concat_ws(' ', 'view:', oid::regclass, pg_get_viewdef(oid)) FROM r WHERE relkind = 'v'
    UNION ALL SELECT concat_ws(' ', 'function:', oid::regprocedure, proowner::regrole, prosecdef, provolatile,
        proparallel, proconfig, md5(prosrc), obj_description(oid, 'pg_proc')) FROM f
    UNION ALL SELECT concat_ws(' ', 'member:', pg_describe_object(classid, objid, objsubid)) FROM pg_depend
        WHERE deptype = 'e'
    UNION ALL SELECT concat_ws(' ', 'grant:', kind, name, entry) FROM acls, unnest(acl) AS entry
    ORDER BY 1";

pub fn catalogue(db: &Db) -> Vec<String> {
    lines(&mut db.superuser(), CATALOGUE)
}

#[track_caller]
pub fn same(before: &[String], after: &[String], what: &str) {
    let only = |a: &[String], b: &[String]| a.iter().filter(|line| !b.contains(line)).cloned().collect::<Vec<_>>();
    let (lost, new) = (only(before, after), only(after, before));
    assert!(lost.is_empty() && new.is_empty(), "{what}\n  lost: {lost:#?}\n  new: {new:#?}");
}

/// The database works as ever: a tenant sees its own and no other's, writes, decides, and no other writes for it.
pub fn works(db: &Db, tenants: [Uuid; 3]) {
    for tenant in &tenants[..2] {
        let mut session = inside(db, *tenant);
        let storms = lines(&mut session, "SELECT name || ' ' || note FROM storms");
        assert_eq!(storms, ["Hail ours"], "the policy that the users added hides the wind");
        let owners = "SELECT DISTINCT tenant_id::text FROM properties WHERE address LIKE '%Zürich'";
        assert_eq!(lines(&mut session, owners), [tenant.to_string()]);
        let audited = |db: &Db| lines(&mut db.superuser(), "SELECT count(*)::text FROM public.audit");
        let before = audited(db);
        session.batch_execute("INSERT INTO properties (address) VALUES ('new')").expect("a new row");
        assert_ne!(before, audited(db), "the trigger that the users added fires");
        let again =
            "SELECT (stormops.apply_policy(storm_id, supersede => true)).reasons ->> 'do_not_contact' FROM storms";
        assert_eq!(session.query_one(again, &[]).expect("a run").get::<_, String>(0), "1");
        let foreign = "INSERT INTO properties (tenant_id, address) VALUES ($1, 'theirs')";
        fails_with(session.execute(foreign, &[&tenants[2]]), "42501");
    }
    fails_with(inside(db, tenants[2]).query("SELECT * FROM storms", &[]), "55000");
    fails_with(db.as_role("tapp").query("SELECT * FROM stormops.storms", &[]), "0B000");
    assert_eq!(lines(&mut db.as_role("op"), "SELECT count(*)::text FROM stormops.list_tenants()"), ["3"]);
    provision(db, "Another");
}
