use std::process::{Command, Stdio};

use super::*;

#[test]
fn work_costs_time_and_memory_costs_memory() {
    let me = std::process::id();
    let before = processor_time(me).unwrap();
    let mut sum = 0_u64;
    while processor_time(me).unwrap() < before + Duration::from_millis(20) {
        sum = std::hint::black_box((0..100_000_u64).fold(sum, u64::wrapping_add));
    }
    let resident = resident_mib(me).unwrap();
    let block = std::hint::black_box(vec![1_u8; 256 << 20]);
    // Children of the tests beside this one come and go.
    assert!(resident_mib(me).unwrap() > resident + 200.0);
    drop(block);
}

#[test]
fn children_belong_to_the_family_until_they_end() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let me = std::process::id();
    assert!(family(me).unwrap().contains(&child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!family(me).unwrap().contains(&child.id()));
    family(child.id()).unwrap_err();
}
