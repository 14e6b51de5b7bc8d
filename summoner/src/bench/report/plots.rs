//! The pictures of a report: how latencies are distributed, what they do as instances become more, and what holding is
//! worth.

use std::fs;
use std::path::Path;

use super::chart::{Axis, Chart, Scale, Series, Style, colour};
use super::goals::row;
use super::{Report, ReportError, file};
use crate::bench::holding;
use crate::bench::schedule::Kind;

/// Rows in the picture of distributions: the name in it, its colour and style, which is broken if it is not ours.
const DISTRIBUTIONS: [(&str, &str, &str, Style); 10] = [
    (row::COLD, "cold", colour::BLUE, Style::Line),
    (row::COLD_POOLED, "cold, new shell", colour::SKY, Style::Line),
    (row::COLD_PLAIN, "cold, plain boot", colour::GREEN, Style::Line),
    (row::WARM, "warm", colour::ORANGE, Style::Line),
    // Of runs against a deployment.
    (Kind::Held.label(), "cold, without a query", colour::SKY, Style::Line),
    (Kind::Any.label(), "requests", colour::BLUE, Style::Line),
    (row::PROCESS, "process: fork + exec", colour::RED, Style::Dashed),
    (row::ACTIVATION, "socket activation", colour::PINK, Style::Dashed),
    (row::CRUN, "container: crun", colour::OLIVE, Style::Dashed),
    (row::NO_HOLD, "cold, SYN not held", colour::GREY, Style::Dashed),
];
/// Rows in the picture of what holding is worth.
const HOLDING: [(&str, &str, &str, Style); 3] = [
    (holding::row::HANDSHAKE, "mode `handshake`", colour::BLUE, Style::Line),
    (holding::row::SYN, "mode `syn`", colour::ORANGE, Style::Line),
    (holding::row::NOT_HELD, "nothing is held", colour::GREY, Style::Dashed),
];
/// Series in the picture of running instances, and the colours of their dots and of the line through them.
const RUNNING: [(&str, &str, &str, &str); 3] = [
    (row::CREATE, "cold: one more instance", colour::SKY, colour::BLUE),
    (row::WARM_AMONG, "warm: one of them", colour::ORANGE, colour::RED),
    (row::CREATE_PROCESS, "process, at the same time", "#c8c8c8", colour::GREY),
];
/// Points that a line through a cloud is the median of, if there are five times as many.
const WINDOW: usize = 51;

/// Writes the pictures that a report has figures for into `folder`; their paths.
///
/// # Errors
/// When a file cannot be written.
pub fn write(report: &Report, folder: &Path) -> Result<Vec<std::path::PathBuf>, ReportError> {
    let charts = [
        ("latency.svg", distributions(report)),
        ("instances.svg", running(report)),
        ("holding.svg", first_bytes(report)),
    ];
    fs::create_dir_all(folder).map_err(file("make the folder", folder))?;
    let mut written = Vec::new();
    for (name, chart) in charts {
        let Some(chart) = chart else { continue };
        let path = folder.join(name);
        fs::write(&path, chart.svg()).map_err(file("write", &path))?;
        written.push(path);
    }
    Ok(written)
}

/// Which machine, in one line.
fn subtitle(report: &Report) -> String {
    let environment = &report.environment;
    let kvm = environment.kvm.split(':').next().unwrap_or_default();
    format!(
        "summoner {}{} on {} x {}, {}, KVM: {kvm}",
        environment.version,
        if environment.optimised { "" } else { " (NOT OPTIMISED)" },
        environment.cores,
        environment.processor,
        environment.kernel,
    )
}

/// The shares of requests that were answered within a time.
#[must_use]
pub fn distributions(report: &Report) -> Option<Chart> {
    let series = staircases(report, &DISTRIBUTIONS)?;
    let values = series.iter().flat_map(|series| series.points.iter().map(|(x, _)| *x));
    Some(Chart {
        title: "From a request to the first byte".to_owned(),
        subtitle: subtitle(report),
        x: Axis::fitting("milliseconds since the request, logarithmic", Scale::Logarithmic, values),
        y: shares(),
        series,
    })
}

/// The same of connections to a service that is not up, by how their first packets are held.
#[must_use]
pub fn first_bytes(report: &Report) -> Option<Chart> {
    let series = staircases(report, &HOLDING)?;
    let values = series.iter().flat_map(|series| series.points.iter().map(|(x, _)| *x));
    let how = report.notes.first().map_or("", String::as_str);
    Some(Chart {
        title: "From a client's connect() to the first byte of a service that is not up".to_owned(),
        subtitle: how.to_owned(),
        x: Axis::fitting("milliseconds since connect()", Scale::Linear, values),
        y: shares(),
        series,
    })
}

fn shares() -> Axis {
    let label = "share of requests answered".to_owned();
    Axis { label, scale: Scale::Linear, range: (0.0, 1.0) }
}

/// Those of some rows that were measured; none if none was.
fn staircases(report: &Report, rows: &[(&str, &str, &'static str, Style)]) -> Option<Vec<Series>> {
    let series = rows.iter().filter_map(|&(row, name, colour, style)| {
        let samples = report.samples.get(row).filter(|samples| !samples.is_empty())?;
        let median = report.rows.get(row)?.whole.p50 / 1000.0;
        Some(Series {
            name: name.to_owned(),
            remark: format!("median {} ms, n = {}", significant(median), samples.len()),
            style,
            colour,
            points: steps(samples),
        })
    });
    let series: Vec<Series> = series.collect();
    (!series.is_empty()).then_some(series)
}

/// The empirical distribution as a staircase, in milliseconds.
fn steps(samples: &[f64]) -> Vec<(f64, f64)> {
    let mut sorted: Vec<f64> = samples.iter().map(|micros| micros / 1000.0).collect();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let step = |(index, value): (usize, &f64)| {
        [(*value, index as f64 / count), (*value, (index + 1) as f64 / count)]
    };
    sorted.iter().enumerate().flat_map(step).collect()
}

/// Latencies against the number of instances that run.
#[must_use]
pub fn running(report: &Report) -> Option<Chart> {
    let mut series = Vec::new();
    for (key, name, dots, line) in RUNNING {
        let Some(values) = report.running.get(key).filter(|values| !values.is_empty()) else {
            continue;
        };
        let points: Vec<(f64, f64)> =
            values.iter().map(|(running, micros)| (*running as f64, micros / 1000.0)).collect();
        let (window, medians) = moving_median(&points);
        series.push(Series {
            name: name.to_owned(),
            remark: format!("n = {}", points.len()),
            style: Style::Dots,
            colour: dots,
            points,
        });
        series.push(Series {
            name: "its moving median".to_owned(),
            remark: format!("of {window} requests"),
            style: Style::Line,
            colour: line,
            points: medians,
        });
    }
    if series.is_empty() {
        return None;
    }
    let points = || series.iter().flat_map(|series| series.points.iter());
    Some(Chart {
        title: "Latency against the number of running instances".to_owned(),
        subtitle: subtitle(report),
        x: Axis::fitting("instances that run", Scale::Linear, points().map(|(x, _)| *x)),
        y: Axis::fitting(
            "milliseconds to the first byte, logarithmic",
            Scale::Logarithmic,
            points().map(|(_, y)| *y),
        ),
        series,
    })
}

/// The window's size, and the median in each of its places.
fn moving_median(points: &[(f64, f64)]) -> (usize, Vec<(f64, f64)>) {
    // Odd, so that there is a middle.
    let window = WINDOW.min((points.len() / 5) | 1);
    let median = |window: &[(f64, f64)]| {
        let mut values: Vec<f64> = window.iter().map(|(_, y)| *y).collect();
        values.sort_by(f64::total_cmp);
        (window[window.len() / 2].0, values[values.len() / 2])
    };
    (window, points.windows(window).map(median).collect())
}

/// Three significant figures.
fn significant(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::record::Recorder;
    use super::*;

    #[test]
    fn a_distribution_ends_at_one() {
        assert_eq!(steps(&[2000.0, 1000.0]), [(1.0, 0.0), (1.0, 0.5), (2.0, 0.5), (2.0, 1.0)]);
    }

    #[test]
    fn the_moving_median_ignores_outliers() {
        let points: Vec<(f64, f64)> =
            (0..200_u8).map(|x| (x.into(), if x % 10 == 0 { 100.0 } else { 1.0 })).collect();
        let (window, medians) = moving_median(&points);
        assert_eq!((window, medians.len()), (41, 160));
        assert!(medians.iter().all(|(_, y)| *y < 2.0));
        assert_eq!(moving_median(&[]), (1, Vec::new()));
        assert_eq!(moving_median(&points[..3]).1.len(), 3);
    }

    #[test]
    fn pictures_are_made_of_what_there_is() {
        let mut recorder = Recorder::new();
        assert!(distributions(&Recorder::new().finish(String::new(), 0)).is_none());
        for micros in 1..100 {
            let length = Duration::from_micros(micros);
            recorder.samples(row::COLD).push_whole(length);
            recorder.while_running(row::CREATE, usize::try_from(micros).unwrap(), length);
        }
        let report = recorder.finish(String::new(), 0);
        let chart = distributions(&report).unwrap();
        assert_eq!(chart.series.len(), 1);
        assert!(chart.svg().contains("n = 99"));
        assert_eq!(running(&report).unwrap().series.len(), 2);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(write(&report, &folder.path().join("plots")).unwrap().len(), 2);
    }
}
