//! Parser tests: every split of a request gives the same result, and no input panics.

use super::{Limits, Parsed, ProtocolError, RequestParser, split_inline};
use crate::resp::args::{Args, Span};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

const LIMITS: Limits = Limits { bulk_max_bytes: 512 << 20, authenticated: true };

fn encode(args: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn parse_all(bytes: &[u8], limits: Limits) -> (Parsed, Vec<Vec<u8>>) {
    let mut parser = RequestParser::default();
    let mut spans: Vec<Span> = Vec::new();
    let parsed = parser.parse(bytes, &mut spans, limits);
    let args = Args::new(bytes, &spans).iter().map(<[u8]>::to_vec).collect();
    (parsed, args)
}

fn error_text(bytes: &[u8], limits: Limits) -> String {
    match parse_all(bytes, limits).0 {
        Parsed::Error(error) => error.text(),
        other => panic!("expected an error, got {other:?}"),
    }
}

#[test]
fn protocol_errors_have_redis_texts() {
    assert_eq!(error_text(b"*3000000000\r\n", LIMITS), "invalid multibulk length");
    assert_eq!(error_text(b"*x\r\n", LIMITS), "invalid multibulk length");
    assert_eq!(error_text(b"*1\r\nfoo\r\n", LIMITS), "expected '$', got 'f'");
    assert_eq!(error_text(b"*1\r\n$-5\r\n", LIMITS), "invalid bulk length");
    assert_eq!(error_text(b"*1\r\n$2000000000\r\n", LIMITS), "invalid bulk length");
    let closed = Limits { authenticated: false, ..LIMITS };
    assert_eq!(error_text(b"*11\r\n", closed), "unauthenticated multibulk length");
    assert_eq!(error_text(b"*1\r\n$16385\r\n", closed), "unauthenticated bulk length");
    let long = [b"*".to_vec(), vec![b'1'; 70_000]].concat();
    assert_eq!(error_text(&long, LIMITS), "too big mbulk count string");
    let long = [b"*1\r\n$".to_vec(), vec![b'1'; 70_000]].concat();
    assert_eq!(error_text(&long, LIMITS), "too big bulk count string");
}

#[test]
fn empty_requests_are_skipped() {
    assert_eq!(parse_all(b"*0\r\n", LIMITS).0, Parsed::Empty);
    assert_eq!(parse_all(b"*-1\r\n", LIMITS).0, Parsed::Empty);
}

#[test]
fn inline_quotes_and_escapes() {
    let split = split_inline;
    assert_eq!(split(b"SET  a \"b\\x41\\n\""), Ok(vec![b"SET".to_vec(), b"a".to_vec(), b"bA\n".to_vec()]));
    assert_eq!(split(b"'it\\'s' ''"), Ok(vec![b"it's".to_vec(), vec![]]));
    assert_eq!(split(b"\"open"), Err(ProtocolError::UnbalancedQuotes));
    assert_eq!(split(b"\"a\"b"), Err(ProtocolError::UnbalancedQuotes));
    assert_eq!(split(b"   "), Ok(vec![]));
}

#[test]
fn an_endless_inline_line_is_refused() {
    let mut parser = RequestParser::default();
    let line = vec![b'a'; 70_000];
    assert_eq!(parser.take_inline_line(&line), Err(Parsed::Error(ProtocolError::TooBigInline)));
}

proptest! {
    #[test]
    fn every_split_gives_the_same_request(
        args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = encode(&args);
        let cut = cut.index(bytes.len());
        let mut parser = RequestParser::default();
        let mut spans = Vec::new();
        prop_assert_eq!(parser.parse(&bytes[..cut], &mut spans, LIMITS), Parsed::Incomplete);
        prop_assert_eq!(parser.parse(&bytes, &mut spans, LIMITS), Parsed::Request);
        prop_assert_eq!(parser.position(), bytes.len());
        let got: Vec<Vec<u8>> = Args::new(&bytes, &spans).iter().map(<[u8]>::to_vec).collect();
        prop_assert_eq!(got, args);
    }

    #[test]
    fn no_input_panics(bytes in prop::collection::vec(prop::sample::select(b"*$0123456789-\r\nab'\"\\x ".to_vec()), 0..200)) {
        let (parsed, args) = parse_all(&bytes, LIMITS);
        if parsed == Parsed::Request {
            prop_assert!(!args.is_empty());
        }
        let _ = split_inline(&bytes);
    }
}
