use proptest::prelude::*;

use super::*;

fn all(bytes: &[u8]) -> Result<Vec<(u64, Value<'_>)>, Malformed> {
    let mut fields = Fields(bytes);
    let mut them = Vec::new();
    while let Some(field) = fields.next()? {
        them.push(field);
    }
    Ok(them)
}

#[test]
fn what_is_written_is_read() {
    let mut out = Vec::new();
    put_number(&mut out, 1, u64::MAX);
    put_fixed64(&mut out, 2, 7);
    put_fixed32(&mut out, 3, 8);
    let message = open(&mut out, 4);
    put_bytes(&mut out, 5, b"inside");
    close(&mut out, message);
    let fields = all(&out).unwrap();
    let inner = fields[3].1.message().unwrap();
    assert_eq!(all(inner.0).unwrap(), [(5, Value::Bytes(b"inside"))]);
    assert_eq!(
        fields[..3],
        [
            (1, Value::Varint(u64::MAX)),
            (2, Value::Fixed64(7)),
            (3, Value::Fixed32(8))
        ]
    );
}

#[test]
fn bytes_that_are_no_message_are_refused_with_the_reason() {
    for (bytes, why) in [
        (&b"\x0a\x05abc"[..], "it ends in the middle of a field"),
        (b"\x09\x01\x02", "it ends in the middle of a field"),
        (b"\x80", "it ends in the middle of a field"),
        (&[0xff; 12], "a number is longer than 10 bytes"),
        (b"\x0b", "a field has a wire type that OTLP does not use"),
        (b"\x00\x01", "a field has the number 0"),
    ] {
        assert_eq!(all(bytes), Err(Malformed(why)), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_to_an_end(bytes: Vec<u8>) {
        // Each field takes at least one byte.
        if let Ok(fields) = all(&bytes) {
            prop_assert!(fields.len() <= bytes.len());
        }
    }

    #[test]
    fn any_number_is_read_as_it_was_written(number: u64, field in 1u64..1000) {
        let mut out = Vec::new();
        put_number(&mut out, field, number);
        prop_assert_eq!(all(&out), Ok(vec![(field, Value::Varint(number))]));
    }
}
