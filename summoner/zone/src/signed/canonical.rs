//! Canonical order and form (RFC 4034, section 6).

use hickory_proto::ProtoError;
use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

/// A name as octets whose order is the canonical order of names (RFC 4034, section 6.1): labels from the last to the
/// first, in lower case, each with an end that sorts before everything else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CanonicalName(Box<[u8]>);

impl CanonicalName {
    pub(crate) fn new(name: &Name) -> Self {
        let labels: Vec<&[u8]> = name.iter().collect();
        let mut octets = Vec::with_capacity(name.len() + 2);
        for label in labels.into_iter().rev() {
            for octet in label {
                match octet.to_ascii_lowercase() {
                    // 0 ends a label; so that it can be in one as well, it and 1 are written as two octets.
                    low @ (0 | 1) => octets.extend([1, low + 1]),
                    octet => octets.push(octet),
                }
            }
            octets.push(0);
        }
        Self(octets.into_boxed_slice())
    }

    /// Whether the other name is below this one.
    pub(crate) fn is_above(&self, other: &Self) -> bool {
        other.0.len() > self.0.len() && other.0.starts_with(&self.0)
    }
}

/// The RDATA of an RRset in canonical form and order, none twice (RFC 4034, sections 6.2 and 6.3).
pub(super) fn canonical_rdata(records: &[Record]) -> Result<Vec<Vec<u8>>, ProtoError> {
    let mut all: Vec<Vec<u8>> =
        records.iter().map(|record| rdata(&record.data)).collect::<Result<_, _>>()?;
    all.sort();
    all.dedup();
    Ok(all)
}

fn rdata(data: &RData) -> Result<Vec<u8>, ProtoError> {
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    encoder.set_canonical_form(true);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder)?;
    if let RData::Unknown { code, .. } = data {
        lower_names(u16::from(*code), &mut octets);
    }
    Ok(octets)
}

/// Puts the names of RDATA that is kept as mere octets into lower case, for the types that have them so in canonical form
/// (RFC 4034, section 6.2, point 3, as RFC 6840, section 5.1 has it). RDATA that is not of its type's form is left alone.
fn lower_names(record_type: u16, octets: &mut [u8]) {
    // How many octets come before how many names: MD, MF, MB, MG, MR, DNAME; MINFO, RP; AFSDB, RT, KX; PX.
    let (mut at, names) = match record_type {
        3 | 4 | 7 | 8 | 9 | 39 => (0, 1),
        14 | 17 => (0, 2),
        18 | 21 | 36 => (2, 1),
        26 => (2, 2),
        _ => return,
    };
    for _ in 0..names {
        loop {
            let Some(length) = octets.get(at).copied().map(usize::from) else { return };
            at += 1;
            if length == 0 {
                break;
            }
            let Some(label) = octets.get_mut(at..at + length) else { return };
            label.make_ascii_lowercase();
            at += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RecordType;
    use hickory_proto::rr::rdata::{A, NULL, SRV};
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    /// The example of RFC 4034, section 6.1.
    #[test]
    fn names_are_in_the_rfc_s_order() {
        let mut names: Vec<Name> =
            ["example.", "a.example.", "yljkjljk.a.example.", "Z.a.example."]
                .into_iter()
                .chain(["zABC.a.EXAMPLE.", "z.example."])
                .map(name)
                .collect();
        names.push(Name::from_labels([&[1_u8][..], b"z", b"example"]).unwrap());
        names.push(name("*.z.example."));
        names.push(Name::from_labels([&[200_u8][..], b"z", b"example"]).unwrap());
        let mut sorted = names.clone();
        sorted.reverse();
        sorted.sort_by_key(CanonicalName::new);
        assert_eq!(sorted, names);
    }

    #[test]
    fn zero_is_the_smallest_octet_but_larger_than_none() {
        let of =
            |labels: &[&[u8]]| CanonicalName::new(&Name::from_labels(labels.to_vec()).unwrap());
        let sorted = [
            of(&[b"a", b"z"]),
            of(&[b"b", b"a", b"z"]),
            of(&[b"a\0", b"z"]),
            of(&[b"a\0\0", b"z"]),
            of(&[b"a\x01", b"z"]),
            of(&[b"a\x02", b"z"]),
            of(&[b"aa", b"z"]),
        ];
        assert!(sorted.is_sorted_by(|a, b| a < b));
        assert!(sorted[0].is_above(&sorted[1]) && !sorted[0].is_above(&sorted[2]));
        assert!(!sorted[0].is_above(&sorted[0]));
    }

    #[test]
    fn rdata_is_sorted_by_its_octets_and_never_twice() {
        let record = |data| Record::from_rdata(name("a.test."), 1, data);
        let address = |last| record(RData::A(A::new(192, 0, 2, last)));
        let octets = canonical_rdata(&[address(9), address(200), address(1), address(9)]).unwrap();
        assert_eq!(octets, [[192, 0, 2, 1], [192, 0, 2, 9], [192, 0, 2, 200]]);
    }

    #[test]
    fn names_in_rdata_are_in_lower_case_where_the_rfc_says_so() {
        let srv = RData::SRV(SRV::new(1, 2, 3, name("HOST.Test.")));
        assert_eq!(rdata(&srv).unwrap(), b"\0\x01\0\x02\0\x03\x04host\x04test\0");
        let unknown = |code: u16, octets: &[u8]| {
            let code = RecordType::from(code);
            rdata(&RData::Unknown { code, rdata: NULL::with(octets.to_vec()) }).unwrap()
        };
        assert_eq!(unknown(17, b"\x01A\0\x01B\0"), b"\x01a\0\x01b\0");
        assert_eq!(unknown(18, b"AB\x01A\0"), b"AB\x01a\0");
        assert_eq!(unknown(65_280, b"\x01A\0"), b"\x01A\0");
        for broken in [&b"\x05A"[..], b"\x01A", b"\xff"] {
            assert_eq!(unknown(39, broken).len(), broken.len());
        }
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_labels_from_the_end(
            names in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(0_u8..4, 1..3), 0..4), 2),
        ) {
            let names: Vec<Name> =
                names.into_iter().map(|labels| Name::from_labels(labels).unwrap()).collect();
            let reversed = |name: &Name| name.iter().rev().map(<[u8]>::to_vec).collect::<Vec<_>>();
            let [first, second] = names.as_slice() else { unreachable!() };
            prop_assert_eq!(
                CanonicalName::new(first).cmp(&CanonicalName::new(second)),
                reversed(first).cmp(&reversed(second)),
            );
        }
    }
}
