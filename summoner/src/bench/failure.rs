//! What may go wrong with a request, as a closed set: failures are counted by kind and never left out of a report.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// Why a request has no latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The system gave no socket, or not what was asked of it: the generator's trouble, not the service's.
    Local,
    /// No answer to the query in time. A query is sent once: a resolver would send it again, and wait longer.
    DnsTimeout,
    /// The DNS server's host refused the query, or it could not be sent.
    DnsUnreachable,
    /// The answer has another code than NOERROR, or no address.
    DnsNoAddress,
    /// The connection was refused.
    ConnectRefused,
    /// No handshake in time.
    ConnectTimeout,
    /// The host is unreachable, or the handshake failed otherwise.
    ConnectFailed,
    /// The request could not be written.
    WriteFailed,
    /// The connection was reset while the answer was awaited or read.
    Reset,
    /// The answer did not come, or not whole, in time.
    ReadTimeout,
    /// The connection ended before the answer was whole.
    Truncated,
    /// What came is not HTTP, or too large.
    NotHttp,
    /// An HTTP status other than 200.
    BadStatus,
    /// The page is not the one that was expected.
    WrongPage,
}

impl Failure {
    /// The word of reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::DnsTimeout => "dns_timeout",
            Self::DnsUnreachable => "dns_unreachable",
            Self::DnsNoAddress => "dns_no_address",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::ConnectFailed => "connect_failed",
            Self::WriteFailed => "write_failed",
            Self::Reset => "reset",
            Self::ReadTimeout => "read_timeout",
            Self::Truncated => "truncated",
            Self::NotHttp => "not_http",
            Self::BadStatus => "bad_status",
            Self::WrongPage => "wrong_page",
        }
    }

    /// What an error of the name server's socket means.
    pub(super) fn of_query(error: &io::Error) -> Self {
        if is_timeout(error) { Self::DnsTimeout } else { Self::DnsUnreachable }
    }

    /// What an error of `connect` means; a send time-out shows as "in progress" (`socket(7)`).
    pub(super) fn of_connect(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            Self::ConnectRefused
        } else if is_timeout(error)
            || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
        {
            Self::ConnectTimeout
        } else {
            Self::ConnectFailed
        }
    }

    /// What an error while reading means.
    pub(super) fn of_read(error: &io::Error) -> Self {
        if is_timeout(error) { Self::ReadTimeout } else { Self::Reset }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn errors_of_the_system_find_their_kind() {
        let error = |errno: Errno| io::Error::from(errno);
        assert_eq!(Failure::of_query(&error(Errno::AGAIN)), Failure::DnsTimeout);
        assert_eq!(Failure::of_query(&error(Errno::CONNREFUSED)), Failure::DnsUnreachable);
        assert_eq!(Failure::of_connect(&error(Errno::CONNREFUSED)), Failure::ConnectRefused);
        assert_eq!(Failure::of_connect(&error(Errno::INPROGRESS)), Failure::ConnectTimeout);
        assert_eq!(Failure::of_connect(&error(Errno::TIMEDOUT)), Failure::ConnectTimeout);
        assert_eq!(Failure::of_connect(&error(Errno::HOSTUNREACH)), Failure::ConnectFailed);
        assert_eq!(Failure::of_read(&error(Errno::CONNRESET)), Failure::Reset);
        assert_eq!(Failure::of_read(&error(Errno::AGAIN)), Failure::ReadTimeout);
    }

    #[test]
    fn the_label_is_the_serialised_form() {
        let text = serde_json::to_string(&Failure::DnsNoAddress).unwrap();
        assert_eq!(text, format!("\"{}\"", Failure::DnsNoAddress));
    }
}
