//! The flow whose milestones are told: the first one of each instance.

use policies::Instant;

use super::Port;
use crate::flow::FlowKey;
use crate::hold::{Held, Kind};
use crate::shared::Shared;
use crate::{Event, MilestoneKind};

/// Which flow it is since the port was last closed, and how far its story is told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Story(Option<(FlowKey, MilestoneKind)>);

impl Port {
    /// A flow came; if it is the first one, its story begins with `what`.
    pub(super) fn begin_story(
        &mut self,
        key: FlowKey,
        at: Instant,
        what: MilestoneKind,
        shared: &mut Shared,
    ) {
        if self.story.0.is_none() {
            self.story.0 = Some((key, what));
            self.tell_milestone(at, what, shared);
        }
    }

    /// A flow came a step further; told if it is the first one and the step a new one.
    pub(super) fn continue_story(
        &mut self,
        key: &FlowKey,
        at: Instant,
        what: MilestoneKind,
        shared: &mut Shared,
    ) {
        if let Some((first, told)) = &mut self.story.0
            && *told < what
            && first == key
        {
            *told = what;
            self.tell_milestone(at, what, shared);
        }
    }

    /// Whether the first flow was handed over and the guest has sent it nothing yet.
    pub(super) const fn awaits_first_byte(&self) -> bool {
        matches!(self.story.0, Some((_, MilestoneKind::HandedOver)))
    }

    /// A flow ended before the guest answered it. If it was the first one, whoever has waited longest is now.
    pub(super) fn abandon_story(&mut self, key: &FlowKey, shared: &mut Shared) {
        let is_first = matches!(
            &self.story.0,
            Some((first, told)) if first == key && *told < MilestoneKind::HandedOver
        );
        if is_first {
            self.restart_story(shared);
        }
    }

    /// Begins the story of whoever has waited longest, if anybody waits.
    pub(super) fn restart_story(&mut self, shared: &mut Shared) {
        self.story = Story::default();
        let oldest = |held: &Held| match &held.kind {
            Kind::Syn(syn) => {
                Some((syn.key, held.since, syn.replay.as_ref().map(|replay| replay.begun)))
            }
            Kind::Datagram(_) => None,
        };
        let held = self.hold.iter().find_map(|(_, held)| oldest(held));
        // What was passed on came to an open port, as if it had been given to the guest when it arrived.
        let passed = || self.passed.iter().find_map(|(_, held)| oldest(held));
        let passed = || passed().map(|(key, since, _)| (key, since, Some(since)));
        let Some((key, since, given)) = held.or_else(passed) else { return };
        if given == Some(since) {
            self.begin_story(key, since, MilestoneKind::Passed, shared);
            return;
        }
        self.begin_story(key, since, MilestoneKind::Held, shared);
        if let Some(given) = given {
            self.continue_story(&key, given, MilestoneKind::Replayed, shared);
        }
    }

    fn tell_milestone(&self, at: Instant, what: MilestoneKind, shared: &mut Shared) {
        let (service, generation) = (self.settings.service, self.generation());
        shared.tell(Event::Milestone { service, generation, at, what });
    }
}
