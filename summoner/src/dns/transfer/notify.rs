//! Tells secondaries that a zone has changed (RFC 1996), until they have heard it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{LowerName, RData, Record, RecordType, TSigner};
use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info, warn};

use crate::dns::{DnsMetrics, Published, tsig};
use crate::entropy;

/// How often what is published is looked at. A look is one load of a pointer.
const LOOK: Duration = Duration::from_millis(250);
/// How long an answer is waited for the first time; doubled each time up to the last.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often a secondary is told in vain: after that its own refresh will find the change (RFC 1996, section 3.6).
const ATTEMPTS: u32 = 8;

/// Tells the configured secondaries of every zone's new serial, and of the first one, until dropped. `listen` are the
/// addresses that queries are answered at: secondaries expect word from one of them.
pub async fn run(
    published: Arc<ArcSwap<Published>>,
    metrics: Arc<dyn DnsMetrics>,
    listen: Vec<SocketAddr>,
) {
    let mut told: HashMap<(LowerName, SocketAddr), (u32, AbortHandle)> = HashMap::new();
    let mut telling = JoinSet::new();
    loop {
        while telling.try_join_next().is_some() {}
        {
            let published = published.load();
            let words = published.transfers.words();
            told.retain(|(apex, to), (_, attempts)| {
                let wanted = words.iter().any(|word| word.apex == *apex && word.to == *to);
                if !wanted {
                    attempts.abort();
                }
                wanted
            });
            for word in words {
                let key = (word.apex.clone(), word.to);
                let serial = word.serial();
                match told.get(&key) {
                    Some((known, _)) if *known == serial => continue,
                    // The newer word replaces the one that was not heard yet.
                    Some((_, attempts)) => attempts.abort(),
                    None => {}
                }
                let (metrics, from) = (metrics.clone(), source(&listen, word.to));
                let attempts = telling.spawn(async move {
                    let result = tell(&word, from).await;
                    metrics.notified(result.label());
                });
                told.insert(key, (serial, attempts));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Word of a change.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) apex: LowerName,
    pub(super) soa: Record,
    pub(super) to: SocketAddr,
    pub(super) key: Option<Signer>,
}

/// A key that shows nothing of itself.
#[derive(Clone)]
pub(super) struct Signer(pub(super) TSigner);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.signer_name().fmt(f)
    }
}

impl Word {
    fn serial(&self) -> u32 {
        match &self.soa.data {
            RData::SOA(soa) => soa.serial,
            _ => 0,
        }
    }

    fn message(&self, id: u16) -> Option<Vec<u8>> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Notify);
        message.metadata.authoritative = true;
        message.add_query(Query::query(self.soa.name.clone(), RecordType::SOA));
        message.add_answer(self.soa.clone());
        if let Some(Signer(key)) = &self.key {
            message.finalize(key, tsig::unix_seconds()).ok()?;
        }
        message.to_vec().ok()
    }
}

/// What became of it. The label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Heard,
    Refused,
    Unheard,
}

impl Told {
    const fn label(self) -> &'static str {
        match self {
            Self::Heard => "heard",
            Self::Refused => "refused",
            Self::Unheard => "unheard",
        }
    }
}

async fn tell(word: &Word, from: SocketAddr) -> Told {
    let mut wait = FIRST_WAIT;
    for attempt in 1..=ATTEMPTS {
        let until = Instant::now() + wait;
        match attempt_once(word, from, until).await {
            Ok(ResponseCode::NoError) => {
                info!(zone = %word.apex, serial = word.serial(), secondary = %word.to, "notified");
                return Told::Heard;
            }
            Ok(rcode) => {
                warn!(zone = %word.apex, secondary = %word.to, %rcode, "a secondary does not take word of a change");
                return Told::Refused;
            }
            Err(error) => {
                debug!(secondary = %word.to, attempt, %error, "a secondary has not heard")
            }
        }
        // Also after an error that came at once.
        tokio::time::sleep_until(until).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
    warn!(zone = %word.apex, secondary = %word.to, attempts = ATTEMPTS,
        "a secondary does not answer; it will find the change at its next refresh");
    Told::Unheard
}

/// An answer is not asked to be signed: a false one, from somebody who knows the id and the port, does no more than a lost
/// word does, and the secondary's refresh makes good for both.
async fn attempt_once(
    word: &Word,
    from: SocketAddr,
    until: Instant,
) -> Result<ResponseCode, io::Error> {
    let socket = UdpSocket::bind(from).await?;
    socket.connect(word.to).await?;
    let mut id = [0; 2];
    entropy::fill(&mut id);
    let id = u16::from_ne_bytes(id);
    let message = word.message(id).ok_or_else(|| io::Error::other("it cannot be written"))?;
    socket.send(&message).await?;
    let mut buffer = [0; 1232];
    loop {
        let length = timeout_at(until, socket.recv(&mut buffer)).await??;
        let Ok(answer) = Message::from_vec(&buffer[..length]) else { continue };
        let is_ours = answer.metadata.id == id
            && answer.metadata.message_type == MessageType::Response
            && answer.metadata.op_code == OpCode::Notify;
        if is_ours {
            return Ok(answer.metadata.response_code);
        }
    }
}

/// Where word to `to` is sent from: an address that we answer at, if one of them can reach it.
fn source(listen: &[SocketAddr], to: SocketAddr) -> SocketAddr {
    let fits = |ip: &IpAddr| {
        ip.is_ipv4() == to.is_ipv4()
            && !ip.is_unspecified()
            && ip.is_loopback() == to.ip().is_loopback()
    };
    let any = match to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let ours = listen.iter().map(SocketAddr::ip).find(fits);
    SocketAddr::new(ours.unwrap_or(any), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_comes_from_where_we_answer() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let listen = ["127.0.0.1:53", "192.0.2.1:53", "[::]:53"].map(at);
        assert_eq!(source(&listen, at("198.51.100.1:53")), at("192.0.2.1:0"));
        assert_eq!(source(&listen, at("127.0.0.9:53")), at("127.0.0.1:0"));
        assert_eq!(source(&listen, at("[2001:db8::1]:53")), at("[::]:0"));
    }
}
