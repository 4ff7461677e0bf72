//! Without `shared_preload_libraries` anybody can set `app.current_tenant` until the library is loaded. The first
//! policy loads it, and then what no trusted session set is dropped.

use stormops_tests::twins::Twins;
use stormops_tests::{cluster, fails_with};

#[test]
fn a_context_set_before_the_library_is_there_counts_only_for_a_trusted_session() {
    let twins = Twins::new("unpreloaded");
    cluster().configure(&["shared_preload_libraries = ''"]);

    let read = "SELECT tenant_id FROM stormops.storms";
    for forged in [
        "ENTER $a",
        "BEGIN; SET LOCAL app.current_tenant = $a",
        "BEGIN; SAVEPOINT s; ENTER $a; RELEASE s",
        "SELECT set_config('app.current_tenant', $a, false)",
    ] {
        fails_with(twins.run("app", &format!("{forged}; {read}")), "0B000");
    }
    let inside = "CREATE FUNCTION pg_temp.f() RETURNS SETOF uuid LANGUAGE sql SET app.current_tenant = $a
        AS 'SELECT tenant_id FROM stormops.storms'; SELECT pg_temp.f()";
    fails_with(twins.run("app", inside), "42501");
    assert_eq!(twins.run("tapp", &format!("ENTER $a; {read}")).expect("a trusted session"), [twins.a.to_string()]);

    let unsafe_here = "SELECT evidence FROM stormops.attest() WHERE property = 'library_preloaded' AND NOT pass";
    assert_eq!(twins.run("op", unsafe_here).expect("an answer").len(), 1, "attest() must say so");

    // A stored one is taken for the role's own until then, and is dropped too.
    twins.run("tapp", "ALTER ROLE tapp SET app.current_tenant = $a").expect("nobody knows it yet");
    fails_with(twins.run("tapp", read), "0B000");
}
