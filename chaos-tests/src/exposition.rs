//! What `/metrics` says, read as strictly as Prometheus reads its text format.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;

/// The metrics of one answer by their names.
pub type Metrics = BTreeMap<String, Metric>;

/// One metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// Values by the whole name of the sample, labels included.
    pub samples: BTreeMap<String, f64>,
}

/// Reads all of an answer; the first line that is wrong is the error.
pub fn parse(text: &str) -> anyhow::Result<Metrics> {
    anyhow::ensure!(text.ends_with('\n'), "the last line does not end: {text}");
    let mut metrics = Metrics::new();
    let mut helped = BTreeSet::new();
    for line in text.lines() {
        read(line, &mut metrics, &mut helped).with_context(|| line.to_owned())?;
    }
    for (name, metric) in &metrics {
        anyhow::ensure!(!metric.samples.is_empty(), "{name} has no sample");
        if metric.kind == "histogram" {
            adds_up(name, metric).with_context(|| format!("{metric:?}"))?;
        }
    }
    Ok(metrics)
}

/// What the documentation promises: names with their types.
pub fn documented() -> anyhow::Result<BTreeMap<String, String>> {
    let document = include_str!("../../docs/http.md");
    let list = document
        .split_once("<!-- metrics: begin")
        .and_then(|(_, rest)| rest.split_once("<!-- metrics: end"))
        .context("docs/http.md has no list of metrics")?;
    let rows = list.0.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (name, rest) = row.split_once("` | ").with_context(|| row.to_owned())?;
        let (kind, _) = rest.split_once(" | ").with_context(|| row.to_owned())?;
        Ok((name.to_owned(), kind.to_owned()))
    })
    .collect()
}

fn read(line: &str, metrics: &mut Metrics, helped: &mut BTreeSet<String>) -> anyhow::Result<()> {
    if let Some(help) = line.strip_prefix("# HELP ") {
        let (name, _) = help.split_once(' ').context("no text")?;
        well_named(name)?;
        anyhow::ensure!(!metrics.contains_key(name), "help after the type");
        anyhow::ensure!(helped.insert(name.to_owned()), "a second help");
        return Ok(());
    }
    if let Some(kind) = line.strip_prefix("# TYPE ") {
        let (name, kind) = kind.split_once(' ').context("no type")?;
        well_named(name)?;
        let known = ["counter", "gauge", "histogram"].contains(&kind);
        anyhow::ensure!(known, "type {kind}");
        let metric = Metric {
            kind: kind.to_owned(),
            samples: BTreeMap::new(),
        };
        let before = metrics.insert(name.to_owned(), metric);
        anyhow::ensure!(before.is_none(), "a second type");
        return Ok(());
    }
    let (sample, value) = line.rsplit_once(' ').context("no value")?;
    let value = value.parse::<f64>()?;
    let name = sample.split('{').next().unwrap_or_default();
    well_named(name)?;
    labelled(sample.strip_prefix(name).unwrap_or_default())?;
    let metric = of(name, metrics).context("no type before it")?;
    anyhow::ensure!(value >= 0.0, "below zero or no number");
    let before = metric.samples.insert(sample.to_owned(), value);
    anyhow::ensure!(before.is_none(), "a second value");
    Ok(())
}

/// The samples of a histogram have names of their own.
fn of<'a>(sample: &str, metrics: &'a mut Metrics) -> Option<&'a mut Metric> {
    let parts = ["_bucket", "_sum", "_count"];
    let base = parts.iter().find_map(|part| sample.strip_suffix(part));
    match base.filter(|base| metrics.get(*base).is_some_and(|m| m.kind == "histogram")) {
        Some(base) => metrics.get_mut(base),
        None => metrics.get_mut(sample).filter(|m| m.kind != "histogram"),
    }
}

fn well_named(name: &str) -> anyhow::Result<()> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    anyhow::ensure!(begins && name.chars().all(fits), "the name `{name}`");
    Ok(())
}

/// `{name="value"}` or nothing. No value of ours has a quote or a comma in it.
fn labelled(labels: &str) -> anyhow::Result<()> {
    if labels.is_empty() {
        return Ok(());
    }
    let inner = labels.strip_prefix('{').and_then(|l| l.strip_suffix('}'));
    for pair in inner.context("no brackets")?.split(',') {
        let (name, value) = pair.split_once('=').context("no label")?;
        well_named(name)?;
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        anyhow::ensure!(
            value.is_some_and(|v| !v.contains('"')),
            "the label `{pair}`"
        );
    }
    Ok(())
}

/// No bucket has less than the one before it, and the last has all.
fn adds_up(name: &str, metric: &Metric) -> anyhow::Result<()> {
    let bucket = format!("{name}_bucket{{le=\"");
    let mut buckets = Vec::new();
    for (sample, value) in &metric.samples {
        if let Some(bound) = sample.strip_prefix(&bucket) {
            buckets.push((bound.trim_end_matches("\"}").parse::<f64>()?, *value));
        }
    }
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    let grows = buckets.is_sorted_by(|one, other| one.0 < other.0 && one.1 <= other.1);
    anyhow::ensure!(grows, "the buckets do not grow");
    let count = metric.samples.get(&format!("{name}_count"));
    let all = buckets.last().filter(|(bound, _)| bound.is_infinite());
    anyhow::ensure!(count.is_some() && all.map(|(_, value)| value) == count);
    anyhow::ensure!(
        metric.samples.contains_key(&format!("{name}_sum")),
        "no sum"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# HELP pgha_a What it is.\n# TYPE pgha_a gauge\npgha_a 1\n\
         # TYPE pgha_t histogram\npgha_t_bucket{le=\"0.001\"} 2\npgha_t_bucket{le=\"+Inf\"} 3\n\
         pgha_t_sum 0.5\npgha_t_count 3\n";

    #[test]
    fn every_line_is_read() -> anyhow::Result<()> {
        let metrics = parse(GOOD)?;
        let kinds: Vec<_> = metrics
            .values()
            .map(|metric| metric.kind.as_str())
            .collect();
        assert_eq!(kinds, ["gauge", "histogram"]);
        assert_eq!(metrics["pgha_t"].samples["pgha_t_bucket{le=\"+Inf\"}"], 3.0);
        Ok(())
    }

    #[test]
    fn what_prometheus_does_not_read_is_wrong() {
        for (from, to) in [
            ("pgha_a 1", "pgha_a one"),
            ("pgha_a 1", "pgha_a"),
            ("pgha_a 1", "pgha_b 1"),
            ("pgha_a 1", "pgha_a 1\npgha_a 2"),
            ("pgha_a 1\n", ""),
            ("pgha_a 1", "pgha_a -1"),
            ("gauge", "number"),
            ("# TYPE pgha_a gauge\n", ""),
            ("# HELP", "# HELPS"),
            ("\"0.001\"", "0.001"),
            ("\"0.001\"", "\"0.001"),
            ("} 2", "} 4"),
            ("+Inf", "2"),
            ("pgha_t_sum 0.5\n", ""),
            ("count 3\n", "count 3"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            assert!(parse(&text).is_err(), "{text}");
        }
    }
}
