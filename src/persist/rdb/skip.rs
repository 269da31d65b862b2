//! Reading over values of any type: for check-rdb, which must know files that cannot be loaded yet.
//!
//! What a value is made of says `layout`; here its strings are decompressed to check them.

use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::Input;
use crate::persist::rdb::layout::{self, Part, Walk};
use crate::persist::rdb::string::{skip as skip_string, to_usize};

/// Reads over a value of type `number`.
///
/// # Errors
/// It is cut short or impossible.
pub fn skip_value<I: Input>(number: u8, input: &mut I, scratch: &mut Vec<u8>) -> Result<(), RdbErrorKind> {
    skip_parts(layout::parts_of(number)?, input, scratch)
}

/// The parts of a module's value up to its end mark.
///
/// # Errors
/// An unknown part.
pub fn skip_module_value<I: Input>(input: &mut I, scratch: &mut Vec<u8>) -> Result<(), RdbErrorKind> {
    skip_parts(&[Part::ModuleParts], input, scratch)
}

fn skip_parts<I: Input>(
    parts: &'static [Part],
    input: &mut I,
    scratch: &mut Vec<u8>,
) -> Result<(), RdbErrorKind> {
    let mut walk = Walk::default();
    walk.enter(parts);
    while let Some(part) = walk.part() {
        if let Part::Text = part {
            skip_string(input, scratch)?;
            walk.pass();
        } else {
            let bytes = to_usize(walk.read_head(input)?)?;
            input.take(bytes)?;
        }
    }
    Ok(())
}

/// The name of a module's type from its 64-bit id: nine characters of 6 bits, then the version.
pub fn module_name(id: u64) -> String {
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).map(|index| CHARACTERS[(id >> (58 - 6 * index)) as usize & 63] as char).collect()
}
