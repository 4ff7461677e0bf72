//! What is bounded, by which setting, and how: one check hook for each.

#![expect(unsafe_code, reason = "check hooks of the server's own settings")]

use super::session::{binds, unsettle};
use crate::postgres::settings as records;
use crate::tenancy::guard::switches::Guard;
use pgrx::pg_sys::{self, GucSource};
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::{CStr, CString, c_int, c_void};
use std::sync::OnceLock;

struct Ceiling {
    /// The setting that is bounded.
    of: &'static CStr,
    /// The superuser setting that bounds it; zero: no ceiling.
    name: &'static CStr,
    description: &'static CStr,
    value: GucSetting<i32>,
    unit: GucFlags,
    /// Zero of the bounded setting is no limit, and so above every ceiling.
    zero_is_no_limit: bool,
    check: pg_sys::GucIntCheckHook,
    /// The hook that was there.
    next: OnceLock<pg_sys::GucIntCheckHook>,
}

macro_rules! c_str {
    ($text:expr) => {
        match CStr::from_bytes_with_nul(concat!($text, "\0").as_bytes()) {
            Ok(text) => text,
            Err(_) => c"",
        }
    };
}

macro_rules! ceilings {
    ($($number:literal: $of:literal $default:literal $unit:expr, $zero_is_no_limit:literal;)*) => {[$(
        Ceiling {
            of: c_str!($of),
            name: c_str!(concat!("stormops.ceiling_", $of)),
            description: c_str!(concat!("The highest ", $of, " of roles that work in tenants; 0: no ceiling.")),
            value: GucSetting::<i32>::new($default),
            unit: $unit,
            zero_is_no_limit: $zero_is_no_limit,
            check: Some(check::<$number>),
            next: OnceLock::new(),
        }
    ),*]};
}

static CEILINGS: [Ceiling; 6] = ceilings! {
    0: "statement_timeout" 3_600_000 GucFlags::UNIT_MS, true;
    1: "idle_in_transaction_session_timeout" 600_000 GucFlags::UNIT_MS, true;
    2: "work_mem" 1_048_576 GucFlags::UNIT_KB, false;
    3: "maintenance_work_mem" 1_048_576 GucFlags::UNIT_KB, false;
    4: "temp_buffers" 32_768 GucFlags::UNIT_BLOCKS, false;
    5: "max_parallel_workers_per_gather" 8 GucFlags::empty(), false;
};
static MULTIPLIER: GucSetting<f64> = GucSetting::<f64>::new(8.0);
static NEXT_OF_MULTIPLIER: OnceLock<pg_sys::GucRealCheckHook> = OnceLock::new();
static NEXT_OF_PLANS: OnceLock<pg_sys::GucBoolCheckHook> = OnceLock::new();

const MULTIPLIED: &CStr = c"hash_mem_multiplier";
/// Sends the plan to the client, estimates included, as a message that `client_min_messages` lets pass.
const PLANS: &CStr = c"debug_print_plan";
const WHY: &CStr = c"A superuser sets it: for the server, a database, a role or a session.";

impl Ceiling {
    fn is_below(&self, value: c_int) -> bool {
        let ceiling = self.value.get();
        let unlimited = value == 0 && self.zero_is_no_limit;
        ceiling > 0 && (unlimited || value > ceiling)
    }
}

fn multiplier_is_above(value: f64) -> bool {
    MULTIPLIER.get() > 0.0 && value > MULTIPLIER.get()
}

pub fn init() {
    // SAFETY: the hooks neither panic nor allocate; each record is of the type that its kind says.
    unsafe {
        for ceiling in &CEILINGS {
            GucRegistry::define_int_guc_with_hooks(
                ceiling.name,
                ceiling.description,
                WHY,
                &ceiling.value,
                0,
                i32::MAX,
                GucContext::Suset,
                ceiling.unit,
                None,
                Some(assign_int),
                None,
            );
            if let Some(record) = records::find(ceiling.of) {
                let record = record.cast::<pg_sys::config_int>();
                ceiling.next.get_or_init(|| (*record).check_hook);
                (*record).check_hook = ceiling.check;
            }
        }
        GucRegistry::define_float_guc_with_hooks(
            c"stormops.ceiling_hash_mem_multiplier",
            c"The highest hash_mem_multiplier of roles that work in tenants; 0: no ceiling.",
            WHY,
            &MULTIPLIER,
            0.0,
            1000.0,
            GucContext::Suset,
            GucFlags::empty(),
            None,
            Some(assign_real),
            None,
        );
        if let Some(record) = records::find(MULTIPLIED) {
            let record = record.cast::<pg_sys::config_real>();
            NEXT_OF_MULTIPLIER.get_or_init(|| (*record).check_hook);
            (*record).check_hook = Some(check_multiplier);
        }
        if let Some(record) = records::find(PLANS) {
            let record = record.cast::<pg_sys::config_bool>();
            NEXT_OF_PLANS.get_or_init(|| (*record).check_hook);
            (*record).check_hook = Some(check_plans);
        }
    }
}

unsafe extern "C-unwind" fn assign_int(_: c_int, _: *mut c_void) {
    unsettle();
}

unsafe extern "C-unwind" fn assign_real(_: f64, _: *mut c_void) {
    unsettle();
}

unsafe extern "C-unwind" fn check<const NUMBER: usize>(
    value: *mut c_int,
    extra: *mut *mut c_void,
    source: GucSource::Type,
) -> bool {
    let ceiling = &CEILINGS[NUMBER];
    // SAFETY: the settings machinery hands over valid pointers, and this hands them on.
    unsafe {
        if ceiling.is_below(*value) && binds() {
            *value = ceiling.value.get();
        }
        ceiling.next.get().copied().flatten().is_none_or(|next| next(value, extra, source))
    }
}

unsafe extern "C-unwind" fn check_multiplier(
    value: *mut f64,
    extra: *mut *mut c_void,
    source: GucSource::Type,
) -> bool {
    // SAFETY: as above.
    unsafe {
        if multiplier_is_above(*value) && binds() {
            *value = MULTIPLIER.get();
        }
        NEXT_OF_MULTIPLIER.get().copied().flatten().is_none_or(|next| next(value, extra, source))
    }
}

unsafe extern "C-unwind" fn check_plans(value: *mut bool, extra: *mut *mut c_void, source: GucSource::Type) -> bool {
    // SAFETY: as above.
    unsafe {
        if *value && Guard::Explain.is_on() && binds() {
            *value = false;
        }
        NEXT_OF_PLANS.get().copied().flatten().is_none_or(|next| next(value, extra, source))
    }
}

/// Lowers the defaults that RESET goes back to, then what is in force.
pub fn settle() {
    const DEFAULT: GucSource::Type = GucSource::PGC_S_OVERRIDE;
    const SESSION: GucSource::Type = GucSource::PGC_S_SESSION;
    // SAFETY: each record is of the type that its kind says.
    unsafe {
        for ceiling in &CEILINGS {
            let Some(record) = records::find(ceiling.of) else { continue };
            let record = record.cast::<pg_sys::config_int>();
            let value = CString::new(ceiling.value.get().to_string()).unwrap_or_default();
            if ceiling.is_below((*record).reset_val) {
                records::set(ceiling.of, &value, DEFAULT);
            }
            if ceiling.is_below(*(*record).variable) {
                records::set(ceiling.of, &value, SESSION);
            }
        }
        if let Some(record) = records::find(MULTIPLIED) {
            let record = record.cast::<pg_sys::config_real>();
            let value = CString::new(MULTIPLIER.get().to_string()).unwrap_or_default();
            if multiplier_is_above((*record).reset_val) {
                records::set(MULTIPLIED, &value, DEFAULT);
            }
            if multiplier_is_above(*(*record).variable) {
                records::set(MULTIPLIED, &value, SESSION);
            }
        }
        if let Some(record) = records::find(PLANS)
            && Guard::Explain.is_on()
        {
            let record = record.cast::<pg_sys::config_bool>();
            if (*record).reset_val {
                records::set(PLANS, c"off", DEFAULT);
            }
            if *(*record).variable {
                records::set(PLANS, c"off", SESSION);
            }
        }
    }
}
