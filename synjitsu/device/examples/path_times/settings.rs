//! What is measured, from the command line.

use std::time::Duration;

const USAGE: &str = "\
usage: path_times [KEY=VALUE...]
  guests=N          services, and guests in the end (2 to 2000; 1000)
  rounds=N          how often everything is done (1 to 1000; 10)
  vigil=N           microseconds that the switch stays awake for what comes next (0)
  load=both         both (the default), idle or busy: beside threads that take all the time they get
  place=free        where threads run: as the kernel likes (the default)
  place=apart       the switch on processor 1, clients and guests on processor 0
  place=together    all on processor 0";

#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) guests: u16,
    pub(crate) rounds: u16,
    pub(crate) vigil: Duration,
    pub(crate) place: Place,
    pub(crate) idle: bool,
    pub(crate) busy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Free,
    Apart,
    Together,
}

impl Settings {
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, &'static str> {
        let mut settings = Self {
            guests: 1000,
            rounds: 10,
            vigil: Duration::ZERO,
            place: Place::Free,
            idle: true,
            busy: true,
        };
        for argument in arguments {
            let (key, value) = argument.split_once('=').ok_or(USAGE)?;
            let number = value.parse::<u16>().map_err(|_| USAGE);
            match (key, value) {
                ("guests", _) => settings.guests = number?,
                ("rounds", _) => settings.rounds = number?,
                ("vigil", _) => settings.vigil = Duration::from_micros(number?.into()),
                ("load", "both") => (settings.idle, settings.busy) = (true, true),
                ("load", "idle") => (settings.idle, settings.busy) = (true, false),
                ("load", "busy") => (settings.idle, settings.busy) = (false, true),
                ("place", "free") => settings.place = Place::Free,
                ("place", "apart") => settings.place = Place::Apart,
                ("place", "together") => settings.place = Place::Together,
                _ => return Err(USAGE),
            }
        }
        let possible =
            (2..=2000).contains(&settings.guests) && (1..=1000).contains(&settings.rounds);
        possible.then_some(settings).ok_or(USAGE)
    }
}
