//! What was measured, as a table and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// What a value counts.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    PerSecond,
    Seconds,
    Bytes,
    Cores,
    Times,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "1/s",
            Self::Seconds => "s",
            Self::Bytes => "bytes",
            Self::Cores => "cores",
            Self::Times => "times",
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{value:.0}/s"),
            Self::Seconds if value < 1e-3 => format!("{:.0} us", value * 1e6),
            Self::Seconds => format!("{:.2} ms", value * 1e3),
            Self::Bytes if value < 1024.0 * 1024.0 => format!("{:.2} KiB", value / 1024.0),
            Self::Bytes => format!("{:.2} MiB", value / (1024.0 * 1024.0)),
            Self::Cores => format!("{value:.2} cores"),
            Self::Times => format!("{value:.0}"),
        }
    }
}

/// What a figure must keep: its ratio if it is compared with something, else its value.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    None,
    AtLeast(f64),
    AtMost(f64),
}

impl Limit {
    fn is_kept(self, value: f64) -> bool {
        match self {
            Self::None => true,
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

/// One line of the report.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    /// What it is compared with.
    pub(crate) against: Option<&'static str>,
    pub(crate) limit: Limit,
}

/// One value of a row, with what it is compared with in the same run.
pub(crate) struct Sample {
    pub(crate) row: &'static Row,
    pub(crate) value: f64,
    pub(crate) against: Option<f64>,
}

impl Row {
    pub(crate) fn is(&'static self, value: f64) -> Sample {
        Sample { row: self, value, against: None }
    }

    pub(crate) fn is_against(&'static self, value: f64, against: f64) -> Sample {
        Sample { row: self, value, against: Some(against) }
    }
}

/// All samples of all runs.
#[derive(Default)]
pub(crate) struct Report(Vec<Sample>);

/// The values of a row, sorted.
struct Spread(Vec<f64>);

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self(values))
    }

    fn median(&self) -> f64 {
        let half = self.0.len() / 2;
        if self.0.len().is_multiple_of(2) { (self.0[half - 1] + self.0[half]) / 2.0 } else { self.0[half] }
    }

    /// The median, with the smallest and the largest one beside it.
    fn show(&self, show: impl Fn(f64) -> String) -> String {
        let (first, last) = (self.0[0], self.0[self.0.len() - 1]);
        match self.0.len() {
            1 => show(first),
            _ => format!("{} ({} – {})", show(self.median()), show(first), show(last)),
        }
    }

    fn json(&self) -> Value {
        json!({"median": self.median(), "min": self.0[0], "max": self.0[self.0.len() - 1]})
    }
}

impl Report {
    pub(crate) fn add(&mut self, samples: Vec<Sample>) {
        self.0.extend(samples);
    }

    /// Each row that was measured, in the order of the first run.
    fn rows(&self) -> Vec<&'static Row> {
        let mut rows: Vec<&'static Row> = Vec::new();
        for Sample { row, .. } in &self.0 {
            if !rows.iter().any(|known| std::ptr::eq(*known, *row)) {
                rows.push(row);
            }
        }
        rows
    }

    fn samples(&self, row: &'static Row) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| std::ptr::eq(sample.row, row))
    }

    /// Values, what they are compared with, and the ratios of each run.
    fn spreads(&self, row: &'static Row) -> (Option<Spread>, Option<Spread>, Option<Spread>) {
        (
            Spread::of(self.samples(row).map(|sample| sample.value)),
            Spread::of(self.samples(row).filter_map(|sample| sample.against)),
            Spread::of(
                self.samples(row).filter_map(|sample| sample.against.map(|against| sample.value / against)),
            ),
        )
    }

    /// A table in Markdown.
    pub(crate) fn table(&self) -> String {
        let mut table =
            String::from("| figure | measured | against | ratio | must be | |\n|---|---|---|---|---|---|\n");
        for row in self.rows() {
            let (values, against, ratios) = self.spreads(row);
            let Some(values) = values else { continue };
            let judged = ratios.as_ref().unwrap_or(&values).median();
            let limit = |value: f64| match row.against {
                Some(_) => format!("{value:.2}"),
                None => row.unit.show(value),
            };
            let must = match row.limit {
                Limit::None => String::new(),
                Limit::AtLeast(least) => format!("≥ {}", limit(least)),
                Limit::AtMost(most) => format!("≤ {}", limit(most)),
            };
            let verdict = match row.limit {
                Limit::None => "",
                limit if limit.is_kept(judged) => "kept",
                _ => "MISSED",
            };
            let against = against.map(|against| {
                format!("{}: {}", row.against.unwrap_or_default(), row.unit.show(against.median()))
            });
            let ratios = ratios.map(|ratios| ratios.show(|ratio| format!("{ratio:.2}")));
            let _ = writeln!(
                table,
                "| {} | {} | {} | {} | {must} | {verdict} |",
                row.name,
                values.show(|value| row.unit.show(value)),
                against.unwrap_or_default(),
                ratios.unwrap_or_default(),
            );
        }
        table
    }

    pub(crate) fn json(&self, machine: &[(&str, String)]) -> Value {
        let machine: Value = machine.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let figures: Vec<Value> = self
            .rows()
            .into_iter()
            .filter_map(|row| {
                let (values, against, ratios) = self.spreads(row);
                let values = values?;
                let judged = ratios.as_ref().unwrap_or(&values).median();
                Some(json!({
                    "figure": row.name,
                    "unit": row.unit.name(),
                    "measured": values.json(),
                    "against": row.against,
                    "against_measured": against.map(|spread| spread.json()),
                    "ratio": ratios.map(|spread| spread.json()),
                    "at_least": if let Limit::AtLeast(limit) = row.limit { Some(limit) } else { None },
                    "at_most": if let Limit::AtMost(limit) = row.limit { Some(limit) } else { None },
                    "kept": row.limit.is_kept(judged),
                    "runs": self.samples(row).map(|sample| sample.value).collect::<Vec<f64>>(),
                }))
            })
            .collect();
        json!({"machine": machine, "figures": figures})
    }
}
