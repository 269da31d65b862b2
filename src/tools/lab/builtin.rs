//! The experiments that come with the program.

/// A built-in experiment: name, what it is for, text.
pub struct Builtin {
    pub name: &'static str,
    pub about: &'static str,
    pub text: &'static str,
}

/// All of them; the first is what `tine-lab run` does without a name.
pub const BUILTINS: [Builtin; 7] = [
    Builtin {
        name: "default",
        about: "size, write rate, pages and skew in five minutes, beside redis-server if it is there",
        text: include_str!("experiments/default.lab"),
    },
    Builtin {
        name: "quick",
        about: "one small data set in half a minute",
        text: include_str!("experiments/quick.lab"),
    },
    Builtin {
        name: "size",
        about: "the fork pause against the data size",
        text: include_str!("experiments/size.lab"),
    },
    Builtin {
        name: "rate",
        about: "copied memory against the write rate",
        text: include_str!("experiments/rate.lab"),
    },
    Builtin {
        name: "pages",
        about: "small and huge pages, three saves each",
        text: include_str!("experiments/pages.lab"),
    },
    Builtin {
        name: "skew",
        about: "copied memory when some keys are written more often than others",
        text: include_str!("experiments/skew.lab"),
    },
    Builtin {
        name: "kinds",
        about: "snapshot, rewrite to commands, rewrite to an RDB",
        text: include_str!("experiments/kinds.lab"),
    },
];

/// The experiment of this name.
pub fn find(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|builtin| builtin.name == name)
}

#[cfg(test)]
mod tests {
    use super::BUILTINS;
    use crate::tools::lab::experiment::parse;

    #[test]
    fn every_built_in_experiment_can_be_read() {
        for builtin in &BUILTINS {
            let read =
                parse(builtin.text, &[], &|_| true).unwrap_or_else(|e| panic!("{}: {e}", builtin.name));
            assert!(
                read.chapters.iter().all(|chapter| chapter.cells.len() >= 2),
                "{}: nothing to compare",
                builtin.name
            );
        }
    }
}
