use super::*;

#[test]
fn a_secret_is_the_base64url_of_its_bytes() {
    let mut bytes = [0; SECRET_BYTES];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::try_from(at * 8).unwrap();
    }
    let shown = secret(&bytes);
    assert_eq!(
        shown.expose(),
        "tg-AAgQGCAoMDhASFBYYGhweICIkJigqLC4wMjQ2ODo8Pg"
    );
    assert_eq!(shown.expose().len(), SECRET_PREFIX.len() + 43);
}

#[test]
fn secrets_that_differ_in_one_bit_differ() {
    let mut seen = std::collections::HashSet::new();
    for bit in 0..SECRET_BYTES * 8 {
        let mut bytes = [0; SECRET_BYTES];
        bytes[bit / 8] = 1 << (bit % 8);
        let secret = secret(&bytes);
        assert!(seen.insert(hash(secret.expose())), "bit {bit}");
    }
}

#[test]
fn the_hash_is_sha_256_of_the_text() {
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(crate::ChainHash(hash("abc")).to_string(), expected);
}
