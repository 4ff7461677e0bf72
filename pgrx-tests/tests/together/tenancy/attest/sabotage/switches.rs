//! Defences switched off.

use super::Sabotage;

pub const SABOTAGES: &[Sabotage] = &[
    (
        "switches_on",
        "ALTER ROLE app SET stormops.guard_explain = off",
        "stormops.guard_explain=off for app",
        "ALTER ROLE app RESET stormops.guard_explain",
    ),
    (
        "switches_on",
        "ALTER ROLE ALL SET stormops.guard_sessions = 'f'",
        "stormops.guard_sessions=f for all roles",
        "ALTER ROLE ALL RESET stormops.guard_sessions",
    ),
    (
        "switches_on",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET stormops.guard_locks = 0', current_database()); END $$",
        "stormops.guard_locks=0 for all roles in this database",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET ALL', current_database()); END $$",
    ),
    (
        "switches_on",
        "DO $$ BEGIN EXECUTE format('ALTER ROLE tapp IN DATABASE %I SET stormops.guard_role = no', current_database()); END $$",
        "stormops.guard_role=no for tapp in this database",
        "DO $$ BEGIN EXECUTE format('ALTER ROLE tapp IN DATABASE %I RESET stormops.guard_role', current_database()); END $$",
    ),
    (
        "switches_on",
        "ALTER ROLE app SET stormops.ceiling_work_mem = 0",
        "stormops.ceiling_work_mem=0 for app",
        "ALTER ROLE app SET stormops.ceiling_work_mem = '64MB'",
    ),
    (
        "switches_on",
        "ALTER ROLE app SET stormops.ceiling_statement_timeout = '0min'",
        "stormops.ceiling_statement_timeout=0min for app",
        "ALTER ROLE app RESET ALL",
    ),
    (
        "switches_on",
        "ALTER ROLE ALL SET stormops.egress_networks = '10.0.0.0/8, 0.0.0.0/0'",
        "stormops.egress_networks=10.0.0.0/8, 0.0.0.0/0 for all roles",
        "ALTER ROLE ALL SET stormops.egress_networks = '10.0.0.0/8, fc00::/7'",
    ),
    (
        "switches_on",
        "SET LOCAL stormops.egress_networks = '::/1,8000::/1'",
        "stormops.egress_networks is",
        "SET LOCAL stormops.egress_networks = ''",
    ),
    (
        "switches_on",
        "SET LOCAL stormops.guard_counters = off",
        "stormops.guard_counters is off in this session",
        "SET LOCAL stormops.guard_counters = on",
    ),
    (
        "switches_on",
        "SET LOCAL stormops.ceiling_temp_buffers = 0",
        "stormops.ceiling_temp_buffers is 0 in this session",
        "SET LOCAL stormops.ceiling_temp_buffers TO DEFAULT",
    ),
    (
        "switches_on",
        "ALTER ROLE ALL SET stormops.session_tenant = on",
        "stormops.session_tenant=on for all roles",
        "ALTER ROLE ALL RESET stormops.session_tenant; ALTER ROLE tapp SET stormops.session_tenant = on",
    ),
    (
        "switches_on",
        "ALTER ROLE app SET stormops.ceiling_transaction_age = 0; ALTER ROLE app SET stormops.guard_commands = off",
        "stormops.guard_commands=off for app",
        "ALTER ROLE app RESET ALL",
    ),
    (
        "no_temporary_tables",
        "ALTER ROLE app SET stormops.guard_temporary_tables = off;
         DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO app', current_database()); END $$",
        "app may make temporary tables",
        "ALTER ROLE app RESET ALL",
    ),
    (
        "settings",
        "ALTER ROLE app SET row_security = of",
        "row_security=of for app",
        "ALTER ROLE app RESET row_security",
    ),
    (
        "settings",
        "ALTER ROLE app SET session_replication_role = local",
        "session_replication_role=local for app",
        "ALTER ROLE app RESET session_replication_role",
    ),
    ("settings", "ALTER ROLE app SET search_path = pg_temp, stormops", "for app", "ALTER ROLE app RESET search_path"),
    (
        "settings",
        "ALTER ROLE app SET session_preload_libraries = ''",
        "session_preload_libraries=\"\" for app",
        "ALTER ROLE app SET session_preload_libraries = 'stormops'",
    ),
    ("settings", "SET LOCAL row_security = off", "row_security is off in this session", "SET LOCAL row_security = on"),
    (
        "settings",
        "SET LOCAL allow_system_table_mods = on",
        "allow_system_table_mods is on in this session",
        "SET LOCAL allow_system_table_mods = off",
    ),
    (
        "no_grant_added",
        "GRANT SET ON PARAMETER stormops.guard_explain TO app",
        "SET on parameter stormops.guard_explain to app",
        "REVOKE SET ON PARAMETER stormops.guard_explain FROM app",
    ),
    (
        "no_grant_added",
        "GRANT ALTER SYSTEM ON PARAMETER shared_preload_libraries TO op",
        "ALTER SYSTEM on parameter shared_preload_libraries to op",
        "REVOKE ALTER SYSTEM ON PARAMETER shared_preload_libraries FROM op",
    ),
    (
        "roles_within_row_security",
        "ALTER ROLE app REPLICATION",
        "app (app) has REPLICATION",
        "ALTER ROLE app NOREPLICATION",
    ),
    (
        "owner_powerless",
        "ALTER ROLE stormops_owner REPLICATION",
        "stormops_owner has REPLICATION",
        "ALTER ROLE stormops_owner NOREPLICATION",
    ),
];
