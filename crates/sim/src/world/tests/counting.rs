//! Tokens that are only counted.

use super::*;

#[test]
fn counting_tokens_has_a_limit_of_its_own() {
    let spec = ProviderSpec {
        count_tokens_per_minute: 60,
        ..spec()
    };
    let mut world = World::new(spec, START);
    let mut call = anthropic(1, 0, 1);
    call.blocks = Block::chain([("user", &[b'a'; 361][..], None)]);
    for _ in 0..60 {
        assert_eq!(world.count_tokens(&call, START), Ok(Tokens(101)));
    }
    assert_eq!(
        world.count_tokens(&call, START),
        Err(Duration::from_secs(1))
    );
    admitted(&mut world, &call, START);
}

#[test]
fn counting_tokens_is_limited_per_credential_whatever_the_models() {
    let spec = ProviderSpec {
        count_tokens_per_minute: 60,
        ..spec()
    };
    let mut world = World::new(spec, START);
    let models = ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-4-5"];
    let mut call = anthropic(1, 0, 1);
    for turn in 0..60 {
        models[turn % 3].clone_into(&mut call.model);
        assert!(world.count_tokens(&call, START).is_ok(), "{turn}");
    }
    for model in models {
        model.clone_into(&mut call.model);
        let wait = world.count_tokens(&call, START);
        assert_eq!(wait, Err(Duration::from_secs(1)), "{model}");
    }
    call.account = Account {
        fingerprint: 43,
        ..call.account
    };
    assert!(world.count_tokens(&call, START).is_ok());
}
