//! Just enough HTTP/1.1 (RFC 9112) to know when an answer is whole: the client asks for `Connection: close`.

use super::failure::Failure;

/// The largest answer that is read, in octets.
pub(super) const LARGEST: usize = 16 << 20;
/// The longest head that is read, in octets.
const LONGEST_HEAD: usize = 64 << 10;

/// How far an answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// More must be read.
    More,
    /// It is whole: the body begins here and ends there.
    Whole(usize, usize),
}

/// Looks at what was read so far; `ended` when nothing more will come.
///
/// An answer without a length lasts until the connection ends; one in chunks is taken so too, its marks left in.
///
/// # Errors
/// When it is not an HTTP answer with status 200, too large, or ended too early.
pub(super) fn progress(octets: &[u8], ended: bool) -> Result<Progress, Failure> {
    let more = || if ended { Err(Failure::Truncated) } else { Ok(Progress::More) };
    let Some(head_end) = octets.windows(4).position(|end| end == b"\r\n\r\n") else {
        let start = &octets[..octets.len().min(5)];
        if !b"HTTP/".starts_with(start) || octets.len() > LONGEST_HEAD {
            return Err(Failure::NotHttp);
        }
        return more();
    };
    let head = std::str::from_utf8(&octets[..head_end]).map_err(|_| Failure::NotHttp)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
    let status = status.and_then(|line| line.split(' ').nth(1)).ok_or(Failure::NotHttp)?;
    if status != "200" {
        return Err(Failure::BadStatus);
    }
    let body = head_end + 4;
    match content_length(lines)? {
        None if ended => Ok(Progress::Whole(body, octets.len())),
        None if octets.len() > LARGEST => Err(Failure::NotHttp),
        None => Ok(Progress::More),
        Some(length) if length > LARGEST => Err(Failure::NotHttp),
        Some(length) if octets.len() - body >= length => Ok(Progress::Whole(body, body + length)),
        Some(_) => more(),
    }
}

fn content_length<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Option<usize>, Failure> {
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let field = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    field.map(|(_, value)| value.trim().parse().map_err(|_| Failure::NotHttp)).transpose()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello";

    #[test]
    fn an_answer_is_whole_at_its_length() {
        for cut in 0..ANSWER.len() {
            assert_eq!(progress(&ANSWER[..cut], false), Ok(Progress::More), "{cut}");
            assert_eq!(progress(&ANSWER[..cut], true), Err(Failure::Truncated), "{cut}");
        }
        let body = ANSWER.len() - 5;
        assert_eq!(progress(ANSWER, false), Ok(Progress::Whole(body, ANSWER.len())));
    }

    #[test]
    fn without_a_length_the_end_is_the_end() {
        let answer = b"HTTP/1.0 200 OK\r\n\r\nhello";
        assert_eq!(progress(answer, false), Ok(Progress::More));
        assert_eq!(progress(answer, true), Ok(Progress::Whole(19, 24)));
    }

    #[test]
    fn what_is_wrong_has_its_kind() {
        assert_eq!(progress(b"SSH-2.0", false), Err(Failure::NotHttp));
        assert_eq!(progress(b"HTTP/1.1 503 No\r\n\r\n", false), Err(Failure::BadStatus));
        let length = |value: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\n");
        assert_eq!(progress(length("x").as_bytes(), false), Err(Failure::NotHttp));
        assert_eq!(progress(length("99999999999").as_bytes(), false), Err(Failure::NotHttp));
    }

    proptest! {
        #[test]
        fn nothing_that_comes_makes_it_panic(octets: Vec<u8>, ended: bool) {
            let _ = progress(&octets, ended);
            let answer = [b"HTTP/1.1 200 OK\r\nContent-Length: ".as_slice(), &octets, b"\r\n\r\n", &octets];
            let _ = progress(&answer.concat(), ended);
        }
    }
}
