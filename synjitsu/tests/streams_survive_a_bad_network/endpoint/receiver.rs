//! The half of an endpoint that receives: what came, in order and not, what the application took of it, and how
//! much more was promised to be taken.

use crate::stream::Stream;

#[derive(Debug)]
pub(super) struct Receiver {
    /// What the other side is to say.
    pub(super) stream: Stream,
    pub(super) nxt: i64,
    /// What came out of order, and when, as a count: the newest is reported first.
    ahead: Vec<(i64, i64, u64)>,
    arrivals: u64,
    reassembles: bool,
    /// What the application has taken, as a place.
    read: i64,
    capacity: i64,
    mss: i64,
    /// Up to where octets are welcome, before that is rounded to units of the window scale.
    welcome: i64,
    /// The right edge as last said on the wire.
    edge: i64,
    /// The furthest right edge that was ever said.
    pub(super) promised: i64,
}

impl Receiver {
    pub(super) fn new(stream: Stream, capacity: u32, mss: u16, reassembles: bool) -> Self {
        Self {
            stream,
            nxt: 0,
            ahead: Vec::new(),
            arrivals: 0,
            reassembles,
            read: 1,
            capacity: capacity.into(),
            mss: mss.into(),
            welcome: 0,
            edge: 0,
            promised: 0,
        }
    }

    /// The other side's SYN came.
    pub(super) fn opened(&mut self) {
        self.nxt = 1;
        // What was said in the own SYN was said without knowing the other side's numbers.
        self.welcome += 1;
        self.edge += 1;
        self.promised += 1;
    }

    /// Whether the whole stream and the FIN came.
    pub(super) const fn is_complete(&self) -> bool {
        self.nxt == self.stream.length + 2
    }

    /// Octets of the stream that came in order.
    pub(super) fn received(&self) -> i64 {
        (self.nxt - 1).clamp(0, self.stream.length)
    }

    pub(super) fn unread(&self) -> i64 {
        self.received() + 1 - self.read
    }

    /// The application takes up to `octets`; zero means all.
    pub(super) fn take(&mut self, octets: i64) {
        let unread = self.unread();
        self.read += if octets == 0 { unread } else { unread.min(octets) };
    }

    /// Octets at a place (and the FIN after them, as one more) came. Returns whether they were the next ones.
    pub(super) fn accept(&mut self, from: i64, to: i64) -> bool {
        // The FIN needs no room.
        let fin = self.stream.length + 1;
        let to = if to > self.promised && to != fin + 1 { self.promised } else { to };
        let before = self.nxt;
        if from <= self.nxt {
            self.nxt = self.nxt.max(to);
        } else if self.reassembles && from < to {
            self.arrivals += 1;
            self.keep(from, to);
        }
        while let Some(index) = self.ahead.iter().position(|block| block.0 <= self.nxt) {
            let (_, to, _) = self.ahead.swap_remove(index);
            self.nxt = self.nxt.max(to);
        }
        self.nxt > before
    }

    fn keep(&mut self, mut from: i64, mut to: i64) {
        self.ahead.retain(|&(start, end, _)| {
            let touches = start <= to && from <= end;
            if touches {
                (from, to) = (from.min(start), to.max(end));
            }
            !touches
        });
        self.ahead.push((from, to, self.arrivals));
    }

    pub(super) fn has_gaps(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// What came out of order, the newest first.
    pub(super) fn blocks(&self, most: usize) -> Vec<(i64, i64)> {
        let mut blocks = self.ahead.clone();
        blocks.sort_unstable_by_key(|block| std::cmp::Reverse(block.2));
        blocks.into_iter().take(most).map(|(from, to, _)| (from, to)).collect()
    }

    /// Up to where octets are welcome: it moves in steps worth a segment (RFC 9293, section 3.8.6.2.2).
    fn welcome(&self) -> i64 {
        let target = self.nxt + (self.capacity - self.unread()).max(0);
        let step = (self.capacity / 2).min(self.mss);
        if target - self.welcome >= step { target } else { self.welcome }
    }

    /// That as it can be said in units of the window scale.
    fn sayable(&self, welcome: i64, scale: u8) -> i64 {
        ((welcome - self.nxt).max(0) >> scale).min(0xffff)
    }

    /// The window to say, and the promise that comes with it.
    pub(super) fn window(&mut self, scale: u8) -> u16 {
        self.welcome = self.welcome();
        let units = self.sayable(self.welcome, scale);
        self.edge = self.nxt + (units << scale);
        self.promised = self.promised.max(self.edge);
        u16::try_from(units).expect("a window has 16 bits")
    }

    /// Whether the window has opened so far that the other side should hear of it.
    pub(super) fn has_news(&self, scale: u8) -> bool {
        let next = self.nxt + (self.sayable(self.welcome(), scale) << scale);
        let was_closed = self.edge - self.nxt < self.mss;
        !self.is_complete() && next > self.edge && (was_closed || next - self.edge >= 2 * self.mss)
    }
}
