use super::*;

fn key(of: &str) -> PlaceKey {
    PlaceKey::of("local", "ada", "s", &[of.as_bytes()])
}

fn keep(all: &Continuations, of: &str, status: u16, body: Vec<u8>) {
    let mut answer = Response::new(Bytes::from(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    all.keep(key(of), CallId::from_raw(1), &answer);
}

fn taken(all: &Continuations, of: &str, stream: bool) -> Option<(u16, Bytes)> {
    let (_, answer) = all.take(key(of), stream)?;
    let status = answer.status().as_u16();
    match answer.into_body() {
        ReplyBody::Whole(body) => Some((status, body.unwrap_or_default())),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_once_to_who_asks_the_same_and_for_a_minute_only() {
    let all = Continuations::default();
    assert!(all.is_empty());
    keep(&all, "a", 429, b"no".to_vec());
    keep(&all, "a", 400, b"never".to_vec());
    keep(&all, "b", 529, b"busy".to_vec());
    assert_eq!(taken(&all, "c", false), None);
    assert_eq!(taken(&all, "a", true), Some((400, "never".into())));
    assert_eq!(taken(&all, "a", true), None, "once");
    tokio::time::advance(KEPT_FOR).await;
    assert!(!all.is_empty());
    all.tidy();
    assert!(all.is_empty());
    assert_eq!(taken(&all, "b", false), None);
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_is_kept_from_who_wants_a_stream() {
    let all = Continuations::default();
    keep(&all, "a", 200, b"{}".to_vec());
    assert_eq!(taken(&all, "a", true), None);
    assert_eq!(taken(&all, "a", false), Some((200, "{}".into())));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_has_bounds_in_number_and_bytes() {
    let all = Continuations::default();
    for number in 0..KEPT_MAX + 10 {
        keep(&all, &number.to_string(), 429, vec![0; 100]);
    }
    assert_eq!(all.all.lock().kept.len(), KEPT_MAX);
    assert_eq!(taken(&all, "9", false), None, "the oldest have gone");
    assert!(taken(&all, "10", false).is_some());
    for number in 0..10 {
        keep(
            &all,
            &format!("large {number}"),
            200,
            vec![0; KEPT_BYTES_MAX / 4],
        );
        let all = all.all.lock();
        assert!(all.bytes <= KEPT_BYTES_MAX);
        let held: usize = all.kept.iter().map(|it| it.body.len()).sum();
        assert_eq!(all.bytes, held);
    }
    keep(&all, "too large", 200, vec![0; KEPT_BYTES_MAX + 1]);
    assert_eq!(taken(&all, "too large", false), None);
    assert!(taken(&all, "large 9", false).is_some());
}
