use std::sync::atomic::AtomicBool;

use tidegate_ledger::journal::ReadBack;

use super::*;

/// Keeps what was appended, and refuses while it is told to.
#[derive(Default)]
struct Paper {
    written: Mutex<Vec<u8>>,
    refuses: AtomicBool,
}

impl Journal for Paper {
    fn append(&self, frames: &[u8]) -> io::Result<Position> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(io::Error::other("no room in the drawer"));
        }
        self.written.lock().extend_from_slice(frames);
        Ok(Position {
            segment: 0,
            offset: 0,
        })
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn checkpoint(&self, _up_to: Position) -> io::Result<()> {
        Ok(())
    }

    fn read_back(&self) -> io::Result<ReadBack> {
        Ok(ReadBack::default())
    }
}

fn journaling() -> (Arc<Paper>, Journaling) {
    let paper = Arc::new(Paper::default());
    let journal: Arc<dyn Journal> = paper.clone();
    (paper, Journaling::new(journal))
}

fn queue(journaling: &Journaling, frame: &[u8]) -> Ticket {
    journaling.queue(|it| it.extend_from_slice(frame)).1
}

#[test]
fn whoever_writes_first_writes_for_all_that_were_queued() {
    let (paper, journaling) = journaling();
    let (one, two) = (queue(&journaling, b"1"), queue(&journaling, b"2"));
    assert!(!journaling.is_tried(one));
    journaling.write(one).unwrap();
    assert!(journaling.is_tried(two));
    assert_eq!(*paper.written.lock(), b"12");
    journaling.write(two).unwrap();
    assert_eq!(*paper.written.lock(), b"12");
}

#[test]
fn each_is_told_of_its_own_frames_whatever_became_of_others() {
    let (paper, journaling) = journaling();
    let before = queue(&journaling, b"0");
    journaling.write(before).unwrap();
    paper.refuses.store(true, Ordering::Relaxed);
    let failed: Vec<Ticket> = [b"1", b"2"].map(|it| queue(&journaling, it)).into();
    assert!(journaling.write(failed[1]).is_err());
    let later = queue(&journaling, b"3");
    assert!(journaling.write(later).is_err());
    assert!(journaling.try_again().is_err());
    paper.refuses.store(false, Ordering::Relaxed);
    let after = queue(&journaling, b"4");
    journaling.write(after).unwrap();
    for it in failed.into_iter().chain([later]) {
        let why = journaling.write(it).unwrap_err();
        assert_eq!(why.to_string(), "no room in the drawer", "{it:?}");
    }
    for it in [before, after] {
        assert!(journaling.write(it).is_ok(), "{it:?}");
    }
    assert_eq!(*paper.written.lock(), b"04");
    journaling.try_again().unwrap();
    assert_eq!(*paper.written.lock(), b"04", "nothing fails any more");
}

#[test]
fn frames_of_many_threads_are_written_once_each_in_the_order_of_their_tickets() {
    const THREADS: u16 = 4;
    const EACH: u16 = 500;
    let (paper, journaling) = journaling();
    let tickets = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (paper, journaling) = (&paper, &journaling);
                scope.spawn(move || {
                    let one = |it: u16| {
                        let frame = (thread * EACH + it).to_be_bytes();
                        let ticket = queue(journaling, &frame);
                        journaling.write(ticket).unwrap();
                        let written = paper.written.lock();
                        let (frames, _) = written.as_chunks::<2>();
                        assert!(frames.contains(&frame), "it is there when it is said to be");
                        (ticket, frame)
                    };
                    (0..EACH).map(one).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut tickets: Vec<_> = threads
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect();
        tickets.sort_unstable();
        tickets
    });
    let in_order: Vec<u8> = tickets.into_iter().flat_map(|(_, frame)| frame).collect();
    assert_eq!(*paper.written.lock(), in_order);
}
