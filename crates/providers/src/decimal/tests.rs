use proptest::prelude::*;

use super::*;

fn check(text: &str, decimals: u32, expected: Option<(u64, bool)>) {
    let expected = expected.map(|(units, exact)| Scaled { units, exact });
    assert_eq!(scaled(text, decimals), expected, "{text} * 10^{decimals}");
}

#[test]
fn decimal_text_is_read_as_it_is_written() {
    check("12", 0, Some((12, true)));
    check("0.25", 6, Some((250_000, true)));
    check(".5", 1, Some((5, true)));
    check("5.", 1, Some((50, true)));
    check("1.25e-07", 12, Some((125_000, true)));
    check("2E2", 0, Some((200, true)));
    check("0.42", 1, Some((4, false)));
    check("0.0000000000000000000000000001", 6, Some((0, false)));
    check("1e-32768", 6, Some((0, false)));
    check("0e32767", 6, Some((0, true)));
}

#[test]
fn what_is_no_plain_number_is_none() {
    for text in [
        "",
        ".",
        "-1",
        "+1",
        "nan",
        "inf",
        " 1",
        "1 ",
        "1_000",
        "0x10",
        "1e",
        "e5",
        "1.2.3",
        "1e99",
        "1e40000",
        "18446744073709551616",
        "0000000000000000000000000000001",
    ] {
        check(text, 0, None);
    }
}

proptest! {
    #[test]
    fn a_number_of_units_survives_its_text(units: u64, decimals in 0_u32..12) {
        let power = 10_u64.pow(decimals);
        let width = decimals as usize;
        let text = match decimals {
            0 => units.to_string(),
            _ => format!("{}.{:0width$}", units / power, units % power),
        };
        prop_assert_eq!(scaled(&text, decimals), Some(Scaled { units, exact: true }));
    }

    #[test]
    fn no_text_panics(text: String, decimals in 0_u32..20) {
        let _read = scaled(&text, decimals);
    }
}
