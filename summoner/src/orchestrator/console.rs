//! A service's console: the last lines that its guests wrote, and who is following them.

use std::collections::VecDeque;

use tokio::sync::mpsc;

/// How much of a service's console is kept, in octets.
const KEPT: usize = 64 * 1024;
/// A line without an end is cut here, so that a guest cannot make one line of all our memory.
const LONGEST_LINE: usize = 4096;

/// The console of one service, over all its generations.
#[derive(Debug, Default)]
pub(super) struct Console {
    lines: VecDeque<String>,
    size: usize,
    partial: Vec<u8>,
    followers: Vec<mpsc::Sender<String>>,
}

impl Console {
    /// Takes octets that the guest of `generation` wrote.
    pub(super) fn write(&mut self, generation: u64, octets: &[u8]) {
        for &octet in octets {
            if octet == b'\n' {
                self.end_line(generation);
            } else {
                self.partial.push(octet);
                if self.partial.len() == LONGEST_LINE {
                    self.end_line(generation);
                }
            }
        }
    }

    /// Adds a remark of the daemon's own, such as a crash report, after whatever the guest left unfinished.
    pub(super) fn remark(&mut self, generation: u64, text: &str) {
        if !self.partial.is_empty() {
            self.end_line(generation);
        }
        for line in text.lines() {
            self.push(format!("[{}] * {line}", boot(generation)));
        }
    }

    /// What is kept, oldest first.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }

    /// Sends every later line to `follower` until it hangs up; a follower that does not keep up loses
    /// lines, the guest does not wait for it.
    pub(super) fn follow(&mut self, follower: mpsc::Sender<String>) {
        self.followers.push(follower);
    }

    fn end_line(&mut self, generation: u64) {
        let raw = std::mem::take(&mut self.partial);
        let text = String::from_utf8_lossy(&raw);
        let text = text.trim_end_matches('\r');
        // A guest must not be able to steer the terminal of whoever reads its log.
        let clean: String =
            text.chars().map(|c| if c.is_control() && c != '\t' { '.' } else { c }).collect();
        self.push(format!("[{}] {clean}", boot(generation)));
    }

    fn push(&mut self, line: String) {
        self.followers.retain(|follower| {
            !matches!(follower.try_send(line.clone()), Err(mpsc::error::TrySendError::Closed(_)))
        });
        self.size += line.len();
        self.lines.push_back(line);
        while self.size > KEPT {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.size -= oldest.len();
        }
    }
}

/// Which boot since the daemon started: the lower half of a generation, as `summoner ps` shows it.
const fn boot(generation: u64) -> u64 {
    generation & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_whole_lines_bounded_and_harmless() {
        let mut console = Console::default();
        console.write(7, b"hel");
        console.write(7, b"lo\r\n\x1b[2Jevil\n");
        console.remark(7, "the guest crashed\nrip 0x0");
        assert_eq!(
            console.lines(),
            ["[7] hello", "[7] .[2Jevil", "[7] * the guest crashed", "[7] * rip 0x0"]
        );
        console.write(8, &vec![b'x'; 10 * KEPT]);
        assert!(console.lines().iter().map(String::len).sum::<usize>() <= KEPT);
        assert!(console.lines().iter().all(|line| line.len() <= LONGEST_LINE + 8));
    }

    #[test]
    fn a_slow_follower_loses_lines_and_a_gone_one_is_forgotten() {
        let mut console = Console::default();
        let (follower, mut followed) = mpsc::channel(1);
        console.follow(follower);
        console.write(1, b"one\ntwo\n");
        assert_eq!(followed.try_recv().as_deref(), Ok("[1] one"));
        assert!(followed.try_recv().is_err());
        drop(followed);
        console.write(1, b"three\n");
        assert!(console.followers.is_empty());
        assert_eq!(console.lines().len(), 3);
    }
}
