//! The table: minimum, median and maximum of each server, and of the ratio of each round.

use crate::options::Options;

const NAME_COLUMNS: usize = 62;

/// Which direction is good; ratios are turned so that above 1 Tine is better.
#[derive(Debug, Clone, Copy)]
pub enum Better {
    More,
    Less,
}

/// Figures of one row, round by round: Tine's, then the other server's.
#[derive(Debug, Default)]
pub struct Samples {
    of: [Vec<f64>; 2],
}

impl Samples {
    pub fn push(&mut self, which: usize, figure: f64) {
        self.of[which].push(figure);
    }

    fn ratios(&self, better: Better) -> Vec<f64> {
        let pairs = self.of[0].iter().zip(&self.of[1]);
        pairs
            .map(|(tine, other)| match better {
                Better::More => tine / other,
                Better::Less => other / tine,
            })
            .collect()
    }
}

/// Prints rows as they come and keeps what went wrong for the end.
#[derive(Debug)]
pub struct Report {
    problems: Vec<String>,
    tine: String,
}

impl Report {
    pub fn new(options: &Options) -> Report {
        let rule = "-".repeat(NAME_COLUMNS + 3 * 25);
        println!("\n{:NAME_COLUMNS$} {:>24} {:>24} {:>24}", "", "tine", "other", "ratio");
        println!("{rule}");
        Report { problems: Vec::new(), tine: options.tine.clone() }
    }

    pub fn row(&mut self, name: &str, samples: &Samples, better: Better) {
        let [tine, other] = &samples.of;
        let ratios = samples.ratios(better);
        println!("{name:NAME_COLUMNS$} {:>24} {:>24} {:>24}", spread(tine), spread(other), spread(&ratios));
    }

    /// Notes why a figure is missing, once.
    pub fn problem(&mut self, row: &str, program: &str, problem: &str) {
        let which = if program == self.tine { "tine" } else { "other" };
        let line = format!("{row}: {which}: {problem}");
        if !self.problems.contains(&line) {
            self.problems.push(line);
        }
    }

    pub fn print_problems(&self) {
        for line in &self.problems {
            println!("not measured: {line}");
        }
    }
}

/// `minimum / median / maximum`, or `-` without figures.
fn spread(figures: &[f64]) -> String {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else { return "-".to_owned() };
    let middle = sorted.len() / 2;
    let median =
        if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
    if sorted.len() == 1 {
        short(median)
    } else {
        format!("{} / {} / {}", short(*first), short(median), short(*last))
    }
}

/// Three or more significant digits.
fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}
