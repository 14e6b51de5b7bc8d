//! What `hello` answers, wherever it runs.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt::{self, Write as _};
use core::net::IpAddr;
use core::time::Duration;

use unikernel::Guest;
use unikernel::http::{Body, Request, Response, Site, Status};

/// The most octets that `/bytes/N` sends.
const BYTES_MAX: u64 = 1 << 30;

/// The most octets that `/echo` takes.
const ECHO_MAX: u64 = 64 * 1024;

const HTML: &str = "text/html; charset=utf-8";
const BINARY: &str = "application/octet-stream";

/// What the site runs in, as far as its page tells.
pub trait Host {
    /// What served the page, in the middle of a sentence.
    const KIND: &'static str;

    /// Since this instance began.
    fn up(&self) -> Duration;

    /// The instance's generation, if it has one.
    fn generation(&self) -> Option<u64>;

    /// Octets of memory, if there is a limit.
    fn memory(&self) -> Option<u64>;
}

impl Host for &'static Guest {
    const KIND: &'static str = "unikernel that was booted";

    fn up(&self) -> Duration {
        self.age()
    }

    fn generation(&self) -> Option<u64> {
        Guest::generation(self)
    }

    fn memory(&self) -> Option<u64> {
        Some(self.memory_size())
    }
}

/// The site, one for all connections.
#[derive(Debug)]
pub struct HelloSite<H> {
    host: H,
    name: &'static str,
    addresses: Vec<IpAddr>,
    listening: Cell<Duration>,
    requests: Cell<u64>,
}

impl<H: Host> HelloSite<H> {
    /// The site of the service `name` at these addresses.
    pub fn new(host: H, name: &'static str, addresses: Vec<IpAddr>) -> Self {
        Self { host, name, addresses, listening: Cell::default(), requests: Cell::default() }
    }

    /// Notes that the service listens from now on, for the page; how long after the code's beginning.
    pub fn set_listening(&self) -> Duration {
        let at = self.host.up();
        self.listening.set(at);
        at
    }

    /// Requests answered so far.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    fn page(&self) -> Vec<u8> {
        let name = Escaped(self.name);
        let mut addresses = String::new();
        for address in &self.addresses {
            // Writing to a string does not fail.
            let _ = write!(addresses, "{address}<br>");
        }
        let kind = H::KIND;
        let generation =
            self.host.generation().map_or_else(|| "unknown".into(), |number| format!("{number}"));
        let listening = self.listening.get().as_micros();
        let requests = self.requests();
        let up = self.host.up();
        let (seconds, millis) = (up.as_secs(), up.subsec_millis());
        let memory = self
            .host
            .memory()
            .map_or_else(|| "unlimited".into(), |octets| format!("{} MiB", octets >> 20));
        format!(
            "<!DOCTYPE html>\n\
             <html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}</title>\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <style>body{{font:1.1em/1.6 system-ui,sans-serif;max-width:34em;margin:12vh auto;padding:0 1em;\
             color:#223;background:#fafaf7}}th{{text-align:left;font-weight:normal;color:#667;\
             padding-right:1.5em;vertical-align:top}}</style></head>\n\
             <body><h1>Hello from {name}</h1>\n\
             <p>This page was served by a {kind} because you asked for it.</p>\n\
             <table>\n\
             <tr><th>service</th><td>{name}</td></tr>\n\
             <tr><th>generation</th><td>{generation}</td></tr>\n\
             <tr><th>addresses</th><td>{addresses}</td></tr>\n\
             <tr><th>entry to listening</th><td>{listening} µs</td></tr>\n\
             <tr><th>requests answered</th><td>{requests}</td></tr>\n\
             <tr><th>up for</th><td>{seconds}.{millis:03} s</td></tr>\n\
             <tr><th>memory</th><td>{memory}</td></tr>\n\
             </table></body></html>\n"
        )
        .into_bytes()
    }

    fn route(&self, request: &Request<'_>) -> Response {
        let path = request.path();
        let reads = matches!(request.method, "GET" | "HEAD");
        match path {
            "/echo" if request.method == "POST" && request.content_length > ECHO_MAX => {
                Response::error(Status::ContentTooLarge, "/echo takes at most 65536 octets")
            }
            "/echo" if request.method == "POST" => Response::ok(BINARY, Body::Echo),
            "/echo" if reads => Response::text(request.head.to_vec()),
            "/echo" => Response::not_allowed("GET, HEAD, POST"),
            "/" | "/healthz" if !reads => Response::not_allowed("GET, HEAD"),
            "/" => Response::ok(HTML, Body::Octets(self.page())),
            "/healthz" => Response::text(b"ok\n".to_vec()),
            _ => match path.strip_prefix("/bytes/") {
                None => Response::error(Status::NotFound, "there is no such page here"),
                Some(_) if !reads => Response::not_allowed("GET, HEAD"),
                Some(number) => match number.parse() {
                    Ok(number) if number <= BYTES_MAX => {
                        Response::ok(BINARY, Body::Pattern(number))
                    }
                    _ => Response::error(
                        Status::BadRequest,
                        "/bytes/N takes a number of octets up to 1073741824",
                    ),
                },
            },
        }
    }
}

impl<H: Host> Site for HelloSite<H> {
    fn respond(&self, request: &Request<'_>) -> Response {
        self.requests.set(self.requests.get() + 1);
        self.route(request)
    }
}

impl<H> fmt::Display for HelloSite<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Text as it may stand in HTML.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            other => f.write_char(other),
        })
    }
}
