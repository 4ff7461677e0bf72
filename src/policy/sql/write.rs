//! `write_decisions()`: the decisions on a storm as blocks, one INSERT each, so that row security, checks and partitions are
//! the server's; with the digest of the run, the prints of its blocks, and its counts.

#![expect(unsafe_code, reason = "arrays as values of a statement")]

use super::decide::{Counting, Sink, decide_each, rule};
use super::sound;
use super::source::Stored;
use crate::memory::fallibly;
use crate::policy::block::Block;
use crate::policy::candidate::{Candidate, Id};
use crate::policy::fault::Fault;
use crate::policy::rule::Class;
use crate::policy::seal::{Content, HEAD, MARK};
use crate::postgres::array::{of_numbers, of_texts};
use crate::postgres::bytea::bytea;
use crate::postgres::rows::Statement;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::{self, Datum};
use pgrx::{IntoDatum, JsonB, prelude::*};
use sha2::{Digest, Sha256};
use std::ffi::CStr;
use zerocopy::IntoBytes;

const COLUMNS: usize = 20;
const INSERT: &CStr = c"INSERT INTO stormops.policy_decision_blocks (tenant_id, run_id, block_no, storm_id, decided_at, policy_mode, first_property, last_property, n, property_ids, classes, scores, score_sds, \"values\", decisions, reasons, propensities, counts, model_versions, models) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)";

/// What a value of Postgres can hold, and a little less.
const MOST_PRINTS: usize = (1 << 30) - 64;

/// A run that is being written.
struct Run {
    tenant: Id,
    run: Id,
    storm: Id,
    decided_at: i64,
    mode: Vec<u8>,
    block: Block,
    statement: Option<Statement<COLUMNS>>,
    blocks: i32,
    digests: Sha256,
    prints: Vec<u8>,
    counting: Counting,
}

impl Run {
    /// Writes the block and begins the next.
    fn flush(&mut self, stored: &Stored) -> Result<(), Fault> {
        let block = &self.block;
        let (Some(first), Some(last)) = (block.ids.first(), block.ids.last()) else { return Ok(()) };
        let (reasons, models) = (stored.reasons.borrow(), stored.models.borrow());
        let (entries, versions) = block.named(&reasons, &models);
        let content = Content {
            tenant: &self.tenant,
            run: &self.run,
            block_no: self.blocks,
            storm: &self.storm,
            decided_at: self.decided_at,
            mode: &self.mode,
            first,
            last,
            n: block.ids.len() as i32,
            ids: block.ids.as_flattened(),
            classes: block.classes.as_bytes(),
            scores: block.scores.as_bytes(),
            score_sds: block.score_sds.as_bytes(),
            values: block.values.as_bytes(),
            entries: &entries,
            versions: &versions,
            models: (versions.len() > 1).then(|| block.models.as_bytes()),
        };
        let digest = content.digest();
        self.digests.update(digest);
        let size = HEAD + MARK * block.ids.len();
        if self.prints.len() + size > MOST_PRINTS {
            return Err(Fault::Size);
        }
        fallibly(|| self.prints.try_reserve(size))?;
        content.print(&digest, |bytes| self.prints.extend_from_slice(bytes));
        // SAFETY: within the connection of `decide_each()`.
        let statement = self.statement.get_or_insert_with(|| unsafe { Statement::prepare(INSERT, types()) });
        // SAFETY: the values are of these types.
        unsafe { insert(statement, &content) };
        self.blocks = self.blocks.checked_add(1).ok_or(Fault::Size)?;
        self.block.clear();
        Ok(())
    }
}

impl Sink for Run {
    fn take(&mut self, stored: &Stored, candidate: &Candidate, class: Class, value: f64) -> Result<(), Fault> {
        self.counting.take(stored, candidate, class, value)?;
        if !self.block.push(candidate, class, value)? {
            self.flush(stored)?;
            self.block.push(candidate, class, value)?;
        }
        Ok(())
    }

    fn end(&mut self, stored: &Stored) -> Result<(), Fault> {
        self.flush(stored)?;
        self.counting.end(stored)
    }
}

fn types() -> [pg_sys::Oid; COLUMNS] {
    use pg_sys::{
        FLOAT8ARRAYOID, INT2ARRAYOID, INT4ARRAYOID, INT4OID, TEXTARRAYOID, TEXTOID, TIMESTAMPTZOID, UUIDARRAYOID,
        UUIDOID,
    };
    [
        UUIDOID,
        UUIDOID,
        INT4OID,
        UUIDOID,
        TIMESTAMPTZOID,
        TEXTOID,
        UUIDOID,
        UUIDOID,
        INT4OID,
        UUIDARRAYOID,
        INT2ARRAYOID,
        FLOAT8ARRAYOID,
        FLOAT8ARRAYOID,
        FLOAT8ARRAYOID,
        TEXTARRAYOID,
        TEXTARRAYOID,
        FLOAT8ARRAYOID,
        INT4ARRAYOID,
        TEXTARRAYOID,
        INT2ARRAYOID,
    ]
}

/// SAFETY: the statement is INSERT, within its connection of SPI.
unsafe fn insert(statement: &Statement<COLUMNS>, content: &Content) {
    let id = |id: &Id| Some(Datum::from(id.as_ptr()));
    let doubles = |bytes: &[u8]| Some(of_numbers::<8>(pg_sys::FLOAT8OID, bytes));
    let smallints = |bytes: &[u8]| of_numbers::<2>(pg_sys::INT2OID, bytes);
    let propensities: Vec<f64> = content.entries.iter().map(|entry| entry.propensity).collect();
    let counts: Vec<i32> = content.entries.iter().map(|entry| entry.n).collect();
    let values = [
        id(content.tenant),
        id(content.run),
        content.block_no.into_datum(),
        id(content.storm),
        Some(Datum::from(content.decided_at)),
        Some(bytea(content.mode.len(), |mode| mode.copy_from_slice(content.mode))),
        id(content.first),
        id(content.last),
        content.n.into_datum(),
        Some(of_numbers::<16>(pg_sys::UUIDOID, content.ids)),
        Some(smallints(content.classes)),
        doubles(content.scores),
        doubles(content.score_sds),
        doubles(content.values),
        Some(of_texts(content.entries.iter().map(|entry| entry.decision))),
        Some(of_texts(content.entries.iter().map(|entry| entry.reason))),
        doubles(propensities.as_bytes()),
        Some(of_numbers::<4>(pg_sys::INT4OID, counts.as_bytes())),
        Some(of_texts(content.versions.iter().copied())),
        content.models.map(smallints),
    ];
    // SAFETY: as types() has them; what was made for this statement is done with after it.
    unsafe {
        statement.execute(values);
        let made = [5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];
        made.into_iter().filter_map(|i| values[i]).for_each(|value| pg_sys::pfree(value.cast_mut_ptr()));
    }
}

#[allow(clippy::type_complexity, reason = "one row of SQL")]
#[pg_extern(sql = false)]
fn write_decisions(
    tenant_id: pgrx::Uuid,
    run_id: pgrx::Uuid,
    storm_id: pgrx::Uuid,
    decided_at: TimestampWithTimeZone,
    policy_mode: &str,
    numbers: Vec<Option<f64>>,
    parameters: &str,
) -> TableIterator<
    'static,
    (
        name!(decisions, i64),
        name!(blocks, i32),
        name!(digest, Vec<u8>),
        name!(fingerprints, Vec<u8>),
        name!(counts, Option<JsonB>),
    ),
> {
    let mut run = Run {
        tenant: *tenant_id.as_bytes(),
        run: *run_id.as_bytes(),
        storm: *storm_id.as_bytes(),
        decided_at: decided_at.into(),
        mode: policy_mode.as_bytes().to_vec(),
        block: sound(Block::new()),
        statement: None,
        blocks: 0,
        digests: Sha256::new(),
        prints: Vec::new(),
        counting: Counting::default(),
    };
    let (tenant, storm) = (run.tenant, run.storm);
    decide_each(&rule(&numbers), tenant, storm, parameters, false, &mut run);
    let digest = run.digests.finalize().to_vec();
    TableIterator::once((run.counting.decisions(), run.blocks, digest, run.prints, run.counting.counts))
}
