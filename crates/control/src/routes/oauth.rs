//! Where programs sign in by themselves: the metadata, the codes, the tokens, and signing out.
//!
//! Unknown parameters are passed over, as OAuth wants it; refusals have OAuth's form.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use tidegate_engine::identity::is_local;
use tidegate_logins::{ACCESS_LIFE, INTERVAL, LIFE, Poll, RANDOM_BYTES, RefreshError, Tokens};
use tidegate_observe::audit::Actor;
use tidegate_types::Role;

use crate::{
    Control,
    access::{peer, presented},
    error::Error,
    read::Form,
    wire::{
        DeviceCodes, DeviceRequest, LoginMetadata, OauthFailure, SignOutRequest, TokenAnswer,
        TokenRequest,
    },
};

/// What a program polls for that was given a device code.
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What a program that was confirmed renews its tokens with.
const REFRESH_GRANT: &str = "refresh_token";

/// A request is refused, in OAuth's form.
#[derive(Debug)]
pub(crate) struct Refused(StatusCode, OauthFailure);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

fn refused(status: StatusCode, error: &'static str, why: impl ToString) -> Refused {
    let error_description = why.to_string();
    Refused(
        status,
        OauthFailure {
            error,
            error_description,
        },
    )
}

/// What else goes wrong is told in this form, too.
fn broken(error: &Error) -> Refused {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    refused(status, "temporarily_unavailable", error)
}

/// The address that a program knows this gateway by: the one it asks. Behind a proxy that speaks TLS,
/// what that says of it. `None` where no link could lead there.
pub(crate) fn base(headers: &HeaderMap, request_authority: Option<&str>) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    let host = text(header::HOST.as_str()).or(request_authority)?;
    let plain = |it: char| it.is_ascii_alphanumeric() || ".-:[]_".contains(it);
    if host.is_empty() || !host.chars().all(plain) {
        return None;
    }
    let scheme = match text("x-forwarded-proto") {
        Some(it) if it.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    };
    Some(format!("{scheme}://{host}"))
}

fn base_of(request: &Request) -> Result<String, Refused> {
    let authority = request.uri().authority();
    let base = base(
        request.headers(),
        authority.map(http::uri::Authority::as_str),
    );
    base.ok_or_else(|| {
        let why = "the request names no host that a link could lead to";
        refused(StatusCode::BAD_REQUEST, "invalid_request", why)
    })
}

/// Whether it comes from this machine, where calls without a key are taken.
fn is_here(control: &Control, request: &Request) -> bool {
    control.engine.settings().keyless && is_local(&presented(request, None))
}

fn random(control: &Control) -> Result<[u8; RANDOM_BYTES], Refused> {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(|it| {
        control.report_failure(&it);
        broken(&Error::Broken)
    })?;
    Ok(random)
}

/// Where programs sign in (RFC 8414).
#[utoipa::path(get, path = "/.well-known/oauth-authorization-server", tag = "logins",
    responses((status = 200, body = LoginMetadata)))]
pub(crate) async fn login_metadata(request: Request) -> Result<Json<LoginMetadata>, Refused> {
    let issuer = base_of(&request)?;
    Ok(Json(LoginMetadata {
        device_authorization_endpoint: format!("{issuer}/oauth/device_authorization"),
        token_endpoint: format!("{issuer}/oauth/token"),
        revocation_endpoint: format!("{issuer}/oauth/revoke"),
        grant_types_supported: vec![DEVICE_GRANT, REFRESH_GRANT],
        response_types_supported: Vec::new(),
        token_endpoint_auth_methods_supported: vec!["none"],
        issuer,
    }))
}

/// Ask to be signed in (RFC 8628): two codes, of which somebody has to confirm the short one within
/// ten minutes.
#[utoipa::path(post, path = "/oauth/device_authorization", tag = "logins",
    request_body(content = DeviceRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = DeviceCodes), (status = 400, body = OauthFailure)))]
pub(crate) async fn device_authorization(
    State(control): State<Arc<Control>>,
    request: Request,
) -> Result<Json<DeviceCodes>, Refused> {
    let base = base_of(&request)?;
    let from = peer(&request);
    let Form(form) = form::<DeviceRequest>(request).await?;
    let random = random(&control)?;
    let now = control.engine.now().mono;
    let asked = control.logins.ask(from, &form.surface, &random, now);
    let asked = asked.map_err(|it| refused(StatusCode::TOO_MANY_REQUESTS, "slow_down", it))?;
    let verification_uri = format!("{base}/device");
    Ok(Json(DeviceCodes {
        device_code: asked.device_code.expose().clone(),
        user_code: asked.user_code.to_string(),
        verification_uri_complete: format!("{verification_uri}?user_code={}", asked.user_code),
        verification_uri,
        expires_in: LIFE.as_secs(),
        interval: INTERVAL.as_secs(),
    }))
}

async fn form<T: serde::de::DeserializeOwned>(request: Request) -> Result<Form<T>, Refused> {
    let read = Form::read(request).await;
    read.map_err(|it| refused(StatusCode::BAD_REQUEST, "invalid_request", it))
}

/// Fetch tokens: with a device code once it was confirmed, or with a refresh token, once.
///
/// `401` with `invalid_grant`: the sign-in is over, or whoever confirmed it is gone.
#[utoipa::path(post, path = "/oauth/token", tag = "logins",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = TokenAnswer), (status = 400, body = OauthFailure),
        (status = 401, body = OauthFailure)))]
pub(crate) async fn token(
    State(control): State<Arc<Control>>,
    request: Request,
) -> Result<Json<TokenAnswer>, Refused> {
    let here = is_here(&control, &request);
    let Form(form) = form::<TokenRequest>(request).await?;
    let random = random(&control)?;
    let tokens = control.waiting(move |control| match form.grant_type.as_str() {
        DEVICE_GRANT => polled(control, &form.device_code, here, &random),
        REFRESH_GRANT => refreshed(control, &form.refresh_token, here, &random),
        _ => {
            let why = format!("`grant_type` must be {DEVICE_GRANT} or {REFRESH_GRANT}");
            let status = StatusCode::BAD_REQUEST;
            Err(refused(status, "unsupported_grant_type", why))
        }
    });
    let tokens = tokens.await.map_err(|it| broken(&it))??;
    let holder = &tokens.login.holder;
    Ok(Json(TokenAnswer {
        access_token: tokens.access.expose().clone(),
        token_type: "Bearer",
        expires_in: ACCESS_LIFE.as_secs(),
        refresh_token: tokens.refresh.expose().clone(),
        email: format!("{}@{}", holder.user, holder.organisation),
    }))
}

fn polled(
    control: &Control,
    device_code: &str,
    here: bool,
    random: &[u8; RANDOM_BYTES],
) -> Result<Tokens, Refused> {
    let now = control.engine.now();
    let polled = control
        .logins
        .poll(device_code, here, random, (now.mono, now.wall));
    let polled = polled.map_err(|it| broken(&control.store_failed(&it)))?;
    let not_yet = |error, why: &str| Err(refused(StatusCode::BAD_REQUEST, error, why));
    match polled {
        Poll::Confirmed(tokens, ended) => {
            control.login_ended((Actor::Tidegate, Role::Admin), ended.as_deref());
            Ok(*tokens)
        }
        Poll::Open => not_yet("authorization_pending", "nobody has confirmed the code yet"),
        Poll::TooEarly => not_yet("slow_down", "wait five seconds longer between two tries"),
        Poll::Expired => not_yet("expired_token", "nobody confirmed the code in time"),
        Poll::Denied => not_yet("access_denied", "the sign-in was denied"),
        Poll::Unknown => not_yet(
            "invalid_grant",
            "there is no such code any more: start again with `/login`",
        ),
        Poll::Full => not_yet(
            "access_denied",
            "as many programs are signed in as can be: an operator has to end some",
        ),
    }
}

fn refreshed(
    control: &Control,
    token: &str,
    here: bool,
    random: &[u8; RANDOM_BYTES],
) -> Result<Tokens, Refused> {
    let now = control.engine.now().wall;
    let refreshed = control.logins.refresh(token, here, random, now);
    refreshed.map_err(|why| {
        match &why {
            RefreshError::Store(failed) => return broken(&control.store_failed(failed)),
            RefreshError::UsedBefore(ended) => {
                control.login_ended((Actor::Tidegate, Role::Admin), Some(ended));
            }
            RefreshError::Unknown => {}
        }
        refused(StatusCode::UNAUTHORIZED, "invalid_grant", why)
    })
}

/// Sign out (RFC 7009): the sign-in that the token belongs to ends. A token of none is no error.
#[utoipa::path(post, path = "/oauth/revoke", tag = "logins",
    request_body(content = SignOutRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "It is signed out")))]
pub(crate) async fn sign_out(
    State(control): State<Arc<Control>>,
    request: Request,
) -> Result<StatusCode, Refused> {
    let Form(form) = form::<SignOutRequest>(request).await?;
    let ended = control.waiting(move |control| {
        let ended = control.logins.sign_out(&form.token);
        let ended = ended.map_err(|it| broken(&control.store_failed(&it)))?;
        // The holder of a token is who its sign-in is known by.
        let who = ended.as_ref().map_or(Actor::Local, |it| Actor::Key(it.id));
        control.login_ended((who, Role::Caller), ended.as_ref());
        Ok::<_, Refused>(())
    });
    ended.await.map_err(|it| broken(&it))??;
    Ok(StatusCode::OK)
}
