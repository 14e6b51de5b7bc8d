//! The services' network: `network`.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use ipnet::{Ipv4Net, Ipv6Net};
use synjitsu_device::lan::ServicesMac;

use super::super::checked::{AddressChoice, Attach, Network, Service};
use super::super::{addresses, raw};
use super::Checker;

impl Checker<'_> {
    pub(super) fn network(&mut self, raw: &raw::Network) -> Option<Network> {
        let attach = self.attach(raw);
        let lan = matches!(attach, Some(Attach::Lan { .. }));
        let ipv4 = match raw.ipv4.as_deref() {
            None if lan => {
                self.note(
                    "network.ipv4",
                    "nothing",
                    "the subnet of the segment, such as \"192.168.1.0/24\"",
                    "add it; `ip address` shows which one the interface is in",
                );
                None
            }
            text => self.prefix4(text.unwrap_or("10.77.0.0/16")),
        };
        let ipv6 = match raw.ipv6.as_deref() {
            Some("none") => Some(None),
            None if lan => Some(None),
            text => self.prefix6(text.unwrap_or("fd77:6a69:7400::/64")).map(Some),
        };
        let mtu = raw.mtu.unwrap_or(1500);
        // IPv6 needs 1280 (RFC 8200, section 5).
        if !(1280..=9000).contains(&mtu) {
            self.note("network.mtu", mtu, "1280 to 9000", "1500 suits most networks");
        }
        let ipv4 = ipv4?;
        let pool = match raw.pool.as_deref() {
            Some(text) => Some(self.pool(text, &ipv4)?),
            None => None,
        };
        Some(Network { attach: attach?, ipv4, ipv6: ipv6?, mtu, pool })
    }

    fn attach(&mut self, raw: &raw::Network) -> Option<Attach> {
        let text = raw.attach.as_deref().unwrap_or("tun");
        let macs = [
            ("auto", ServicesMac::Auto),
            ("own", ServicesMac::Own),
            ("interface", ServicesMac::Interface),
        ];
        let mac = self.word("network.mac", raw.mac.as_deref(), &macs);
        let gateways = match &raw.gateways {
            Some(texts) => Some(self.gateways(texts)?),
            None => None,
        };
        if text == "tun" {
            for (key, is_set) in
                [("network.mac", raw.mac.is_some()), ("network.gateways", gateways.is_some())]
            {
                if is_set {
                    let expected = "this key only with `attach = \"lan:...\"`";
                    self.note(key, "a value", expected, "remove it, or set network.attach");
                }
            }
            let interface = raw.interface.clone().unwrap_or_else(|| "summon0".to_owned());
            return self
                .interface("network.interface", interface)
                .map(|interface| Attach::Tun { interface });
        }
        let Some(interface) = text.strip_prefix("lan:") else {
            let expected = "\"tun\", or \"lan:\" and an interface, such as \"lan:eth0\"";
            self.note("network.attach", format!("{text:?}"), expected, "write one of these");
            return None;
        };
        if raw.interface.is_some() {
            let expected = "this key only with `attach = \"tun\"`";
            let fix = "remove it: the interface is named by network.attach";
            self.note("network.interface", "a value", expected, fix);
        }
        let interface = self.interface("network.attach", interface.to_owned())?;
        Some(Attach::Lan { interface, mac: mac?, gateways })
    }

    fn interface(&mut self, key: &str, name: String) -> Option<String> {
        // IFNAMSIZ, with its NUL, is 16.
        let good = (1..=15).contains(&name.len())
            && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet))
            && name != "."
            && name != "..";
        if !good {
            self.note(
                key,
                format!("{name:?}"),
                "an interface's name: 1 to 15 letters, digits, `-`, `_` or `.`",
                "choose another name",
            );
        }
        good.then_some(name)
    }

    fn gateways(&mut self, texts: &[String]) -> Option<Vec<IpAddr>> {
        let parsed: Option<Vec<IpAddr>> = texts.iter().map(|text| text.parse().ok()).collect();
        let one_each = |gateways: &Vec<IpAddr>| {
            gateways.iter().filter(|gateway| gateway.is_ipv4()).count() <= 1
                && gateways.iter().filter(|gateway| gateway.is_ipv6()).count() <= 1
        };
        let gateways = parsed.filter(one_each);
        if gateways.is_none() {
            self.note(
                "network.gateways",
                format!("{texts:?}"),
                "at most one IPv4 and one IPv6 address",
                "write the routers' addresses, such as [\"192.168.1.1\"], or remove the key",
            );
        }
        gateways
    }

    fn pool(&mut self, text: &str, net: &Ipv4Net) -> Option<RangeInclusive<Ipv4Addr>> {
        let parsed = text.split_once('-').and_then(|(first, last)| {
            let first: Ipv4Addr = first.trim().parse().ok()?;
            let last: Ipv4Addr = last.trim().parse().ok()?;
            let usable = |address| addresses::is_usable4(net, address);
            (first <= last && usable(first) && usable(last)).then_some(first..=last)
        });
        if parsed.is_none() {
            self.note(
                "network.pool",
                format!("{text:?}"),
                &format!(
                    "two addresses in {net} but its first two and its last, the lower one first"
                ),
                "write them with a dash in between, such as \"192.168.1.200-192.168.1.230\"",
            );
        }
        parsed
    }

    pub(super) fn prefix4(&mut self, text: &str) -> Option<Ipv4Net> {
        let parsed = text
            .parse::<Ipv4Net>()
            .ok()
            .filter(|net| (8..=29).contains(&net.prefix_len()) && net.addr() == net.network());
        if parsed.is_none() {
            self.note(
                "network.ipv4",
                format!("{text:?}"),
                "a prefix of /8 to /29, its host bits zero, such as \"10.77.0.0/16\"",
                "write the first address of the prefix and its length",
            );
        }
        parsed
    }

    pub(super) fn prefix6(&mut self, text: &str) -> Option<Ipv6Net> {
        let parsed = text
            .parse::<Ipv6Net>()
            .ok()
            .filter(|net| (32..=120).contains(&net.prefix_len()) && net.addr() == net.network());
        if parsed.is_none() {
            self.note("network.ipv6", format!("{text:?}"), "a prefix of /32 to /120, its host bits zero, such as \"fd00:1:2:3::/64\", or \"none\"", "write the first address of the prefix and its length");
        }
        parsed
    }

    /// On a segment, others have addresses too: which are free for services cannot be guessed.
    pub(super) fn no_guessed_addresses(&mut self, network: &Network, services: &[Service]) {
        let Attach::Lan { gateways, .. } = &network.attach else { return };
        if network.pool.is_none()
            && let Some(service) =
                services.iter().find(|service| service.ipv4 == AddressChoice::Auto)
        {
            self.note(
                "network.pool",
                "nothing",
                &format!("the addresses that services such as `{}` may have on the segment", service.key),
                "add a range that the DHCP server does not give away, such as `pool = \"192.168.1.200-192.168.1.230\"`, or \
                 give each service an `ipv4` of its own",
            );
        }
        let routers = gateways.as_deref().unwrap_or_default();
        for service in services {
            if let AddressChoice::Fixed(address) = service.ipv4
                && routers.contains(&IpAddr::V4(address))
            {
                let key = format!("services.{}.ipv4", service.key);
                self.note(&key, address, "an address that no router has", "choose another");
            }
        }
    }
}
