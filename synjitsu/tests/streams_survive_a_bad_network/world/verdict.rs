//! What must be true when nothing more happens.

use synjitsu::{Command, Event};

use super::World;
use crate::endpoint::{Cause, State};
use crate::segment::{Checked, ensure};
use crate::support::SERVICE;

impl World {
    pub(super) fn judge_end(&mut self) -> Checked {
        for attempt in &self.attempts {
            let client = attempt.flow.client;
            ensure!(attempt.is_over(), "{client} was left alone");
            let guest = attempt.guest.as_ref();
            let (says, hears) = attempt.streams;
            match attempt.client.state {
                State::Done => {
                    ensure!(attempt.client.received() == hears.length, "{client} misses octets");
                    // A guest after the one that it spoke with may have got an old SYN.
                    let heard = guest.is_some_and(|guest| {
                        guest.state == State::Done && guest.received() == says.length
                    });
                    ensure!(heard || attempt.seen.cut, "the guest misses what {client} said");
                }
                State::Closed(Cause::Aborted | Cause::Reset) => {
                    let alone = guest.is_none_or(|guest| guest.state != State::Established);
                    ensure!(alone, "the guest waits for {client}, who has gone");
                    ensure!(!attempt.is_reset() || !self.must_succeed(), "{client} was reset");
                }
                State::SynSent | State::SynReceived | State::Established => {
                    return Err(format!("{client} does not come to an end"));
                }
            }
        }
        self.switch.handle_command(self.now, Command::Report(SERVICE), &mut self.out);
        let mut held = None;
        while let Some(event) = self.switch.poll_event() {
            if let Event::Activity { held: now_held, open_connections, .. } = event {
                held = Some((now_held, open_connections));
            }
        }
        ensure!(held == Some((0, 0)), "at the end there are {held:?} held and open");
        Ok(())
    }

    /// Whether the guest came so early and stayed so long that nobody may be turned away.
    fn must_succeed(&self) -> bool {
        let [life] = self.scenario.guests[..] else { return false };
        let in_time = life.opens + life.listens < self.scenario.hold_time / 2;
        // Who hears nothing for as long as he is held is told so.
        let is_heard = self.scenario.faults.loss == 0 && self.scenario.queue > 100;
        life.closes.is_none() && in_time && is_heard
    }
}
