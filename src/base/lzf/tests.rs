//! LZF against recordings of the C code, the `lzf` crate as oracle for streams, and corrupt input.

use super::{Compressor, LzfError, MAX_EXPANSION, decompress};
use crate::base::crc64::Crc64;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

/// xorshift64: the inputs of the recordings were made by the same few lines of C.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize
    }
}

/// Input `number` and its output limit: literals of an alphabet of varying size, and copies of what came before.
fn recorded_input(number: u64, max_length: usize) -> (Vec<u8>, usize) {
    let mut random = Xorshift(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let length = random.next() % max_length + 5;
    let letters = random.next() % 256;
    let alphabet = 1 + (letters >> (random.next() % 8));
    let mut input = Vec::with_capacity(length);
    while input.len() < length {
        if input.len() > 8 && random.next().is_multiple_of(4) {
            let distance = 1 + random.next() % input.len().min(9000);
            let count = 3 + random.next() % 40;
            for _ in 0..count.min(length - input.len()) {
                input.push(input[input.len() - distance]);
            }
        } else {
            input.push((random.next() % alphabet) as u8);
        }
    }
    let limit = if number.is_multiple_of(3) { random.next() % length + 1 } else { length - 4 };
    (input, limit)
}

/// The checksum of all outputs and their lengths, and how many inputs were compressible.
fn outputs_of(max_length: usize, count: u64) -> (u64, usize) {
    let mut compressor = Compressor::new();
    let (mut checksum, mut compressed) = (0, 0);
    let mut out = Vec::new();
    for number in 1..=count {
        let (input, limit) = recorded_input(number, max_length);
        out.clear();
        if compressor.compress(&input, &mut out, limit) {
            compressed += 1;
            assert!(out.len() <= limit);
            assert_eq!(decompress(&out, input.len()).as_ref(), Ok(&input));
        }
        checksum = Crc64::update(checksum, &out);
        checksum = Crc64::update(checksum, &(out.len() as u32).to_le_bytes());
    }
    (checksum, compressed)
}

#[test]
fn same_bytes_as_the_c_code() {
    // Recorded from liblzf as in Redis 7.2.4.
    assert_eq!(outputs_of(64, 3_000), (0x3527_5ff7_0089_f80a, 1795));
    assert_eq!(outputs_of(2_000, 2_000), (0xca66_7074_5a4c_5016, 1789));
    assert_eq!(outputs_of(100_000, 40), (0xdf9e_605d_8276_0323, 37));
}

#[test]
fn a_payload_in_full() {
    let mut out = b"kept".to_vec();
    let mut compressor = Compressor::new();
    assert!(compressor.compress(&[b'a'; 100], &mut out, 96));
    // Two literals (position 0 is no target), then 96 bytes from 1 back, then two literals.
    assert_eq!(out, b"kept\x01aa\xe0\x57\x00\x01aa");
    assert!(!compressor.compress(b"abcdefghijkl", &mut out, 8));
    assert_eq!(out, b"kept\x01aa\xe0\x57\x00\x01aa");
}

#[test]
fn small_inputs_and_limits() {
    let mut compressor = Compressor::new();
    for length in 0..40usize {
        for limit in 0..60 {
            let input = vec![7u8; length];
            let mut out = Vec::new();
            if compressor.compress(&input, &mut out, limit) {
                assert!(out.len() <= limit);
                assert_eq!(decompress(&out, length).as_ref(), Ok(&input));
            } else {
                assert!(out.is_empty());
            }
        }
    }
}

#[test]
fn numbering_starts_again_at_the_end_of_u32() {
    let mut compressor = Compressor::new();
    let (input, _) = recorded_input(1, 2000);
    let mut expected = Vec::new();
    assert!(compressor.compress(&input, &mut expected, input.len()));
    for base in [u32::MAX - 1, u32::MAX - input.len() as u32, u32::MAX - input.len() as u32 + 1] {
        compressor.base = base;
        for _ in 0..3 {
            let mut out = Vec::new();
            assert!(compressor.compress(&input, &mut out, input.len()));
            assert_eq!(out, expected);
        }
    }
}

#[test]
fn broken_streams_are_refused() {
    let cases: [(&[u8], usize, LzfError); 9] = [
        (&[0x02, b'a'], 3, LzfError::Truncated),
        (&[0x20], 3, LzfError::Truncated),
        (&[0x00, b'a', 0xe0, 0x01], 11, LzfError::Truncated),
        (&[0x00, b'a', 0xe0], 10, LzfError::Truncated),
        (&[0x20, 0x00], 3, LzfError::BadReference),
        (&[0x00, b'a', 0x20, 0x01], 4, LzfError::BadReference),
        (&[0x00, b'a', 0x20, 0x00], 3, LzfError::WrongLength),
        (&[0x00, b'a', 0x20, 0x00], 5, LzfError::WrongLength),
        (&[0x00, b'a'], usize::MAX, LzfError::WrongLength),
    ];
    for (stream, length, error) in cases {
        assert_eq!(decompress(stream, length), Err(error), "{stream:?}");
    }
    assert_eq!(decompress(&[], 0), Ok(Vec::new()));
    assert_eq!(decompress(&[], 1), Err(LzfError::WrongLength));
}

#[test]
fn the_most_dense_stream_is_accepted() {
    let mut stream = vec![0x00, b'x'];
    for _ in 0..100 {
        stream.extend_from_slice(&[0xe0, 0xff, 0x00]);
    }
    let length = 1 + 100 * 264;
    assert!(length <= stream.len() * MAX_EXPANSION);
    assert_eq!(decompress(&stream, length), Ok(vec![b'x'; length]));
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(number in 1u64.., max_length in 1usize..12_000) {
        let (input, limit) = recorded_input(number, max_length);
        let mut out = Vec::new();
        if Compressor::new().compress(&input, &mut out, limit) {
            prop_assert!(out.len() <= limit);
            prop_assert_eq!(lzf::decompress(&out, input.len()).expect("our output is valid"), input.clone());
            prop_assert_eq!(decompress(&out, input.len()), Ok(input));
        }
    }

    #[test]
    fn damaged_streams_get_the_verdict_of_the_oracle(
        number in 1u64.., damage in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..6), cut in any::<u16>(),
    ) {
        let (input, _) = recorded_input(number, 600);
        let mut stream = Vec::new();
        if !Compressor::new().compress(&input, &mut stream, input.len()) {
            return Ok(());
        }
        for (at, byte) in damage {
            let length = stream.len();
            stream[usize::from(at) % length] = byte;
        }
        stream.truncate(usize::from(cut) % (2 * stream.len()));
        let oracle = lzf::decompress(&stream, input.len()).ok().filter(|out| out.len() == input.len());
        prop_assert_eq!(decompress(&stream, input.len()).ok(), oracle);
    }

    #[test]
    fn arbitrary_streams_never_panic(stream in any::<Vec<u8>>(), length in 0usize..3000) {
        let oracle = lzf::decompress(&stream, length).ok().filter(|out| out.len() == length);
        let ours = decompress(&stream, length).ok();
        // The oracle calls an empty result an error.
        prop_assert!(ours == oracle || ours.is_some_and(|out| out.is_empty()));
    }
}
