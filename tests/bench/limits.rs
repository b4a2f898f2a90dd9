//! Measures the server against its limits: `cargo bench --bench limits -- [--json] [--quick] [FIGURE…]`.
//!
//! Everything is compared with something that is measured in the same run, since
//! machines and disks differ. Runs are interleaved: each measures every figure
//! once. Nothing leaves the loopback interface, and everything is bounded.

use std::{
    error::Error,
    fs,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use bench::{Bench, Scale};
use report::Report;

mod bench;
mod figures;
mod load;
mod prepared;
mod proc;
mod program;
mod report;
mod server;
mod sink;
mod wire;

/// Whatever goes wrong ends the bench, so any error will do.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "cargo bench --bench limits -- [--json] [--quick] [--runs N] [FIGURE…]";

/// The command line.
#[derive(Default)]
struct Options {
    json: bool,
    quick: bool,
    runs: Option<usize>,
    /// Parts of the names of the figures to measure; none means all.
    figures: Vec<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match program::run(&arguments) {
        Some(done) => done,
        // Only `cargo bench` says so: tests never run this.
        None if !arguments.iter().any(|argument| argument == "--bench") => {
            eprintln!("run it by {USAGE}");
            return ExitCode::SUCCESS;
        }
        None => options(&arguments).and_then(measure),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--json" => options.json = true,
            "--quick" => options.quick = true,
            "--runs" => options.runs = Some(arguments.next().ok_or(USAGE)?.parse()?),
            name if figures::ALL.iter().any(|(known, _)| known.contains(name)) => {
                options.figures.push(name.into());
            }
            _ => {
                let names: Vec<&str> = figures::ALL.iter().map(|(name, _)| *name).collect();
                return Err(format!("{USAGE}\nfigures: {}", names.join(" ")).into());
            }
        }
    }
    Ok(options)
}

fn measure(options: Options) -> Result<()> {
    let mut scale = if options.quick { Scale::QUICK } else { Scale::FULL };
    scale.runs = options.runs.unwrap_or(scale.runs);
    let mut bench = Bench::new(scale)?;
    let machine = machine(&bench)?;
    let mut report = Report::default();
    for run in 0..bench.scale.runs {
        bench.begin_run(run);
        for (name, figure) in figures::ALL {
            if options.figures.is_empty() || options.figures.iter().any(|part| name.contains(part.as_str())) {
                eprintln!("run {} of {}: {name}", run + 1, bench.scale.runs);
                report.add(figure(&mut bench).map_err(|error| format!("{name}: {error}"))?);
            }
        }
    }
    if options.json {
        println!("{:#}", report.json(&machine));
    } else {
        for (name, value) in &machine {
            println!("{name}: {value}");
        }
        println!("\n{}", report.table());
    }
    Ok(())
}

/// What the figures depend on.
fn machine(bench: &Bench) -> Result<Vec<(&'static str, String)>> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("\t: unknown");
    let cores = std::thread::available_parallelism()?;
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let fsync = bench.fsync()?;
    Ok(vec![
        ("date (Unix time)", since_epoch.as_secs().to_string()),
        ("processor", format!("{cores} × {}", cpu.trim_start_matches(['\t', ' ', ':']))),
        ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("file system", bench.disk.file_system.clone()),
        ("one fsync, p50", format!("{:.0} us", fsync * 1e6)),
        ("load before", read("/proc/loadavg").trim().to_owned()),
        ("runs", bench.scale.runs.to_string()),
    ])
}
