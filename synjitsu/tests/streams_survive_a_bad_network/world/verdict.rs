//! What must be true when nothing more happens.

use std::net::SocketAddr;

use synjitsu::{Command, Event, HoldMode, PortId};

use super::{Flow, World};
use crate::endpoint::{Cause, State};
use crate::segment::{Checked, Segment, ensure};
use crate::support::{self, SERVICE};

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
        if self.scenario.mode == HoldMode::Handshake { self.judge_space() } else { Ok(()) }
    }

    /// Whether as much can be held now as if nothing had ever been: one more client fills its buffer.
    fn judge_space(&mut self) -> Checked {
        if let Some(guest) = self.guest.take() {
            let generation = guest.generation;
            let close = Command::Close { service: SERVICE, generation, only_if_idle_since: None };
            self.switch.handle_command(self.now, close, &mut self.out);
        }
        let flow = Flow {
            client: SocketAddr::new(support::CLIENT_V4.into(), 50_000),
            service: SocketAddr::new(support::SERVICE_V4.into(), 80),
        };
        let syn = Segment { syn: true, mss: Some(1460), window: 1000, ..Segment::default() };
        let Some(Segment { seq: iss, window, .. }) = self.ask(flow, &syn)? else {
            return Err("a new client gets no answer".into());
        };
        // The SYN that is kept counts as well.
        let most = u64::from(window).min(self.scenario.bytes - 100);
        let end = 1 + u32::try_from(most).expect("a buffer is small");
        let mut seq = 1;
        while seq < end {
            let length = usize::try_from((end - seq).min(1460)).expect("a segment is short");
            let ack = Some(iss.wrapping_add(1));
            let data = Segment { seq, ack, payload: vec![0; length], ..Segment::default() };
            seq += data.length();
            let told = self.ask(flow, &data)?.and_then(|answer| answer.ack);
            ensure!(told == Some(seq), "only {told:?} of {seq} are taken, of {end}: space is lost");
        }
        Ok(())
    }

    /// What a client is told at once by the switch.
    fn ask(&mut self, flow: Flow, segment: &Segment) -> Checked<Option<Segment>> {
        self.out.0.clear();
        let packet = segment.packet(flow.client, flow.service);
        self.switch.handle_frame(self.now, PortId::Uplink, &packet, &mut self.out);
        let is_its = |segment: &(SocketAddr, SocketAddr, Segment)| segment.1 == flow.client;
        let told: Checked<Vec<_>> =
            self.out.0.iter().map(|(_, packet)| Segment::parse(packet)).collect();
        Ok(told?.into_iter().rfind(is_its).map(|(_, _, segment)| segment))
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
