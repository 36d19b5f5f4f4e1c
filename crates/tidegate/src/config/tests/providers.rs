//! Providers: where they are, and whom they trust.

use super::*;

#[test]
fn an_address_without_a_host_is_told_so() {
    check_wrong(
        "[providers.a]\nfamily = 'openai'\nbase_url = 'https://'\n[providers.b]\nfamily = 'openai'\nbase_url = 'http:///v2'\n[providers.c]\nfamily = 'openai'\nbase_url = 'http://:80'\n[providers.d]\nfamily = 'openai'\nbase_url = 'ftp://'\n",
        expect![[r#"
            tidegate.toml:4:12: providers.a.base_url: `https://` names no host; write it like https://api.example.com
            tidegate.toml:7:12: providers.b.base_url: `http:///v2` names no host; write it like https://api.example.com
            tidegate.toml:10:12: providers.c.base_url: `http://:80` names no host; write it like https://api.example.com
            tidegate.toml:13:12: providers.d.base_url: `ftp://` begins with neither https:// nor http://; write it like https://api.example.com
        "#]],
    );
}
