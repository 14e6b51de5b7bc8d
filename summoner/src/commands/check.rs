//! `summoner check`: everything that can be known about a configuration without running it.

use super::Failure;
use crate::config::addresses;
use crate::daemon::Source;
use crate::dns::stream::tls::Identity;
use crate::image::LoadedImage;

pub(super) fn run(source: &Source) -> Result<(), Failure> {
    let config = source.load().map_err(|error| Failure::configuration(&error))?;
    let assigned = addresses::assign(&config, &std::collections::BTreeMap::new())
        .map_err(|error| Failure::configuration(&error))?;
    if let Some(files) = &config.dns.identity {
        Identity::load(&files.certificate, &files.key)
            .map_err(|error| Failure::configuration(&error))?;
    }
    println!("zone {}", config.zone.apex);
    for (key, service) in &config.services {
        let image =
            LoadedImage::load(&service.image).map_err(|error| Failure::configuration(&error))?;
        image.plan.check_memory(service.memory).map_err(|error| Failure::configuration(&error))?;
        let names: Vec<_> = service.names.iter().map(ToString::to_string).collect();
        let addresses = assigned.get(key).cloned().unwrap_or_default();
        let addresses: Vec<_> =
            [addresses.ipv4.map(|a| a.to_string()), addresses.ipv6.map(|a| a.to_string())]
                .into_iter()
                .flatten()
                .collect();
        println!(
            "  {key}: {} at {} from {}",
            names.join(", "),
            addresses.join(", "),
            service.image
        );
    }
    println!("the configuration is good");
    Ok(())
}
