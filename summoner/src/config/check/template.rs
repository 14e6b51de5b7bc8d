//! A template's table: that of a service, with a pattern and a number for its names and addresses.

use std::collections::BTreeMap;
use std::sync::Arc;

use hickory_proto::rr::Name;

use super::super::checked::{AddressChoice, Limits, Network, Service, Template, ZoneSettings};
use super::super::raw;
use super::Checker;

/// How many services of a template there may be at once, if nobody says.
const MAX: u32 = 64;

impl Checker<'_> {
    pub(super) fn templates(
        &mut self,
        raw: &BTreeMap<String, raw::Service>,
        services: &[Service],
        network: &Network,
        zone: &ZoneSettings,
        limits: &Limits,
    ) -> Option<BTreeMap<String, Template>> {
        let mut templates: BTreeMap<String, Template> = BTreeMap::new();
        let mut good = true;
        for (key, raw) in raw {
            let Some(template) = self.template(key, raw, network, zone, limits) else {
                good = false;
                continue;
            };
            self.no_key_of_a_service(key, services);
            if let Some(other) = templates.values().find(|other| other.pattern == template.pattern)
            {
                let expected = format!("a pattern that {} does not have", other.key);
                let path = format!("templates.{key}.pattern");
                self.note(&path, &template.pattern, &expected, "remove it from one of them");
            }
            templates.insert(key.clone(), template);
        }
        let prototypes: Vec<Service> =
            templates.values().map(|template| template.prototype.clone()).collect();
        self.no_guessed_addresses(network, &prototypes);
        good.then_some(templates)
    }

    fn template(
        &mut self,
        name: &str,
        raw: &raw::Service,
        network: &Network,
        zone: &ZoneSettings,
        limits: &Limits,
    ) -> Option<Template> {
        let path = format!("templates.{name}");
        let pattern = self.pattern(&format!("{path}.pattern"), raw.pattern.as_deref(), &zone.apex);
        let max = self.at_least(&format!("{path}.max"), raw.max, MAX, 1);
        if raw.records.is_some() {
            let expected = "none: a template's names have addresses only";
            self.note(&format!("{path}.records"), "records", expected, "remove it");
        }
        // Its names are those that are asked for; one has to be there to be judged.
        let only_name = ["@".to_owned()];
        let raw = raw::Service { names: Some(only_name.to_vec()), ..raw.clone() };
        let service = self.service(&path, name, &raw, network, zone, limits);
        let prototype = Service { names: Vec::new(), ..service? };
        if !prototype.wake.dns {
            // Its queries would leave no trace: it would be forgotten while caches have its address.
            let expected = "\"dns\" among others: its services are made by queries";
            self.note(&format!("{path}.wake"), "a list without it", expected, "add it");
        }
        if matches!(prototype.ipv4, AddressChoice::Fixed(_)) {
            self.not_one_address(&format!("{path}.ipv4"));
        }
        if matches!(prototype.ipv6, AddressChoice::Fixed(_)) {
            self.not_one_address(&format!("{path}.ipv6"));
        }
        Some(Template { key: Arc::from(name), pattern: pattern?, max: max?, prototype })
    }

    /// A wildcard in the zone: `*`, `*.pr`, `*.pr.example.org.`
    fn pattern(&mut self, key: &str, text: Option<&str>, apex: &Name) -> Option<Name> {
        let parent = match text {
            Some("*") => Some("@"),
            Some(text) => text.strip_prefix("*.").filter(|parent| *parent != "@"),
            None => None,
        };
        let Some(parent) = parent else {
            let found = text.map_or_else(|| "nothing".to_owned(), |text| format!("{text:?}"));
            let expected =
                "a wildcard: `*.` and a name, relative to the apex or with a dot at its end";
            self.note(key, found, expected, "write a name such as \"*.pr\"");
            return None;
        };
        let parent = self.name(key, parent, apex)?;
        let pattern = parent.prepend_label("*").ok().filter(|pattern| apex.zone_of(pattern));
        if pattern.is_none() {
            let expected = format!("a name in the zone {apex}");
            self.note(key, &parent, &expected, "leave out the dot at its end, or choose another");
        }
        pattern
    }

    /// Both are labels of metrics. (A key cannot be one of a service that is made, which has a dot in it.)
    fn no_key_of_a_service(&mut self, template: &str, services: &[Service]) {
        if services.iter().any(|service| service.key == template) {
            let key = format!("templates.{template}");
            self.note(&key, template, "a key that no service has", "give one of them another key");
        }
    }

    fn not_one_address(&mut self, key: &str) {
        let expected =
            "\"auto\" or \"none\": every service of a template has an address of its own";
        self.note(key, "an address", expected, "remove it");
    }
}
