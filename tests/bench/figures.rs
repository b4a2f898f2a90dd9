//! The figures: each is measured by one function, and makes up one or more rows.

use crate::{Result, bench::Bench, report::Sample};

mod accepting;
mod delivering;
mod latency;
mod resources;
mod servers;
mod starting;
mod writing;

/// Measures a figure in one run.
pub(crate) type Figure = fn(&mut Bench) -> Result<Vec<Sample>>;

/// Their names select them on the command line.
pub(crate) const ALL: &[(&str, Figure)] = &[
    ("send-1", accepting::send_1),
    ("send-8", accepting::send_8),
    ("send-64", accepting::send_64),
    ("send-256", accepting::send_256),
    ("ids", accepting::ids),
    ("drain", delivering::drain),
    ("mixed", delivering::mixed),
    ("beside", delivering::beside),
    ("dead", delivering::dead),
    ("latency", latency::latency),
    ("bytes", writing::bytes),
    ("memory", resources::memory),
    ("idle", resources::idle),
    ("binary", resources::binary),
    ("start", starting::start),
    ("crash", starting::crash),
    ("mysql", servers::mysql),
    ("postgres", servers::postgres),
];
