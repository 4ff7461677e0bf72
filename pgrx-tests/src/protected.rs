//! Two tenants, and tables of the database's own people that protect() took under its regime.

use postgres::Client;
use uuid::Uuid;

use crate::{Db, enter, provision};

const JOBS: &str = "
    CREATE SCHEMA work;
    CREATE TABLE work.jobs (
        tenant_id uuid NOT NULL, job_id uuid DEFAULT gen_random_uuid(), title text NOT NULL, price numeric,
        PRIMARY KEY (tenant_id, job_id)
    );
    CREATE TABLE work.visits (
        tenant_id uuid NOT NULL, visit_id uuid DEFAULT gen_random_uuid(), job_id uuid NOT NULL, at date NOT NULL DEFAULT '2026-01-01',
        PRIMARY KEY (tenant_id, visit_id, at), FOREIGN KEY (tenant_id, job_id) REFERENCES work.jobs
    ) PARTITION BY RANGE (at);
    CREATE TABLE work.visits_2026 PARTITION OF work.visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    GRANT ALL ON work.jobs, work.visits, work.visits_2026 TO PUBLIC, tapp;
    GRANT SELECT (title) ON work.jobs TO nobody;";

pub struct Protected {
    pub db: Db,
    pub a: Uuid,
    pub b: Uuid,
}

#[track_caller]
pub fn protected(name: &str) -> Protected {
    let db = Db::new(name);
    let (a, b) = (provision(&db, "Alpha"), provision(&db, "Bravo"));
    let mut superuser = db.superuser();
    superuser
        .batch_execute(&format!("REVOKE TEMPORARY ON DATABASE \"{}\" FROM PUBLIC", db.name))
        .expect("a closed database");
    superuser.batch_execute(JOBS).expect("tables");
    // Rows that were there before.
    for tenant in [a, b] {
        let rows = "WITH j AS (INSERT INTO work.jobs (tenant_id, title) VALUES ($1, 'old') RETURNING tenant_id, job_id)
            INSERT INTO work.visits (tenant_id, job_id) SELECT tenant_id, job_id FROM j";
        superuser.execute(rows, &[&tenant]).expect("rows");
    }
    let protect = "SELECT stormops.protect('work.jobs');
        SELECT stormops.protect('work.visits', '{\"SELECT\": \"crew_chief\", \"INSERT\": \"admin\", \"DELETE\": null}')";
    superuser.batch_execute(protect).expect("protected tables");
    Protected { db, a, b }
}

#[track_caller]
pub fn inside(db: &Db, tenant: Uuid, role: Option<&str>) -> Client {
    let mut session = db.as_role("tapp");
    session.batch_execute("SET search_path = work, stormops").expect("a path");
    enter(&mut session, tenant);
    if let Some(role) = role {
        let add = "SELECT stormops.add_user(gen_random_uuid() || '@abc.example', $1)";
        let user: Uuid = session.query_one(add, &[&role]).expect("a user").get(0);
        session.batch_execute(&format!("SET app.current_user_id = '{user}'")).expect("its context");
    }
    session
}

#[track_caller]
pub fn count(session: &mut Client, table: &str) -> i64 {
    session.query_one(&format!("SELECT count(*) FROM {table}"), &[]).unwrap_or_else(|e| panic!("{table}: {e:?}")).get(0)
}

/// What attest() finds wrong; the server itself may be older than its repairs.
pub fn failing(db: &Db) -> Vec<(String, String)> {
    let query = "SELECT property, evidence FROM stormops.attest() WHERE NOT pass AND property <> 'server_minor'";
    db.superuser().query(query, &[]).expect("attest()").iter().map(|row| (row.get(0), row.get(1))).collect()
}
