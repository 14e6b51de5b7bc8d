//! What the daemon counts, from its metrics page.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::page::{LARGEST, Progress, progress};

/// How long the page may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there are no counts.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// The page did not come.
    #[error("cannot read the metrics at {address}; is this the daemon's `metrics.listen`?")]
    Read {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Something else came.
    #[error("what answers at {address} is no metrics page ({failure})")]
    NoPage {
        /// Where.
        address: SocketAddr,
        /// What is wrong with it.
        failure: super::failure::Failure,
    },
}

/// How many wakes the daemon has counted, by whatever they were caused.
///
/// # Errors
/// When there is no metrics page at `address`.
pub fn wakes(address: SocketAddr) -> Result<u64, ScrapeError> {
    Ok(sum(&page(address)?, "summoner_wakes_total", |_| true))
}

/// How many frames the switch has taken in, from the uplink and from guests.
///
/// # Errors
/// When there is no metrics page at `address`.
pub fn frames(address: SocketAddr) -> Result<u64, ScrapeError> {
    let taken_in = |labels: &str| {
        ["\"received_uplink\"", "\"received_guests\""].iter().any(|event| labels.contains(event))
    };
    Ok(sum(&page(address)?, "summoner_switch_events_total", taken_in))
}

/// A metrics page.
#[derive(Debug, Clone)]
pub struct Page(String);

impl Page {
    /// How much each value of `label` of a counter has grown since `before`, other labels summed over; without those that
    /// have not.
    #[must_use]
    pub fn growth(&self, before: &Self, counter: &str, label: &str) -> BTreeMap<String, u64> {
        let before = by_label(&before.0, counter, label);
        let mut after = by_label(&self.0, counter, label);
        after.retain(|value, count| {
            *count = count.saturating_sub(before.get(value).copied().unwrap_or(0));
            *count > 0
        });
        after
    }
}

/// Reads the page.
///
/// # Errors
/// When there is no metrics page at `address`.
pub fn look(address: SocketAddr) -> Result<Page, ScrapeError> {
    page(address).map(Page)
}

fn page(address: SocketAddr) -> Result<String, ScrapeError> {
    let failed = |source| ScrapeError::Read { address, source };
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut octets = Vec::new();
    let most = u64::try_from(LARGEST).unwrap_or(u64::MAX);
    stream.take(most).read_to_end(&mut octets).map_err(failed)?;
    match progress(&octets, true) {
        Ok(Progress::Whole(start, end)) => {
            Ok(String::from_utf8_lossy(&octets[start..end]).into_owned())
        }
        Ok(Progress::More) => {
            Err(ScrapeError::NoPage { address, failure: super::failure::Failure::Truncated })
        }
        Err(failure) => Err(ScrapeError::NoPage { address, failure }),
    }
}

/// A counter by one of its labels. Label values of ours have neither quotes nor commas in them, but for services' keys.
fn by_label(page: &str, counter: &str, label: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let lines = page.lines().filter_map(|line| line.strip_prefix(counter)?.strip_prefix('{'));
    for line in lines {
        let Some((labels, count)) = line.rsplit_once("} ") else { continue };
        let start = format!("{label}=\"");
        let value = labels.split(',').find_map(|part| part.strip_prefix(&start)?.strip_suffix('"'));
        if let (Some(value), Ok(count)) = (value, count.parse::<u64>()) {
            *counts.entry(value.to_owned()).or_default() += count;
        }
    }
    counts
}

/// The sum of a counter over those of its labels that are wanted.
fn sum(page: &str, counter: &str, wanted: impl Fn(&str) -> bool) -> u64 {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(counter)?;
        // Another counter's name may begin the same.
        let (labels, value) = rest.rsplit_once(' ')?;
        let is_it = (labels.is_empty() || labels.starts_with('{')) && wanted(labels);
        is_it.then(|| value.parse::<u64>().ok())?
    });
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_summed_over() {
        let page = "# HELP summoner_wakes_total Wakes\nsummoner_wakes_total{service=\"a b\",result=\"x\"} 3\n\
                    summoner_wakes_total{service=\"b\"} 4\nsummoner_wakes_total_other 9\nother 1\n";
        let any = |_: &str| true;
        assert_eq!(sum(page, "summoner_wakes_total", any), 7);
        assert_eq!(sum(page, "summoner_wakes_total", |labels| labels.contains("\"b\"")), 4);
        assert_eq!(sum(page, "absent", any), 0);
        assert_eq!(sum("plain 5\n", "plain", any), 5);
    }

    #[test]
    fn growth_is_by_label() {
        let page = |a: u64, b: u64| {
            Page(format!(
                "x_total{{l=\"a\",m=\"p\"}} {a}\nx_total{{l=\"a\",m=\"q\"}} 1\nx_total{{l=\"b\",m=\"p\"}} {b}\n"
            ))
        };
        let growth = page(5, 2).growth(&page(3, 2), "x_total", "l");
        assert_eq!(growth, BTreeMap::from([("a".to_owned(), 2)]));
        assert_eq!(page(5, 2).growth(&Page(String::new()), "x_total", "m")["p"], 7);
    }
}
