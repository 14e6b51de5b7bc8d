//! What the model sees of the switch, and whether that keeps the promises.

use super::*;

impl Model {
    /// Looks at what was sent and told, and lets it arrive.
    pub(super) fn observe(&mut self) {
        for event in std::mem::take(&mut self.world.events) {
            self.observe_event(event);
        }
        for (to, frame) in std::mem::take(&mut self.world.out.0) {
            match to {
                PortId::Uplink => self.observe_uplink(&frame),
                PortId::Guest { generation, .. } => {
                    // Before a close in the same step the port was open for the newest generation.
                    assert_eq!(generation, Generation(self.newest), "a second responder");
                    let packet = frame[14..].to_vec();
                    if is_tcp(&packet) {
                        let segment = Segment::parse(&packet);
                        let key = (segment.client_port, segment.guest_port);
                        if let Some(waiting) = self.waiting.get_mut(&key) {
                            waiting.seen_by_guest |= segment.syn && segment.seq == waiting.isn;
                        }
                    }
                    self.guest.inbox.push_back(packet);
                }
            }
        }
    }

    fn observe_event(&mut self, event: Event) {
        match event {
            Event::HoldEnded { outcome: HoldOutcome::Overflow, .. } => {}
            Event::HoldEnded { outcome, waited, .. } => {
                self.ended += 1;
                assert!(waited <= HOLD_TIME);
                if matches!(outcome, HoldOutcome::Expired | HoldOutcome::Refused) {
                    assert_eq!(waited, HOLD_TIME);
                }
            }
            Event::Wake { at, .. } => {
                assert!(self.open.is_none(), "an open port wakes nobody");
                assert!(self.wake_on_packet);
                let early = self.woken.is_some_and(|woken| at - woken < Duration::from_secs(1));
                assert!(!early, "woken twice");
                self.woken = Some(at);
            }
            Event::Milestone { generation, what, .. } => self.observe_milestone(generation, what),
            Event::Closed { .. } => self.told = None,
            Event::CloseRefused { .. } => {}
            Event::Activity { .. } => unreachable!("nobody asked"),
        }
    }

    fn observe_milestone(&mut self, generation: Option<Generation>, what: MilestoneKind) {
        use MilestoneKind::{FirstByte, HandedOver, Held, Passed, Replayed};
        // Before the hand-over another flow may have become the first one.
        let follows = match what {
            Held | Passed => matches!(self.told, None | Some(Held | Replayed | Passed)),
            Replayed => self.told == Some(Held),
            HandedOver => matches!(self.told, Some(Replayed | Passed)),
            FirstByte => self.told == Some(HandedOver),
        };
        assert!(follows, "{what:?} after {:?}", self.told);
        assert!(generation.is_some() || what == Held);
        assert!(generation.is_none_or(|generation| generation == Generation(self.newest)));
        self.told = Some(what);
    }

    /// A SYN was answered.
    fn observe_end(&self, segment: Segment) {
        use MilestoneKind::{FirstByte, HandedOver};
        if segment.syn && self.waiting.is_empty() && self.passed.is_empty() {
            assert!(matches!(self.told, Some(HandedOver | FirstByte)), "an untold hand-over");
        }
    }

    fn observe_uplink(&mut self, packet: &[u8]) {
        if !is_tcp(packet) {
            return;
        }
        let segment = Segment::parse(packet);
        let (client, service_port) = (segment.client_port, segment.guest_port);
        let now = self.world.now;
        if let Some(waiting) = self.waiting.get(&(client, service_port)).copied() {
            let mine = segment.ack == Some(waiting.isn.wrapping_add(1));
            assert!(mine && (segment.syn || segment.rst), "{segment:?} to a client that waits");
            if segment.rst {
                assert!(now >= waiting.since + HOLD_TIME, "a waiting client saw a refusal");
            }
            self.waiting.remove(&(client, service_port));
            self.observe_end(segment);
        }
        if segment.syn || segment.rst {
            let before = self.passed.len();
            self.passed.retain(|(key, isn, _)| {
                *key != (client, service_port) || segment.ack != Some(isn.wrapping_add(1))
            });
            if self.passed.len() < before {
                self.observe_end(segment);
            }
        }
        let (state, expected_port) = self.client(client);
        if expected_port != service_port {
            return;
        }
        let state = match state {
            Client::Waiting { isn } if segment.ack == Some(isn.wrapping_add(1)) => {
                if segment.rst {
                    Client::Idle
                } else if self.lossy {
                    state
                } else {
                    let acknowledgment = ack(isn.wrapping_add(1), segment.seq.wrapping_add(1));
                    self.acknowledgments
                        .push_back(acknowledgment.on_port(client).to_port(service_port));
                    Client::Connected { isn, iss: segment.seq }
                }
            }
            Client::Connected { isn, iss } if segment.syn && now - self.contact[&client] < LONG => {
                let other = segment.ack == Some(isn.wrapping_add(1)) && segment.seq != iss;
                assert!(!other, "two guests answer one SYN");
                state
            }
            Client::Waiting { .. } if !segment.rst && !self.lossy => {
                // An answer to something else: half-open (RFC 9293, section 3.10.7.3).
                let reset = rst(segment.ack.unwrap_or(0));
                self.acknowledgments.push_back(reset.on_port(client).to_port(service_port));
                state
            }
            // A lost RST is as good: the client learns with its next segment.
            Client::Connected { .. } if segment.rst => Client::Idle,
            Client::Idle | Client::Waiting { .. } | Client::Connected { .. } => state,
        };
        self.clients.insert(client, (state, service_port));
    }

    /// What is true at all times.
    pub(super) fn check(&mut self) {
        let now = self.world.now;
        self.datagrams.retain(|since| now < *since + HOLD_TIME);
        self.passed.retain(|(_, _, since)| now < *since + HOLD_TIME);
        let Event::Activity { generation, last_packet, held, .. } = self.report() else {
            unreachable!("a report is answered by an activity")
        };
        assert_eq!(generation, self.open);
        if self.open.is_some() {
            assert_eq!(last_packet, self.last_packet);
        }
        assert!(held <= self.flows, "more is held than allowed");
        let came = self.world.counter("held_syns") + self.world.counter("held_datagrams");
        assert_eq!(u64::from(held) + self.ended, came, "not exactly one outcome for each");
        let waiting = self.waiting.len() + self.datagrams.len();
        assert_eq!(usize::try_from(held), Ok(waiting), "lost or invented: {:?}", self.waiting);
        for (key, waiting) in &self.waiting {
            assert!(now < waiting.since + HOLD_TIME, "{key:?} waits for ever");
            assert!(self.open.is_none() || waiting.seen_by_guest, "{key:?} was not replayed");
        }
        if held > 0 {
            assert!(self.world.switch.poll_timeout().is_some(), "held without a deadline");
            if self.open.is_none() && self.wake_on_packet {
                assert!(self.woken.is_some(), "a wake was forgotten");
            }
        }
        assert!(self.world.switch.poll_timeout().is_none_or(|at| at > now));
    }
}
