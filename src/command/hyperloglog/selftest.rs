//! PFSELFTEST: the registers keep what is written, and estimates stay within their error.

use crate::resp::Args;
use crate::server::Ctx;
use crate::server::error::{CommandResult, ReplyError};
use crate::value::hyperloglog::{self, Encoding, Pattern, REGISTERS, Registers, Store};
use std::ops::Range;

/// Rounds of writing and reading all registers.
const CYCLES: usize = 1000;
/// Elements counted; the estimate is checked at each power of ten.
const ELEMENTS_MAX: u64 = 10_000_000;
/// Tolerated error in standard errors: a test that fails by chance would be worth nothing.
const TOLERANCE: f64 = 6.0;

/// A sketch outside of the keyspace.
struct Scratch(Vec<u8>);

impl Store for Scratch {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn splice(&mut self, range: Range<usize>, source: &[u8]) {
        self.0.splice(range, source.iter().copied());
    }
}

impl Scratch {
    fn sparse() -> Scratch {
        Scratch(hyperloglog::empty().to_vec())
    }

    fn dense() -> Result<Scratch, ReplyError> {
        let mut sketch = Scratch::sparse();
        hyperloglog::make_dense(&mut sketch)?;
        Ok(sketch)
    }

    fn count(&self) -> Result<u64, ReplyError> {
        Ok(hyperloglog::count(&self.0)?)
    }
}

pub(super) fn pfselftest(ctx: &mut Ctx<'_>, _: Args<'_>) -> CommandResult {
    check_registers(ctx)?;
    check_estimates(ctx)?;
    ctx.out.ok();
    Ok(())
}

/// Registers hold their values and leave their neighbours alone.
fn check_registers(ctx: &mut Ctx<'_>) -> CommandResult {
    for _ in 0..CYCLES {
        let mut sketch = Scratch::dense()?;
        let mut written = [0; REGISTERS];
        for (index, value) in written.iter_mut().enumerate() {
            *value = ctx.server.rng.below(64) as u8;
            hyperloglog::add(&mut sketch, Pattern { index: index as u16, value: *value }, 0)?;
        }
        let mut read = Registers::new();
        read.merge(&sketch.0)?;
        if let Some(index) = (0..REGISTERS).find(|index| read.as_slice()[*index] != written[*index]) {
            let (wanted, found) = (written[index], read.as_slice()[index]);
            return Err(failure(format!("Register {index} should be {wanted} but is {found}")));
        }
    }
    Ok(())
}

/// Sparse and dense sketches agree, and are as close to the truth as they should be.
fn check_estimates(ctx: &mut Ctx<'_>) -> CommandResult {
    let limit = ctx.server.config.hll_sparse_max_bytes;
    let seed = ctx.server.rng.next_u64();
    let (mut dense, mut sparse) = (Scratch::dense()?, Scratch::sparse());
    let mut checkpoint = 1;
    for number in 1..=ELEMENTS_MAX {
        let pattern = hyperloglog::pattern_of(&(number ^ seed).to_le_bytes());
        hyperloglog::add(&mut dense, pattern, limit)?;
        hyperloglog::add(&mut sparse, pattern, limit)?;
        if number != checkpoint {
            continue;
        }
        let is_sparse = hyperloglog::encoding_of(&sparse.0) == Some(Encoding::Sparse);
        if number < limit as u64 / 2 && !is_sparse {
            return Err(failure("sparse encoding not used"));
        }
        let count = dense.count()?;
        if count != sparse.count()? {
            return Err(failure("dense/sparse disagree"));
        }
        check_error(number, count)?;
        checkpoint *= 10;
    }
    Ok(())
}

fn check_error(truth: u64, count: u64) -> CommandResult {
    let standard_error = 1.04 / (REGISTERS as f64).sqrt();
    let tolerated = match truth {
        // Two elements in one register are not rare enough here.
        10 => 1,
        truth => (standard_error * TOLERANCE * truth as f64).ceil() as u64,
    };
    let error = truth.abs_diff(count);
    if error > tolerated {
        return Err(failure(format!("Too big error. card:{truth} abserr:{error}")));
    }
    Ok(())
}

fn failure(text: impl std::fmt::Display) -> ReplyError {
    ReplyError::err(format!("TESTFAILED {text}"))
}
