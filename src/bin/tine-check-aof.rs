//! Checks and repairs append-only files; works under the name `redis-check-aof` too.
#![deny(unsafe_code)]

fn main() {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let (mut input, mut out) = (std::io::stdin().lock(), std::io::stdout().lock());
    std::process::exit(tine::tools::check_aof::run(&arguments, &mut input, &mut out));
}
