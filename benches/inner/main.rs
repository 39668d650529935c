//! What the inner parts cost, each by itself.
//!
//! `cargo bench --bench inner` times them (criterion). `… --bench inner -- --repeat NAME TIMES` does one of them so many
//! times and nothing else: `benches/instructions` counts instructions with it, under valgrind, and compares them with
//! the stored baseline.

mod cases;

use std::process::ExitCode;

use cases::CASES;
use criterion::Criterion;

fn main() -> ExitCode {
    // cargo adds flags of its own
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["--names", ..] => CASES.iter().for_each(|case| println!("{}", case.name)),
        ["--repeat", name, times, ..] => {
            let case = CASES.iter().find(|case| case.name == name);
            let (Some(case), Ok(times)) = (case, times.parse::<u32>()) else {
                eprintln!("--repeat NAME TIMES, with a name of --names");
                return ExitCode::from(2);
            };
            let mut once = (case.start)();
            (0..times).for_each(|_| once());
        }
        _ => {
            let mut criterion = Criterion::default().configure_from_args();
            for case in CASES {
                let mut once = (case.start)();
                criterion.bench_function(case.name, |bencher| bencher.iter(&mut once));
            }
            criterion.final_summary();
        }
    }
    ExitCode::SUCCESS
}
