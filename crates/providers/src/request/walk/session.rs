//! The session that Claude Code names in `metadata.user_id`.

use crate::{RequestError, json::Cursor};

/// Longest session name that is taken: twice a UUID and some.
const SESSION_BYTES_MAX: usize = 128;

/// Reads the `metadata` that is next. Whatever is not understood is no session, and no error.
pub(super) fn of_metadata(cursor: &mut Cursor<'_>) -> Result<Option<String>, RequestError> {
    if cursor.peek() != Some(b'{') {
        cursor.skip()?;
        return Ok(None);
    }
    cursor.open(b'{', "`{`")?;
    let (mut first, mut session) = (true, None);
    while let Some(key) = cursor.next_key(&mut first)? {
        if *key == *b"user_id" && cursor.peek() == Some(b'"') {
            let user = cursor.text()?.decoded()?;
            session = of_user(&user);
        } else {
            cursor.skip()?;
        }
    }
    Ok(session)
}

/// `{"device_id":…,"account_uuid":…,"session_id":…}`, or, as older versions write it,
/// `user_<hash>_account_<uuid>_session_<uuid>`.
fn of_user(user: &[u8]) -> Option<String> {
    let session = if user.first() == Some(&b'{') {
        of_json(user)?
    } else {
        let user = std::str::from_utf8(user).ok()?;
        let (_before, session) = user.rsplit_once("_session_")?;
        session.to_owned()
    };
    let in_id = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.' | b':');
    let is_id = (1..=SESSION_BYTES_MAX).contains(&session.len()) && session.bytes().all(in_id);
    is_id.then_some(session)
}

fn of_json(user: &[u8]) -> Option<String> {
    let mut cursor = Cursor::new(user);
    cursor.open(b'{', "`{`").ok()?;
    let (mut first, mut session) = (true, None);
    while let Some(key) = cursor.next_key(&mut first).ok()? {
        if *key == *b"session_id" {
            session = Some(cursor.text().ok()?.to_text().ok()?);
        } else {
            cursor.skip().ok()?;
        }
    }
    session
}
