//! What Claude Code fetches beside its calls when it is signed in: the operator's settings.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;
use tidegate_ledger::keys;
use utoipa::ToSchema;

use crate::{Control, error::Error};

/// Settings that Claude Code takes over when it is signed in.
#[derive(Clone, Debug, serde::Serialize, ToSchema)]
pub(crate) struct ManagedSettings {
    /// Names these settings: others have another.
    pub(crate) uuid: String,
    /// `sha256:` and the hash of the settings' JSON with sorted keys and without spaces.
    pub(crate) checksum: String,
    /// What Claude Code would read from a file of managed settings.
    #[schema(value_type = Object)]
    pub(crate) settings: Value,
}

impl ManagedSettings {
    fn of(settings: Value) -> Self {
        // Objects are sorted maps: their text is the sorted one.
        let hash = keys::hash(&settings.to_string());
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(String::new(), |all, it| format!("{all}{it:02x}"))
        };
        let uuid = [0..4, 4..6, 6..8, 8..10, 10..16].map(|part| hex(&hash[part]));
        Self {
            uuid: uuid.join("-"),
            checksum: format!("sha256:{}", hex(&hash)),
            settings,
        }
    }
}

/// The settings that the operator gives to programs that are signed in.
#[utoipa::path(get, path = "/managed/settings", tag = "logins",
    responses((status = 200, body = ManagedSettings), (status = 304, description = "They are those that `If-None-Match` names"),
        (status = 404, description = "There are none")))]
pub(crate) async fn managed_settings(
    State(control): State<Arc<Control>>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let settings = control.operations.managed_settings();
    let settings = settings
        .map(ManagedSettings::of)
        .ok_or(Error::NoManagedSettings)?;
    let tag = format!("\"{}\"", settings.checksum);
    let known = is_named(&headers, &tag);
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Json(settings).into_response()
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// Whether `If-None-Match` names a tag. `*` names none: who sends it wants to know whether there are
/// settings, and has none.
fn is_named(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).into_iter();
    let mut tags = lists
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','));
    tags.any(|it| {
        let it = it.trim();
        it.strip_prefix("W/").unwrap_or(it) == tag
    })
}
