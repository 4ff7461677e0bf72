//! What needs a streaming standby.

mod monitoring;
mod replay;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use stormops_tests::{Cluster, cluster, get};

/// The one standby of this cluster.
fn standby() -> &'static Cluster {
    static STANDBY: OnceLock<Cluster> = OnceLock::new();
    STANDBY.get_or_init(|| cluster().standby())
}

/// Waits until the standby has replayed all that the primary has written.
fn replayed() {
    let mut primary = cluster().connect("postgres", "postgres");
    let standby = standby();
    let mut session = standby.connect("postgres", "postgres");
    let written: String = get(&mut primary, "SELECT pg_current_wal_flush_lsn()::text", &[]);
    let start = Instant::now();
    while !get::<bool>(&mut session, "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", &[&written]) {
        if start.elapsed() > Duration::from_secs(120) {
            let state: String = get(
                &mut primary,
                "SELECT coalesce(array_agg(r)::text, 'nobody follows') FROM pg_stat_replication AS r",
                &[],
            );
            panic!("the standby should have replayed {written} by now: {state}\n{}", standby.log());
        }
        std::thread::sleep(Duration::from_millis(5)); // between looks, not instead of one
    }
}
