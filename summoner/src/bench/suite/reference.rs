//! What a baseline did, in the report. One that fails is counted like a request that fails; why is told in a note.

use std::time::Duration;

use crate::bench::baseline::{BaselineError, Sample};
use crate::bench::failure::Failure;
use crate::bench::report::record::Recorder;

/// A request to a service that was started for it; its time to the first byte, if it was answered and counts.
pub(super) fn sample(
    recorder: Option<&mut Recorder>,
    name: &'static str,
    sample: Result<Sample, BaselineError>,
) -> Option<Duration> {
    let recorder = recorder?;
    let Sample { ready, connected, first_byte, last_byte } = counted(recorder, name, sample)?;
    // Of socket activation, the client is connected before the program runs.
    let names = if ready <= connected { ["ready", "connect"] } else { ["connect", "ready"] };
    let (first, second) = (ready.min(connected), ready.max(connected));
    // It is stamped in another thread then, which may get to it after the answer.
    let (first, second) = (first.min(first_byte), second.min(first_byte));
    let lengths = [first, second - first];
    let answered = first_byte.saturating_sub(second);
    let rest = last_byte.saturating_sub(first_byte);
    let phases = names.into_iter().zip(lengths);
    let phases = phases.chain([("first_byte", answered), ("rest", rest)]);
    recorder.samples(name).push_phases(first_byte, phases);
    Some(first_byte)
}

/// A length of time that has no parts.
pub(super) fn length(
    recorder: Option<&mut Recorder>,
    name: &'static str,
    length: Result<Duration, BaselineError>,
) {
    let Some(recorder) = recorder else { return };
    if let Some(length) = counted(recorder, name, length) {
        recorder.samples(name).push_whole(length);
    }
}

fn counted<T>(
    recorder: &mut Recorder,
    name: &'static str,
    measured: Result<T, BaselineError>,
) -> Option<T> {
    let tally = recorder.baseline(name);
    tally.planned += 1;
    tally.sent += 1;
    match measured {
        Ok(measured) => Some(measured),
        Err(error) => {
            recorder.failed(name, Failure::Local);
            recorder.note(format!("{name}: {}", crate::report(&error)));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_in_the_order_in_which_they_came() {
        let millis = Duration::from_millis;
        let mut recorder = Recorder::new();
        let process = Sample {
            ready: millis(5),
            connected: millis(6),
            first_byte: millis(8),
            last_byte: millis(9),
        };
        let activation = Sample { ready: millis(6), connected: millis(1), ..process };
        assert_eq!(sample(Some(&mut recorder), "process", Ok(process)), Some(millis(8)));
        assert_eq!(sample(Some(&mut recorder), "activation", Ok(activation)), Some(millis(8)));
        let late = Sample { ready: millis(20), ..activation };
        assert_eq!(sample(Some(&mut recorder), "late", Ok(late)), Some(millis(8)));
        assert_eq!(sample(None, "process", Ok(process)), None);
        let report = recorder.finish(String::new(), 0);
        let phases = |row: &str| {
            let phases = &report.rows[row].phases;
            phases.iter().map(|(name, one)| format!("{name} {}", one.max)).collect::<Vec<_>>()
        };
        assert_eq!(
            phases("process"),
            ["ready 5000", "connect 1000", "first_byte 2000", "rest 1000"]
        );
        assert_eq!(
            phases("activation"),
            ["connect 1000", "ready 5000", "first_byte 2000", "rest 1000"]
        );
        assert_eq!(phases("late"), ["connect 1000", "ready 7000", "first_byte 0", "rest 1000"]);
        assert_eq!((report.sent, report.tallies["process"].sent), (0, 1), "baselines are not ours");
    }
}
