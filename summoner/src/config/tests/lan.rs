//! Services beside the host.

use super::*;

#[test]
fn services_can_be_on_a_lan() {
    let lan = |more: &str| format!("{SMALL}[network]\nattach = \"lan:eth0\"\n{more}\n");
    let house = "ipv4 = \"192.168.1.0/24\"\npool = \"192.168.1.200 - 192.168.1.203\"\n";
    let config = good(&lan(house));
    let interface = "eth0".to_owned();
    let attach =
        Attach::Lan { interface, mac: synjitsu_device::lan::ServicesMac::Auto, gateways: None };
    assert_eq!(config.network.attach, attach);
    assert_eq!(config.network.ipv6, None, "nobody's prefix is guessed");
    let given = addresses::assign(&config, &BTreeMap::new()).unwrap()["web"].ipv4.unwrap();
    assert_eq!(given.octets()[..3], [192, 168, 1]);
    assert!((200..=203).contains(&given.octets()[3]));
    // One that was remembered from elsewhere in the prefix is not kept.
    let old = Assigned { ipv4: Some(Ipv4Addr::new(192, 168, 1, 17)), ipv6: None };
    let remembered = BTreeMap::from([("web".to_owned(), old)]);
    assert_eq!(addresses::assign(&config, &remembered).unwrap()["web"].ipv4, Some(given));
    let fixed =
        "ipv4 = \"192.168.1.9\"\n[network]\nattach = \"lan:eth0\"\nipv4 = \"192.168.1.0/24\"\n";
    let text = format!(
        "{SMALL}{fixed}mac = \"own\"\ngateways = [\"192.168.1.1\", \"fe80::1\"]\nipv6 = \"fd00::/64\"\n"
    );
    assert!(
        matches!(good(&text).network.attach, Attach::Lan { gateways: Some(two), .. } if two.len() == 2)
    );
    let key = |text: &str| {
        let places = places(text);
        assert_eq!(places.len(), 1, "{text}: {places:?}");
        places[0].split(' ').next_back().unwrap().to_owned()
    };
    assert_eq!(key(&lan("")), "network.ipv4");
    let told = read(&lan("ipv4 = \"192.168.1.0/24\""), &[], &[]).unwrap_err().to_string();
    assert!(told.contains("network.pool") && told.contains("DHCP"), "{told}");
    assert_eq!(key(&lan(&format!("{house}interface = \"eth0\""))), "network.interface");
    assert_eq!(key(&lan(&format!("{house}mac = \"mine\""))), "network.mac");
    assert_eq!(
        key(&lan(&format!("{house}gateways = [\"192.168.1.1\", \"192.168.1.2\"]"))),
        "network.gateways"
    );
    for pool in [
        "192.168.1.9",
        "192.168.1.9-192.168.1.8",
        "192.168.1.1-192.168.1.9",
        "192.168.1.9-192.168.1.255",
        "10.0.0.2-10.0.0.3",
    ] {
        let text = lan(&format!("ipv4 = \"192.168.1.0/24\"\npool = \"{pool}\""));
        assert_eq!(key(&text), "network.pool");
    }
    let router = text
        .replace("192.168.1.9\"", "192.168.1.254\"")
        .replace("192.168.1.1\"", "192.168.1.254\"");
    assert_eq!(key(&router), "services.web.ipv4");
    let many = "[services.b]\nimage = \"builtin:hello\"\n[services.c]\nimage = \"builtin:hello\"\n";
    let narrow = house.replace("203", "201");
    assert_eq!(key(&format!("{}{many}", lan(&narrow))), "network", "three services, two addresses");
}
