//! What secrets look like.

use std::ops::Range;

/// Bytes that can be inside a key or token.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Bytes of base64 in either alphabet, with padding, and what joins parts of credentials.
const fn is_credential(byte: u8) -> bool {
    is_token(byte) || matches!(byte, b'.' | b'+' | b'/' | b'=' | b'~')
}

/// A prefix that marks a secret, and how many more bytes make it one. Fewer are prose:
/// `sk-learn` is a library.
struct Prefix {
    text: &'static str,
    more: usize,
}

const fn prefix(text: &'static str, more: usize) -> Prefix {
    Prefix { text, more }
}

const PREFIXES: &[Prefix] = &[
    prefix("sk-", 8),
    prefix("tg-", 16),
    prefix("tgl-", 16),
    prefix("pk-", 16),
    prefix("AKIA", 16),
    prefix("ASIA", 16),
    prefix("AIza", 30),
    prefix("ghp_", 20),
    prefix("gho_", 20),
    prefix("ghu_", 20),
    prefix("ghs_", 20),
    prefix("ghr_", 20),
    prefix("github_pat_", 20),
    prefix("glpat-", 16),
    prefix("gsk_", 16),
    prefix("hf_", 16),
    prefix("npm_", 20),
    prefix("pplx-", 16),
    prefix("pypi-", 20),
    prefix("rk_live_", 8),
    prefix("sk_live_", 8),
    prefix("sk_test_", 8),
    prefix("syn_", 16),
    prefix("xai-", 16),
    prefix("xoxa-", 8),
    prefix("xoxb-", 8),
    prefix("xoxp-", 8),
    prefix("xoxr-", 8),
    prefix("xoxs-", 8),
];

/// Names whose values are secrets, in lower case, `-` and `_` alike. Longer before shorter.
const NAMES: &[&str] = &[
    "access_token",
    "refresh_token",
    "id_token",
    "auth_token",
    "authorization",
    "x_api_key",
    "x_tidegate_key",
    "api_key",
    "apikey",
    "client_secret",
    "secret_access_key",
    "secret_key",
    "private_key",
    "password",
    "passwd",
    "secret",
    "token",
];

/// What a byte may be of a secret: everywhere else nothing is compared, since all that is kept is
/// looked at, byte by byte.
static BYTES: [u8; 256] = bytes();

/// One of [`PREFIXES`] begins with it.
const OF_PREFIX: u8 = 1;
/// One of [`NAMES`] does, in either case.
const OF_NAME: u8 = 2;
/// Some other form does.
const OF_OTHER: u8 = 4;
/// Something begins with it also inside of a word.
const ANYWHERE: u8 = 8;
/// It is a letter or a digit: what follows it is inside of a word.
const IN_WORD: u8 = 16;

/// `eyJ`, `Bearer` and `Basic`, the dashes of PEM, the colon of a URL.
const OTHERS: [&str; 5] = ["eyJ", "bearer", "basic", "--", "://"];

const fn bytes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < PREFIXES.len() {
        table[PREFIXES[at].text.as_bytes()[0] as usize] |= OF_PREFIX;
        at += 1;
    }
    at = 0;
    while at < NAMES.len() {
        let first = NAMES[at].as_bytes()[0];
        table[first as usize] |= OF_NAME;
        table[first.to_ascii_uppercase() as usize] |= OF_NAME;
        at += 1;
    }
    at = 0;
    while at < OTHERS.len() {
        let first = OTHERS[at].as_bytes()[0];
        table[first as usize] |= OF_OTHER;
        if first == b'b' {
            table[b'B' as usize] |= OF_OTHER;
        }
        at += 1;
    }
    let mut byte = 0;
    while byte < 128 {
        #[expect(clippy::cast_possible_truncation, reason = "below 128")]
        let it = byte as u8;
        if it.is_ascii_alphanumeric() {
            table[byte] |= IN_WORD;
        }
        if table[byte] & OF_ANY != 0 && !it.is_ascii_alphabetic() {
            table[byte] |= ANYWHERE;
        }
        byte += 1;
    }
    table
}

const OF_ANY: u8 = OF_PREFIX | OF_NAME | OF_OTHER;

/// Which second bytes follow a first one in some form, by their lower five bits, which letters of
/// both cases share: few words begin as a secret does.
static SECONDS: [u32; 256] = seconds();

const fn seconds() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < PREFIXES.len() {
        table = follow(table, PREFIXES[at].text.as_bytes());
        at += 1;
    }
    at = 0;
    while at < NAMES.len() {
        table = follow(table, NAMES[at].as_bytes());
        at += 1;
    }
    at = 0;
    while at < OTHERS.len() {
        table = follow(table, OTHERS[at].as_bytes());
        at += 1;
    }
    table
}

const fn follow(mut table: [u32; 256], form: &[u8]) -> [u32; 256] {
    let bit = match form[1] {
        // A name may be written with either.
        b'_' => 1 << (b'_' & 31) | 1 << (b'-' & 31),
        other => 1u32 << (other & 31),
    };
    table[form[0] as usize] |= bit;
    table[form[0].to_ascii_uppercase() as usize] |= bit;
    table
}

/// Whether `name` is one whose values are secrets.
pub(super) fn is_secret_name(name: &str) -> bool {
    let plain = |it: u8| {
        if it == b'-' {
            b'_'
        } else {
            it.to_ascii_lowercase()
        }
    };
    let same = |known: &&&str| known.bytes().eq(name.bytes().map(plain));
    let begins = name.as_bytes().first();
    begins.is_some_and(|it| BYTES[usize::from(*it)] & OF_NAME != 0)
        && NAMES
            .iter()
            .filter(|it| it.len() == name.len())
            .any(|it| same(&it))
}

/// Where the next secret is, at or after `from`.
pub(super) fn next_secret(text: &[u8], from: usize) -> Option<Range<usize>> {
    let before = from.checked_sub(1).and_then(|it| text.get(it));
    let mut inside = before.is_some_and(u8::is_ascii_alphanumeric);
    for (place, byte) in text.get(from..)?.iter().enumerate() {
        let kind = BYTES[usize::from(*byte)];
        // A secret does not begin inside a word: `task-management` holds no `sk-` key.
        let wanted = if inside { ANYWHERE } else { OF_ANY };
        inside = kind & IN_WORD != 0;
        if kind & wanted == 0 {
            continue;
        }
        let at = from + place;
        let second = text.get(at + 1).copied().unwrap_or_default();
        if SECONDS[usize::from(*byte)] >> (second & 31) & 1 == 1
            && let Some(secret) = secret_at(text, at, kind)
        {
            return Some(secret);
        }
    }
    None
}

/// Finds a secret at the start of a text.
type Find = fn(&[u8]) -> Option<Range<usize>>;

/// Forms that begin with a letter, in the order in which they are tried.
static FORMS: [(u8, Find); 4] = [
    (OF_PREFIX, prefixed),
    (OF_OTHER, web_token),
    (OF_OTHER, scheme),
    (OF_NAME, named),
];

/// The secret whose mark begins at `at`, with a byte that is this of [`BYTES`]. Apart from the loop
/// that asks, which has all it needs in registers then.
#[cold]
#[inline(never)]
fn secret_at(text: &[u8], at: usize, kind: u8) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let found = match rest.first()? {
        b'-' => private_key(rest),
        b':' => password_in_url(rest),
        _ => FORMS
            .iter()
            .filter(|(of, _)| kind & of != 0)
            .find_map(|(_, find)| find(rest)),
    };
    found.map(|it| at + it.start..at + it.end)
}

/// How many bytes at `from` satisfy `is`.
fn run(text: &[u8], from: usize, is: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    rest.iter().take_while(|it| is(**it)).count()
}

fn prefixed(text: &[u8]) -> Option<Range<usize>> {
    let begins = text.first_chunk::<2>()?;
    // Two bytes tell most apart, without a call for each.
    let prefix = PREFIXES
        .iter()
        .filter(|it| it.text.as_bytes().first_chunk::<2>() == Some(begins))
        .find(|it| text.starts_with(it.text.as_bytes()))?;
    let more = run(text, prefix.text.len(), is_token);
    (more >= prefix.more).then(|| 0..prefix.text.len() + more)
}

/// `eyJ….….…`: a JSON web token is three parts of base64, the first of which begins with `{"`.
fn web_token(text: &[u8]) -> Option<Range<usize>> {
    if !text.starts_with(b"eyJ") {
        return None;
    }
    let head = run(text, 0, is_token);
    let body = run(text, head + 1, is_token);
    let dots = text.get(head) == Some(&b'.') && text.get(head + 1 + body) == Some(&b'.');
    if !dots || head < 8 || body < 2 {
        return None;
    }
    let signature = run(text, head + body + 2, is_token);
    Some(0..head + body + 2 + signature)
}

/// `Bearer TOKEN`, `Basic TOKEN`: the word stays, the credential goes.
fn scheme(text: &[u8]) -> Option<Range<usize>> {
    let (word, at_least) = [(&b"bearer"[..], 8), (&b"basic"[..], 12)]
        .into_iter()
        .find(|(it, _)| starts_with_word(text, it))?;
    let spaces = run(text, word.len(), |it| it == b' ');
    let start = word.len() + spaces;
    let length = run(text, start, is_credential);
    let credential = text.get(start..start + length)?;
    // "basic authentication", "bearer authorization"
    (spaces > 0 && length >= at_least && !prose(credential)).then(|| start..start + length)
}

/// Whether it reads like a word of a sentence.
fn prose(word: &[u8]) -> bool {
    word.iter().all(u8::is_ascii_lowercase)
}

fn starts_with_word(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len())
        .is_some_and(|it| it.eq_ignore_ascii_case(word))
}

/// `api_key = "VALUE"`, `"password":"VALUE"`, `x-api-key: VALUE`: the name stays, the value goes.
fn named(text: &[u8]) -> Option<Range<usize>> {
    let same = |a: u8, b: u8| a.eq_ignore_ascii_case(&b) || (a == b'-' && b == b'_');
    let [first, second] = text.first_chunk::<2>().copied()?;
    let begins = |name: &&&str| {
        let name = name.as_bytes();
        same(first, name[0]) && same(second, name[1])
    };
    let name = NAMES.iter().filter(begins).find(|name| {
        let bytes = text.get(..name.len()).unwrap_or_default();
        bytes.len() == name.len() && bytes.iter().zip(name.bytes()).all(|(a, b)| same(*a, b))
    })?;
    let quote = |it: u8| matches!(it, b'"' | b'\'' | b'\\');
    let space = |it: u8| matches!(it, b' ' | b'\t');
    let mut at = name.len() + run(text, name.len(), quote);
    at += run(text, at, space);
    let separators = run(text, at, |it| matches!(it, b':' | b'='));
    if separators == 0 {
        return None;
    }
    at += separators;
    at += run(text, at, space);
    let quoted = run(text, at, quote);
    at += quoted;
    // A scheme's word is no secret; what follows it is.
    if let Some(inner) = scheme(text.get(at..)?) {
        return Some(at + inner.start..at + inner.end);
    }
    let value = run(text, at, |it| match it {
        b'"' | b'\'' | b'\\' | b'\n' | b'\r' => false,
        // Between quotes a value may hold what would end it elsewhere.
        _ if quoted > 0 => true,
        b',' | b';' | b'&' | b'}' | b')' => false,
        other => other.is_ascii_graphic(),
    });
    let redacted = text
        .get(at..)
        .is_some_and(|it| it.starts_with(super::REDACTED.as_bytes()));
    let at_least = match *name {
        // Words of grammar and HTTP too: "unexpected token: identifier".
        "token" | "authorization" if prose(text.get(at..at + value)?) => return None,
        "token" | "authorization" => 6,
        _ if quoted > 0 => 1,
        // `secret=true`, `password: none`
        _ => 6,
    };
    (!redacted && value >= at_least).then(|| at..at + value)
}

/// `://user:PASSWORD@host`.
fn password_in_url(text: &[u8]) -> Option<Range<usize>> {
    if !text.starts_with(b"://") {
        return None;
    }
    let user = run(text, 3, |it| {
        is_token(it) || matches!(it, b'.' | b'%' | b'+')
    });
    let colon = 3 + user;
    if text.get(colon) != Some(&b':') {
        return None;
    }
    let in_password = |it: u8| it.is_ascii_graphic() && !matches!(it, b'@' | b'/' | b'"' | b'\'');
    let password = run(text, colon + 1, in_password);
    let end = colon + 1 + password;
    (password > 0 && text.get(end) == Some(&b'@')).then(|| colon + 1..end)
}

/// `-----BEGIN … PRIVATE KEY-----` up to its end line, or to the end of the text if that is cut.
fn private_key(text: &[u8]) -> Option<Range<usize>> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const KIND: &[u8] = b"PRIVATE KEY-----";
    const END: &[u8] = b"-----END ";
    let label = text.strip_prefix(BEGIN)?;
    let words = run(label, 0, |it| it.is_ascii_uppercase() || it == b' ');
    let marked = label.get(..words + 5)?.ends_with(KIND);
    if !marked {
        return None;
    }
    let Some(end) = memchr::memmem::find(text, END) else {
        return Some(0..text.len());
    };
    let close = memchr::memmem::find(text.get(end + END.len()..)?, b"-----");
    Some(0..close.map_or(text.len(), |it| end + END.len() + it + 5))
}
