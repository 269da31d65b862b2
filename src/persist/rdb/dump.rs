//! DUMP payloads: one value with a footer.
//!
//! ```text
//!  | type | value ... | version, 2 bytes little endian | crc64 of all before, 8 bytes |
//! ```

use crate::base::crc64::Crc64;
use crate::keyspace::NewValue;
use crate::persist::rdb::error::RdbErrorKind;
use crate::persist::rdb::input::{Input, SliceInput};
use crate::persist::rdb::writer::Writer;
use crate::persist::rdb::{REDIS_VERSION_MAX, values};
use crate::value::{TypeLimits, ValueRef};

/// Version and checksum.
const FOOTER_BYTES: usize = 2 + CRC_BYTES;
const CRC_BYTES: usize = 8;

/// Serialises a value as DUMP does, with `version` in the footer, or the first version that can
/// hold the value.
pub fn payload_of(value: &ValueRef<'_>, version: u8, compress: bool) -> Vec<u8> {
    let version = version.max(values::version_min(value));
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, compress, false);
    writer.put_u8(values::type_of(value, version));
    let written = values::put_value(&mut writer, value, version).and_then(|()| writer.finish_bare());
    debug_assert!(written.is_ok(), "a vector takes all");
    out.extend_from_slice(&u16::from(version).to_le_bytes());
    let sum = Crc64::update(0, &out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// The payload without its footer, if version and checksum are acceptable.
pub fn verified(payload: &[u8]) -> Option<&[u8]> {
    let (summed, sum) = payload.split_at_checked(payload.len().checked_sub(CRC_BYTES)?)?;
    let right = Crc64::update(0, summed).to_le_bytes() == sum;
    right.then(|| unsummed(payload)).flatten()
}

/// As [`verified`], whatever the checksum is (DEBUG SET-SKIP-CHECKSUM-VALIDATION).
pub fn unsummed(payload: &[u8]) -> Option<&[u8]> {
    let body_len = payload.len().checked_sub(FOOTER_BYTES)?;
    let version = u16::from_le_bytes([payload[body_len], payload[body_len + 1]]);
    (u32::from(version) <= REDIS_VERSION_MAX).then_some(&payload[..body_len])
}

/// Reads the value of a verified payload and hands it to `store`.
///
/// # Errors
/// What is wrong with it.
pub fn restore<R>(
    body: &[u8],
    limits: &TypeLimits,
    store: impl FnOnce(NewValue<'_>) -> R,
) -> Result<R, RdbErrorKind> {
    let mut input = SliceInput::new(body);
    let mut scratch = Vec::new();
    let number = input.take_u8()?;
    values::read_value(number, &mut input, &mut scratch, limits).map(store)
}

#[cfg(test)]
mod tests {
    use super::{payload_of, restore, verified};
    use crate::base::hash::HashSeed;
    use crate::keyspace::NewValue;
    use crate::value::{StrRef, TypeLimits, ValueRef};
    use proptest::prelude::proptest;

    fn limits() -> TypeLimits {
        TypeLimits::new(HashSeed::from_os().expect("random numbers"))
    }

    fn round_trip(text: &[u8]) -> Vec<u8> {
        let value = ValueRef::String(StrRef::Large(text));
        let payload = payload_of(&value, 10, true);
        let body = verified(&payload).expect("just made");
        restore(body, &limits(), |value| match value {
            NewValue::Encoded(bytes) => bytes.to_vec(),
            NewValue::Int(value) => value.to_string().into_bytes(),
            _ => Vec::new(),
        })
        .expect("just made")
    }

    /// The payload that Redis 7.0.15 gives for `SET k 10`, DUMP.
    #[test]
    fn the_bytes_are_those_of_redis() {
        let payload = payload_of(&ValueRef::String(StrRef::Int(10)), 10, true);
        assert_eq!(payload[..4], [0x00, 0xc0, 0x0a, 0x0a]);
        assert_eq!(payload.len(), 13);
    }

    proptest! {
        #[test]
        fn values_come_back_and_damage_is_noticed(text: Vec<u8>, flip in 0usize..10_000) {
            assert_eq!(round_trip(&text), text);
            let mut payload = payload_of(&ValueRef::String(StrRef::Large(&text)), 10, true);
            let at = flip % payload.len();
            payload[at] ^= 0x10;
            assert!(verified(&payload).is_none());
        }

        #[test]
        fn garbage_is_refused_without_panic(garbage: Vec<u8>) {
            let _ = verified(&garbage);
            let _ = restore(&garbage, &limits(), |_| ());
        }
    }
}
