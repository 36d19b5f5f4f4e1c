use super::*;

#[test]
fn a_user_keeps_its_slot_and_names_are_told_apart() {
    let mut users = Users::new(3);
    let ann = users.intern("acme", "ann");
    assert_ne!(ann, users.intern("acme", "bob"));
    assert_eq!(ann, users.intern("acme", "ann"));
}

#[test]
fn users_of_two_organisations_are_two_whatever_they_are_called() {
    let mut users = Users::new(2);
    let (here, there) = (users.intern("acme", "ann"), users.intern("bolt", "ann"));
    assert_ne!(here, there);
    assert_eq!(users.intern("acme", "ann"), here);
    let third = users.intern("coil", "ann");
    assert!(users.user(there).is_none(), "not seen for longest");
    assert!([here, third].iter().all(|it| users.user(*it).is_some()));
    assert_eq!(users.by_name.len(), 2, "nobody of bolt is left");
}

#[test]
fn beyond_the_bound_whoever_was_not_seen_for_longest_goes() {
    let mut users = Users::new(3);
    let [ann, bob, cy] = ["ann", "bob", "cy"].map(|it| users.intern("acme", it));
    users.see(ann, 0);
    let dan = users.intern("acme", "dan");
    assert!(users.user(bob).is_none(), "bob was seen before cy and ann");
    assert!([ann, cy, dan].iter().all(|it| users.user(*it).is_some()));

    let bob_again = users.intern("acme", "bob");
    assert_ne!(
        bob, bob_again,
        "a slot of the past must not point to the present"
    );
    assert!(users.user(cy).is_none());
    assert_eq!(users.slots.len(), 3);
    assert_eq!(users.by_name["acme"].len(), 3);
}

#[test]
fn a_bound_of_one_is_a_bound() {
    let mut users = Users::new(1);
    for name in ["ann", "bob", "ann", "cy"] {
        let slot = users.intern("acme", name);
        users.see(slot, 0);
        assert!(users.user(slot).is_some());
    }
    assert_eq!(users.by_name["acme"].len(), 1);
}

#[test]
fn those_seen_in_the_last_ten_minutes_share_the_flow() {
    let mut users = Users::new(10);
    let [ann, bob] = ["ann", "bob"].map(|it| users.intern("acme", it));
    assert_eq!(users.present(), 1, "a share is never of nobody");
    let mut present_at = |slot, now| {
        users.see(slot, now);
        users.present()
    };
    assert_eq!(present_at(ann, 0), 1);
    assert_eq!(present_at(bob, 1), 2);
    assert_eq!(present_at(bob, 2), 2);
    assert_eq!(
        present_at(ann, WINDOW_NANOS + 1),
        2,
        "as many as in the window before"
    );
    assert_eq!(present_at(ann, 2 * WINDOW_NANOS + 2), 1, "bob has gone");
    assert_eq!(present_at(UserSlot::NONE, 2 * WINDOW_NANOS + 3), 1);
}
