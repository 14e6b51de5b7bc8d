//! Records in wire form, one by one.

use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

/// The data of a record (RDATA), names in them not compressed.
#[must_use]
pub fn data(record: &Record) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    // Fails only beyond 65535 octets, which no record of a zone has: each was read from, or fits into, a message.
    let _ = record.data.emit(&mut encoder);
    octets
}
