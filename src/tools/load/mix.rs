//! Which command comes next, and its bytes.

use std::io::Write;

use fastrand::Rng;

use crate::tools::load::keys::Keys;
use crate::tools::load::options::Options;

/// A command template with its weight in the mix.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighted {
    pub weight: f64,
    pub words: Vec<Word>,
}

/// Commands sent before the run, as fast as the server takes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepare {
    pub count: u64,
    pub words: Vec<Word>,
}

/// One argument of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    Literal(Vec<u8>),
    Key,
    Counter,
    Value,
    /// A prefix, then the number of the command within its `--prepare`.
    Index(String),
    /// A key that was never used: numbers from `--keys` on.
    New,
}

const SET: &str = "SET {key} {value}";
const GET: &str = "GET {key}";
const INCR: &str = "INCR {counter}";

impl Weighted {
    fn new(weight: f64, template: &str) -> Result<Weighted, String> {
        if !(weight.is_finite() && weight >= 0.0) {
            return Err(format!("a weight must not be negative: {weight}"));
        }
        let word = |word: &str| match word {
            "{key}" => Word::Key,
            "{counter}" => Word::Counter,
            "{value}" => Word::Value,
            "{new}" => Word::New,
            other => match other.strip_suffix("{index}") {
                Some(prefix) => Word::Index(prefix.to_owned()),
                None => Word::Literal(other.as_bytes().to_vec()),
            },
        };
        let words: Vec<Word> = template.split_whitespace().map(word).collect();
        if words.is_empty() { Err("an empty command".to_owned()) } else { Ok(Weighted { weight, words }) }
    }

    /// SET with share `writes`, GET otherwise.
    pub fn set_and_get(writes: f64) -> Vec<Weighted> {
        let rows = [(writes, SET), (1.0 - writes, GET)];
        rows.into_iter().filter_map(|(weight, template)| Weighted::new(weight, template).ok()).collect()
    }

    /// `set=1,get=9,incr=2`
    pub fn parse_mix(text: &str) -> Result<Vec<Weighted>, String> {
        let parse = |part: &str| {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let template = match name {
                "set" => SET,
                "get" => GET,
                "incr" => INCR,
                _ => {
                    return Err(format!("--mix knows set, get and incr, not {name:?}; others by --template"));
                }
            };
            Weighted::new(weight.parse().map_err(|_| format!("{weight:?} is no weight"))?, template)
        };
        text.split(',').map(parse).collect()
    }

    /// The same template whatever its weight: `1000=SADD set m:{index}` is sent 1000 times.
    pub fn parse_prepare(text: &str) -> Result<Prepare, String> {
        let (count, template) = text.split_once('=').ok_or("--prepare takes COUNT=COMMAND")?;
        let count = count.parse().map_err(|_| format!("--prepare: {count:?} is no count"))?;
        Ok(Prepare { count, words: Weighted::new(1.0, template)?.words })
    }

    /// `3=HSET {key} f {value}`; the weight may be left out.
    pub fn parse_template(text: &str) -> Result<Weighted, String> {
        match text.split_once('=').and_then(|(weight, rest)| Some((weight.parse().ok()?, rest))) {
            Some((weight, template)) => Weighted::new(weight, template),
            None => Weighted::new(1.0, text),
        }
    }
}

/// The stream of requests.
pub struct Requests {
    rows: Vec<Weighted>,
    weight_total: f64,
    keys: Keys,
    rng: Rng,
    /// Random bytes, twice the length of a value: each value is a window of it, so that no two in a row agree.
    pool: Vec<u8>,
    value_bytes: usize,
    key: Vec<u8>,
    /// Number of the next `{new}` key.
    next_new: u64,
}

impl Requests {
    pub fn new(options: &Options) -> Result<Requests, String> {
        let weight_total = options.mix.iter().map(|row| row.weight).sum();
        if weight_total <= 0.0 {
            return Err("the weights of the mix are all 0".to_owned());
        }
        let mut rng = Rng::with_seed(options.seed);
        let pool = (0..2 * options.value_bytes + 1).map(|_| rng.u8(..)).collect();
        let keys = Keys::new(options.keys, options.skew, options.seed.wrapping_add(1));
        let rows = options.mix.clone();
        Ok(Requests {
            rows,
            weight_total,
            keys,
            rng,
            pool,
            value_bytes: options.value_bytes,
            key: Vec::new(),
            next_new: options.keys,
        })
    }

    /// Appends the bytes of the next request.
    pub fn next(&mut self, out: &mut Vec<u8>) {
        let mut left = self.rng.f64() * self.weight_total;
        let chosen = self.rows.iter().position(|row| {
            left -= row.weight;
            left < 0.0
        });
        // Rounding may leave a rest behind the last row.
        let row = chosen.unwrap_or(self.rows.len() - 1);
        let key = self.keys.draw();
        let words = std::mem::take(&mut self.rows[row].words);
        self.write_words(&words, key, out);
        self.rows[row].words = words;
    }

    /// Appends command number `index` of a preparation.
    pub fn prepare(&mut self, prepare: &Prepare, index: u64, out: &mut Vec<u8>) {
        self.write_words(&prepare.words, index, out);
    }

    fn write_words(&mut self, words: &[Word], key: u64, out: &mut Vec<u8>) {
        write_header(out, b'*', words.len());
        for word in words {
            match word {
                Word::Literal(bytes) => write_bulk(out, bytes),
                Word::Key => self.write_key(out, "key:", key),
                Word::Counter => self.write_key(out, "counter:", key),
                Word::Value => self.write_value(out),
                Word::Index(prefix) => self.write_key(out, prefix, key),
                Word::New => {
                    self.write_key(out, "key:", self.next_new);
                    self.next_new += 1;
                }
            }
        }
    }

    /// Appends a SET of the key with this number (for --fill).
    pub fn fill(&mut self, key: u64, out: &mut Vec<u8>) {
        write_header(out, b'*', 3);
        write_bulk(out, b"SET");
        self.write_key(out, "key:", key);
        self.write_value(out);
    }

    fn write_key(&mut self, out: &mut Vec<u8>, prefix: &str, key: u64) {
        self.key.clear();
        write!(self.key, "{prefix}{key:012}").expect("writing to memory cannot fail");
        write_bulk(out, &self.key);
    }

    fn write_value(&mut self, out: &mut Vec<u8>) {
        let start = self.rng.usize(..=self.value_bytes);
        write_bulk(out, &self.pool[start..start + self.value_bytes]);
    }
}

/// Appends an inline-style command line as bulks (words split at blanks).
pub fn write_command(out: &mut Vec<u8>, line: &str) {
    write_header(out, b'*', line.split_whitespace().count());
    for word in line.split_whitespace() {
        write_bulk(out, word.as_bytes());
    }
}

fn write_header(out: &mut Vec<u8>, kind: u8, count: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    write_header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}
