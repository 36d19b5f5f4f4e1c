use proptest::prelude::*;
use tidegate_store::MemoryStore;

use super::*;

fn link() -> Link {
    Link {
        approval: ApprovalId::from_raw(7),
        approve: true,
        until: 1_784_120_400,
        channel: "ops".into(),
    }
}

fn signature(path: &str) -> &str {
    path.split_once("&s=").unwrap().1
}

#[test]
fn a_link_says_what_it_decides_and_is_signed() {
    let key = LinkKey::new([7; 32]);
    expect_test::expect!["/approvals/appr_0000000000000007?d=approve&e=1784120400&c=ops&s=b727bf0f566fb65e1d8b7073f3c0556e0a20d8ec2d011ee3cdc49f6b88fe7fcb"]
        .assert_eq(&key.path(&link()));
}

#[test]
fn a_key_is_made_once_and_kept() {
    let store = MemoryStore::default();
    let made = LinkKey::kept(&store, [1; 32]).unwrap();
    let kept = LinkKey::kept(&store, [2; 32]).unwrap();
    assert_eq!(kept.path(&link()), made.path(&link()));
    assert_ne!(LinkKey::new([2; 32]).path(&link()), made.path(&link()));
}

proptest! {
    #[test]
    fn a_signature_fits_its_own_link_and_no_other(
        approval: u64, approve: bool, until: u64, channel in "[a-z0-9._-]{1,8}",
        other_approval: u64, other_until: u64, other_channel in "[a-z0-9._-]{1,8}",
    ) {
        let key = LinkKey::new([7; 32]);
        let link = Link { approval: ApprovalId::from_raw(approval), approve, until, channel: channel.into() };
        let path = key.path(&link);
        let signature = signature(&path);
        prop_assert!(key.knows(&link, signature));
        prop_assert!(!LinkKey::new([8; 32]).knows(&link, signature));
        let others = [
            Link { approval: ApprovalId::from_raw(other_approval), ..link.clone() },
            Link { approve: !approve, ..link.clone() },
            Link { until: other_until, ..link.clone() },
            Link { channel: other_channel.as_str().into(), ..link.clone() },
        ];
        for other in others {
            prop_assert_eq!(key.knows(&other, signature), other == link);
        }
    }

    #[test]
    fn what_is_no_signature_is_refused(text in "\\PC{0,70}") {
        prop_assert!(!LinkKey::new([7; 32]).knows(&link(), &text));
    }
}
