use super::*;

#[test]
fn every_kind_reads_as_it_is_written_with_number_and_times() {
    for &kind in FaultKind::ALL {
        for (number, times) in [
            (None, None),
            (Some(7), None),
            (None, Some(2)),
            (Some(7), Some(2)),
        ] {
            let fault = Fault {
                kind,
                number,
                times,
            };
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
    }
}

#[test]
fn what_is_no_fault_is_told_what_would_be_one() {
    for text in ["", "reset=", "reset=x", "529*", "529*-1", "418"] {
        let error = text.parse::<Fault>().unwrap_err().to_string();
        assert!(error.contains("reset-mid-stream, "), "{text}: {error}");
    }
}
