//! The guards, and the superuser settings that switch each of them.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::CStr;

#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Guard {
    Explain,
    Cursors,
    Notify,
    Locks,
    TemporaryTables,
    PreparedTransactions,
    LargeObjects,
    Sessions,
    Counters,
    Role,
    Commands,
}

struct Switch {
    setting: &'static CStr,
    description: &'static CStr,
    message: &'static str,
    hint: &'static str,
}

/// In the order of `Guard`.
const SWITCHES: [Switch; 11] = [
    Switch {
        setting: c"stormops.guard_explain",
        description: c"Refuses EXPLAIN to roles that work in tenants, and keeps debug_print_plan off.",
        message: "a plan tells how many rows other tenants have",
        hint: "Explain it as a role that sees every tenant's rows.",
    },
    Switch {
        setting: c"stormops.guard_cursors",
        description: c"Refuses cursors WITH HOLD to roles that work in tenants.",
        message: "a cursor WITH HOLD would carry a tenant's rows out of its transaction",
        hint: "Declare it without WITH HOLD and fetch in the same transaction.",
    },
    Switch {
        setting: c"stormops.guard_notify",
        description:
            c"Refuses LISTEN, NOTIFY, pg_notify() and pg_logical_emit_message() to roles that work in tenants.",
        message: "all tenants share the channels of LISTEN and NOTIFY",
        hint: "Keep a queue in a table, or listen as a role that works in no tenant.",
    },
    Switch {
        setting: c"stormops.guard_locks",
        description:
            c"Refuses LOCK TABLE, advisory locks and functions that lock a table to roles that work in tenants.",
        message: "this lock would stop other tenants",
        hint: "Lock rows instead: SELECT ... FOR UPDATE.",
    },
    Switch {
        setting: c"stormops.guard_temporary_tables",
        description: c"Refuses to roles that work in tenants what is temporary and outlives its transaction.",
        message: "the next tenant of this session would find what is temporary in it",
        hint: "CREATE TEMPORARY TABLE ... ON COMMIT DROP.",
    },
    Switch {
        setting: c"stormops.guard_prepared_transactions",
        description: c"Refuses PREPARE TRANSACTION to roles that work in tenants.",
        message: "every tenant of this role could end a prepared transaction",
        hint: "COMMIT in the session that did the work.",
    },
    Switch {
        setting: c"stormops.guard_large_objects",
        description: c"Refuses large objects to roles that work in tenants.",
        message: "every tenant of this role could read and remove a large object",
        hint: "Keep the bytes in a column of type bytea.",
    },
    Switch {
        setting: c"stormops.guard_sessions",
        description: c"Refuses to roles that work in tenants to see, cancel and end what others run.",
        message: "this would show or stop what other tenants run",
        hint: "Ask as a role that works in no tenant; cancel a query through its own connection.",
    },
    Switch {
        setting: c"stormops.guard_counters",
        description: c"Refuses the server's statistics counters to roles that work in tenants.",
        message: "these counters count the rows of all tenants",
        hint: "Ask as a role that works in no tenant.",
    },
    Switch {
        setting: c"stormops.guard_role",
        description:
            c"Refuses to roles that work in tenants to change themselves: password, defaults, members, DROP OWNED.",
        message: "this would change the role for all tenants that it works for",
        hint: "An administrator does it.",
    },
    Switch {
        setting: c"stormops.guard_commands",
        description: c"Refuses every command that an application does not send to roles that work in tenants.",
        message: "this is no command of a role that works in tenants",
        hint: "Let a role that works in no tenant do it. A temporary table is ON COMMIT DROP, without parents and foreign keys.",
    },
];

static VALUES: [GucSetting<bool>; 11] = [const { GucSetting::<bool>::new(true) }; 11];

pub fn init() {
    for (switch, value) in SWITCHES.iter().zip(&VALUES) {
        let why = c"A superuser sets it: for the server, a database, a role or a session.";
        GucRegistry::define_bool_guc(
            switch.setting,
            switch.description,
            why,
            value,
            GucContext::Suset,
            GucFlags::default(),
        );
    }
}

impl Guard {
    pub fn is_on(self) -> bool {
        VALUES[self as usize].get()
    }

    /// True for what reaches beyond the database.
    pub fn is_of_the_cluster(self) -> bool {
        matches!(self, Self::Commands | Self::Locks)
    }

    pub fn setting(self) -> &'static str {
        SWITCHES[self as usize].setting.to_str().unwrap_or_default()
    }

    pub fn message(self) -> &'static str {
        SWITCHES[self as usize].message
    }

    pub fn hint(self) -> &'static str {
        SWITCHES[self as usize].hint
    }
}
