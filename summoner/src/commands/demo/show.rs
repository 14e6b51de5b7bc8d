//! How the demo prints.

use std::time::Duration;

use policies::Instant;

use crate::engine::ShellSource;
use crate::orchestrator::timeline::Timeline;

/// A section's title.
pub(super) fn title(text: &str) {
    println!("\n== {text}");
}

/// A length of time in milliseconds, to the microsecond.
pub(super) fn length(length: Duration) -> String {
    format!("{:.3} ms", length.as_secs_f64() * 1000.0)
}

/// Prints what happened when; an error if a step that must have happened did not.
pub(super) fn timeline(timeline: &Timeline, queried: bool) -> Result<(), String> {
    let steps = steps(timeline, queried)?;
    let start = steps.first().map_or(Instant::ZERO, |(at, _)| *at);
    let mut before = start;
    println!("  {:<34}{:>12}{:>14}", "timeline", "step", "since start");
    for (at, step) in steps {
        let (since, whole) = (at.saturating_since(before), at.saturating_since(start));
        println!("  {step:<34}{:>12}{:>14}", length(since), length(whole));
        before = at;
    }
    Ok(())
}

/// The steps in the order in which they happened.
fn steps(timeline: &Timeline, queried: bool) -> Result<Vec<(Instant, &'static str)>, String> {
    let taken = match timeline.shell {
        Some(ShellSource::Parked) => "shell taken, parked for this",
        Some(ShellSource::Ready) => "shell taken, ready with the image",
        Some(ShellSource::Made) | None => "shell taken, made for this",
    };
    let query =
        [(timeline.query_received, "query received"), (timeline.answer_sent, "answer sent")];
    let packets = [
        (timeline.held, "SYN arrived"),
        (timeline.shell_taken, taken),
        (timeline.entered, "guest entered"),
        (timeline.ready, "guest ready"),
        (timeline.replayed, "SYN given to the guest"),
        (timeline.handed_over, "guest accepted (hand-over)"),
        (timeline.first_byte, "first byte"),
    ];
    let mut steps = query[..if queried { query.len() } else { 0 }]
        .iter()
        .chain(&packets)
        .map(|&(at, step)| {
            at.map(|at| (at, step)).ok_or_else(|| format!("a step is missing: {step}"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    steps.sort_by_key(|(at, _)| *at);
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_step_is_an_error() {
        let at = |nanos| Some(Instant::from_nanos(nanos));
        let mut whole = Timeline {
            held: at(2),
            shell_taken: at(1),
            entered: at(3),
            ready: at(4),
            replayed: at(5),
            handed_over: at(6),
            first_byte: at(7),
            ..Timeline::default()
        };
        let shown = steps(&whole, false).unwrap();
        assert_eq!(shown.first().map(|(_, step)| *step), Some("shell taken, made for this"));
        assert!(steps(&whole, true).is_err(), "there was no query");
        whole.first_byte = None;
        assert!(steps(&whole, false).is_err());
    }
}
