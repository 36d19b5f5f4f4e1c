use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{super::BodyBounds, *};

/// The budget of all bodies in these tests.
const ALL: u64 = 1 << 20;

fn inlet() -> Inlet {
    Inlet::new(BodyBounds {
        one_bytes_max: ALL,
        all_bytes_max: ALL,
    })
}

/// A body that holds what it needs of the budget.
async fn held(inlet: &Inlet, bytes: &Bytes) -> Held {
    let memory = inlet.memory(bytes.len() as u64, |_| {}).await.unwrap();
    Held::new(bytes.clone(), memory)
}

/// A chat of so many bytes.
fn chat(length: usize) -> Bytes {
    let turn = r#"{"role":"user","content":"the pelican has landed, and it has left again"},"#;
    turn.bytes().cycle().take(length).collect()
}

/// Waits for a minute, in which a body is packed or never will be.
async fn wait(inlet: &Inlet, held: &mut Held) {
    tokio::time::timeout(Duration::from_mins(1), held.packed(inlet))
        .await
        .unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_waits_takes_less_memory_and_comes_back_as_it_was() {
    for length in [
        PACKED_BYTES_MIN,
        50_000,
        UNPACKED_HERE_BYTES_MAX + 1,
        1_000_000,
    ] {
        let (inlet, chat) = (inlet(), chat(length));
        let mut held = held(&inlet, &chat).await;
        let before = inlet.held_bytes();
        wait(&inlet, &mut held).await;
        assert!(held.is_packed() && held.bytes.is_empty());
        assert!(
            inlet.held_bytes() <= before / 4 + PERMIT_BYTES,
            "{}",
            inlet.held_bytes()
        );
        held.unpack(&inlet, |_| {}).await.unwrap();
        assert!(!held.is_packed());
        assert_eq!(held.bytes, chat);
        assert_eq!(inlet.held_bytes(), before);
        drop(held);
        assert_eq!(inlet.held_bytes(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn small_bodies_and_those_that_do_not_shrink_are_left_as_they_are() {
    let noise = (0..3_000_u32).flat_map(|it| Sha256::digest(it.to_le_bytes()));
    let noise: Bytes = noise.collect();
    for bytes in [chat(PACKED_BYTES_MIN - 1), noise] {
        let inlet = inlet();
        let mut held = held(&inlet, &bytes).await;
        let before = inlet.held_bytes();
        wait(&inlet, &mut held).await;
        assert!(!held.is_packed());
        assert_eq!((held.bytes.clone(), inlet.held_bytes()), (bytes, before));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_wait_is_short_is_not_packed() {
    let (inlet, chat) = (inlet(), chat(100_000));
    let mut held = held(&inlet, &chat).await;
    let soon = tokio::time::timeout(PACKED_AFTER / 2, held.packed(&inlet));
    soon.await.unwrap_err();
    assert!(!held.is_packed());
}

#[tokio::test(start_paused = true)]
async fn what_a_packed_body_gave_back_is_somebody_elses_until_room_is_made() {
    let (inlet, chat) = (inlet(), chat(900_000));
    let mut packed = held(&inlet, &chat).await;
    wait(&inlet, &mut packed).await;
    let newcomer = parking_lot::Mutex::new(Some(held(&inlet, &chat).await));
    let wanted = AtomicU64::new(0);
    let make_room = |bytes| {
        // Only at the second time, as a client that was sent away takes a while to go.
        if wanted.swap(bytes, Ordering::Relaxed) > 0 {
            newcomer.lock().take();
        }
    };
    packed.unpack(&inlet, make_room).await.unwrap();
    assert_eq!(packed.bytes, chat);
    assert!(wanted.load(Ordering::Relaxed) > 0);
}

#[tokio::test(start_paused = true)]
async fn a_packed_body_that_gets_no_memory_stays_packed_and_says_so() {
    let (inlet, chat) = (inlet(), chat(900_000));
    let mut packed = held(&inlet, &chat).await;
    wait(&inlet, &mut packed).await;
    let _newcomer = held(&inlet, &chat).await;
    let busy = packed.unpack(&inlet, |_| {}).await;
    assert!(matches!(busy, Err(InletError::Busy { .. })), "{busy:?}");
    assert!(packed.is_packed());
}

proptest! {
    #[test]
    fn any_body_comes_back_as_it_was(
        words in proptest::collection::vec("[a-z]{0,9}|\\PC{0,5}", 0..300),
        times in 1_usize..40,
    ) {
        let bytes: Bytes = words.concat().repeat(times).into();
        if let Some(packed) = Packed::of(&bytes) {
            prop_assert!(packed.block.len() < bytes.len());
            prop_assert_eq!(packed.unpack(), bytes);
        }
    }
}
