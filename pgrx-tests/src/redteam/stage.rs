//! The two databases: X holds the victim's rows, Y does not.

use std::cell::{RefCell, RefMut};

use postgres::Client;
use uuid::Uuid;

use super::CANARY;
use crate::rows::{id, insert, insert_below, rows};
use crate::{Db, SUPERUSER, cluster};

pub const A: Uuid = Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_000a_0000);
pub const B: Uuid = Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_000b_0000);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    Ours,
    /// The brief's single policy and nothing else: `redteam/naive.sql`.
    Naive,
}

/// One database, and what an attack may name in it.
pub struct Stage {
    pub db: Db,
    pub schema: Schema,
    superuser: RefCell<Client>,
    tokens: Option<[String; 2]>,
    expansions: Vec<(&'static str, Vec<String>)>,
    fingerprint: String,
}

/// Attackers make objects of their own, as if the guard of commands were not there: then the next defence is tried.
pub const OPEN_COMMANDS: &str =
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET stormops.guard_commands = off', current_database()); END $$;";
pub const CLOSE_COMMANDS: &str =
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET stormops.guard_commands', current_database()); END $$;";

pub struct Pair {
    schema: Schema,
    templates: [Db; 2],
    pub x: Stage,
    pub y: Stage,
    /// Carried out in each new copy: how a defence is taken away.
    mutation: Vec<String>,
}

impl Pair {
    pub fn new(schema: Schema) -> Self {
        let templates = [template(schema, true), template(schema, false)];
        let [x, y] = [0, 1].map(|n: usize| Stage::open(templates[n].copy_of(), schema));
        Self { schema, templates, x, y, mutation: vec![] }
    }

    /// A superuser takes a defence away, in the present copies and in those that replace them.
    pub fn mutate(&mut self, removal: &[&str]) {
        self.mutation = removal.iter().map(|&statement| statement.to_owned()).collect();
        self.alter(removal);
        self.reopen();
    }

    /// And gives it back: by these statements, or with fresh copies if there are none.
    pub fn restore(&mut self, undo: &[&str]) {
        self.mutation.clear();
        if undo.is_empty() {
            return self.renew();
        }
        self.alter(undo);
        self.reopen();
    }

    fn alter(&self, statements: &[&str]) {
        for stage in [&self.x, &self.y] {
            stage.alter(statements);
        }
    }

    /// What an attack may name has changed.
    fn reopen(&mut self) {
        for stage in [&mut self.x, &mut self.y] {
            stage.look();
        }
    }

    pub fn renew(&mut self) {
        let [x, y] = [0, 1].map(|n: usize| Stage::open(self.templates[n].copy_of(), self.schema));
        (self.x, self.y) = (x, y);
        let mutation: Vec<&str> = self.mutation.iter().map(String::as_str).collect();
        self.alter(&mutation);
        self.reopen();
    }
}

fn template(schema: Schema, with_victim: bool) -> Db {
    let (db, prepare) = match schema {
        Schema::Ours => (Db::new("redteam"), include_str!("../../redteam/ours.sql")),
        Schema::Naive => (Db::empty("redteam"), include_str!("../../redteam/naive.sql")),
    };
    let mut script = vec![prepare.replace(":'A'", &format!("'{A}'")).replace(":'B'", &format!("'{B}'"))];
    let mut superuser = db.superuser();
    superuser.batch_execute(&script.remove(0)).expect("the schema and its tenants");
    let there = names(
        &mut superuser,
        "SELECT relname::text FROM pg_class WHERE relnamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal'))",
    );
    for table in rows().filter(|table| there.iter().any(|name| name == table)) {
        script.push(insert(table, A, 1, 1));
        // With keys that A has too, where the schema lets two tenants have them.
        for n in if schema == Schema::Ours { &[1, 2][..] } else { &[2] } {
            if with_victim {
                script.push(
                    insert(table, B, *n, *n)
                        .replace("Elm St", CANARY)
                        .replace("Storm ", CANARY)
                        .replace("twin@", CANARY),
                );
            }
        }
    }
    if with_victim {
        let mark = include_str!("../../redteam/victim.sql").replace(":'B'", &format!("'{B}'"));
        script.push(mark);
    }
    script.push(include_str!("../../redteam/times.sql").to_owned());
    if schema == Schema::Naive {
        script.push("REFRESH MATERIALIZED VIEW stormops.mv_properties".to_owned());
    }
    superuser.batch_execute(&script.join(";\n")).expect("the rows of both");
    superuser.close().expect("a template that nobody is in");
    db
}

/// Every function that an application may call, with ids of the victim for arguments: those it must have, and all.
fn calls(superuser: &mut Client) -> Vec<String> {
    if names(superuser, "SELECT 'yes' WHERE to_regproc('stormops_internal.granted_functions') IS NOT NULL").is_empty() {
        return vec![];
    }
    let calls = format!(
        "SELECT DISTINCT format('%s(%s)', p.oid::regproc, (
            SELECT string_agg(CASE
                WHEN format_type(a.type, NULL) = 'uuid' AND p.proargnames[a.place] LIKE '%tenant%' THEN '''{B}'''
                WHEN format_type(a.type, NULL) = 'uuid' THEN '''{}'''
                WHEN format_type(a.type, NULL) = 'text' THEN '''moderate'''
                WHEN format_type(a.type, NULL) = 'jsonb' THEN '''{{}}'''
                WHEN t.typcategory = 'N' THEN '1'
                WHEN t.typcategory = 'B' THEN 'true'
                ELSE 'NULL::' || format_type(a.type, NULL)
            END, ', ' ORDER BY a.place)
            FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, place) JOIN pg_type AS t ON t.oid = a.type
            WHERE a.place <= p.pronargs - k * p.pronargdefaults))
        FROM stormops_internal.granted_functions() AS f JOIN pg_proc AS p ON p.oid = f.signature::regprocedure
        CROSS JOIN generate_series(0, 1) AS k
        WHERE f.kinds && '{{app,trusted_app}}' AND p.prokind = 'f' ORDER BY 1",
        id(2)
    );
    names(superuser, &calls)
}

/// A statement for each command of the role matrix, granted to somebody or not, of which the condition holds.
fn matrix(superuser: &mut Client, condition: &str) -> Vec<String> {
    if names(superuser, "SELECT 'yes' WHERE to_regproc('stormops.role_matrix') IS NOT NULL").is_empty() {
        return vec![];
    }
    let matching = format!(
        "SELECT table_name, command, coalesce(columns[1], 'tenant_id') FROM (
            SELECT t.table_name, command, m.least_role, m.columns, m.command IS NOT NULL AS granted,
                m.through IS NULL AS plain
            FROM (SELECT DISTINCT table_name FROM stormops.role_matrix()) AS t
            CROSS JOIN unnest('{{SELECT,INSERT,UPDATE,DELETE}}'::text[]) AS command
            LEFT JOIN stormops.role_matrix() AS m USING (table_name, command)
        ) AS m WHERE {condition} ORDER BY 1, 2"
    );
    let matching = superuser.query(&matching, &[]).expect("the role matrix");
    let statement = |row: &postgres::Row| {
        let (table, command, column): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        match command {
            "INSERT" => insert(table, A, 3, 1),
            "UPDATE" => format!("UPDATE stormops.{table} SET {column} = {column} RETURNING 1"),
            "DELETE" => format!("DELETE FROM stormops.{table} RETURNING 1"),
            _ => format!("SELECT 1 FROM stormops.{table}"),
        }
    };
    matching.iter().map(statement).collect()
}

fn names(client: &mut Client, sql: &str) -> Vec<String> {
    client.query(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {e:?}")).iter().map(|row| row.get(0)).collect()
}

impl Stage {
    fn open(db: Db, schema: Schema) -> Self {
        let superuser = RefCell::new(db.superuser());
        let mut stage = Self { db, schema, superuser, tokens: None, expansions: vec![], fingerprint: String::new() };
        if schema == Schema::Ours {
            stage.alter(&[OPEN_COMMANDS]);
        }
        stage.look();
        stage.issue_tokens();
        stage
    }

    fn look(&mut self) {
        let superuser = self.superuser.get_mut();
        let named = |name: &str, condition: &str| {
            format!(
                "SELECT {name} FROM pg_class AS c WHERE c.relnamespace IN ('stormops'::regnamespace, to_regnamespace('stormops_internal')) AND {condition}
                AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id') ORDER BY 1"
            )
        };
        let relations = |condition: &str| named("c.relname::text", condition);
        let tables = names(superuser, &relations("relkind IN ('r', 'p') AND NOT relispartition"));
        let relation = names(superuser, &relations("relkind IN ('r', 'p', 'v', 'm') AND NOT relispartition"));
        let path = "format('%s.%I', c.relnamespace::regnamespace, c.relname)";
        let partition = names(superuser, &named(path, "relkind IN ('r', 'p') AND relispartition"));
        let granted = "c.relkind IN ('r', 'p') AND has_any_column_privilege('tapp', c.oid, 'INSERT')";
        let inserts = names(superuser, &relations(granted));
        let inserts: Vec<&str> = rows().filter(|table| inserts.iter().any(|name| name == table)).collect();
        let count = |table: &String| {
            format!(
                "SELECT '{table}', count(*), sum(hashtext(t::text)) FROM stormops.{table} AS t WHERE tenant_id = '{B}'"
            )
        };
        self.fingerprint = format!(
            "SELECT string_agg(f::text, ' ' ORDER BY f) FROM ({}) AS f",
            tables.iter().map(count).collect::<Vec<_>>().join(" UNION ALL ")
        );
        self.expansions = vec![
            // The keys that only the victim has, as the attacker's own rows.
            (":claim", inserts.iter().map(|table| insert(table, A, 2, 2)).collect()),
            // A row for the victim.
            (":plant", inserts.iter().map(|table| insert(table, B, 3, 2)).collect()),
            // Under a parent that only the victim has.
            (":hang", inserts.iter().flat_map(|table| insert_below(table, A, 3, 2)).collect()),
            (":own", inserts.iter().map(|table| insert(table, A, 3, 1)).collect()),
            (":never", matrix(superuser, "NOT granted AND command IN ('UPDATE', 'DELETE')")),
            (":added", matrix(superuser, "NOT granted AND command = 'INSERT' AND table_name <> 'tenants'")),
            (":forbidden_rows", matrix(superuser, "least_role <> 'viewer' AND plain AND command <> 'INSERT'")),
            (":forbidden_insert", matrix(superuser, "least_role <> 'viewer' AND plain AND command = 'INSERT'")),
            (":call", calls(superuser)),
            (":table", tables),
            (":relation", relation),
            (":partition", partition),
        ];
    }

    fn alter(&self, statements: &[&str]) {
        for statement in statements.iter().flat_map(|statement| self.expand(statement)) {
            self.superuser().batch_execute(&statement).unwrap_or_else(|e| panic!("{statement}: {e:?}"));
        }
    }

    /// Where `app` gets its way in, once the library has one.
    fn issue_tokens(&mut self) {
        let superuser = self.superuser.get_mut();
        if names(superuser, "SELECT 'yes' WHERE to_regproc('stormops.login') IS NOT NULL").is_empty() {
            return;
        }
        superuser.batch_execute("SELECT stormops.create_signing_key()").expect("a key");
        let mut operator = cluster().connect("op", &self.db.name);
        // Rolled back: a token is as good without the record of it, whose time would differ between the databases.
        operator.batch_execute("BEGIN").expect("a transaction");
        self.tokens = Some([A, B].map(|tenant| {
            let issue = format!("SELECT stormops.issue_token('{tenant}', '{}')", id(7));
            names(&mut operator, &issue).remove(0)
        }));
    }

    pub fn superuser(&self) -> RefMut<'_, Client> {
        self.superuser.borrow_mut()
    }

    pub fn tenant(&self, tenant: char) -> Uuid {
        if tenant == 'A' { A } else { B }
    }

    pub fn token(&self, tenant: char) -> Option<&str> {
        self.tokens.as_ref().map(|tokens| tokens[usize::from(tenant != 'A')].as_str())
    }

    /// What there is of the victim: its rows' number and contents by table.
    pub fn fingerprint(&self) -> String {
        // From a session of its own if an attack ended this one.
        let there = self.superuser().query_one(&self.fingerprint, &[]);
        let there = there.or_else(|_| cluster().connect(SUPERUSER, &self.db.name).query_one(&self.fingerprint, &[]));
        there.map_or_else(|e| format!("gone: {e}"), |row| row.get(0))
    }

    /// The messages that a statement stands for: one, or one for each table of a kind.
    pub fn expand(&self, sql: &str) -> Vec<String> {
        let sql = sql.replace(":'A'", &format!("'{A}'")).replace(":'B'", &format!("'{B}'"));
        let sql =
            [1, 2, 7, 9].iter().fold(sql, |sql, n: &u8| sql.replace(&format!(":'id{n}'"), &format!("'{}'", id(*n))));
        let sql = self.token('B').map_or(sql.clone(), |token| sql.replace(":'tokenB'", &format!("'{token}'")));
        match self.expansions.iter().find(|(name, _)| sql.contains(name)) {
            Some((name, values)) => values.iter().map(|value| sql.replace(name, value)).collect(),
            None => vec![sql],
        }
    }
}
