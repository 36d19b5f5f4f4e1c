//! What programs that sign in are told: OAuth's own forms (RFC 6749, 8414 and 8628).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where to sign in (RFC 8414).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LoginMetadata {
    /// This gateway.
    pub issuer: String,
    /// Where to ask for codes.
    pub device_authorization_endpoint: String,
    /// Where to fetch tokens.
    pub token_endpoint: String,
    /// Where to sign out.
    pub revocation_endpoint: String,
    /// For what tokens are given.
    pub grant_types_supported: Vec<&'static str>,
    /// None: there is no authorization endpoint.
    pub response_types_supported: Vec<&'static str>,
    /// Programs show no credential of their own.
    pub token_endpoint_auth_methods_supported: Vec<&'static str>,
}

/// What a program says that wants to be signed in. All of it may be missing.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct DeviceRequest {
    /// What it calls itself: `claude_code`.
    pub surface: String,
}

/// The two codes (RFC 8628, section 3.2).
#[derive(Clone, Serialize, ToSchema)]
pub struct DeviceCodes {
    /// For the program: it polls with it.
    pub device_code: String,
    /// For its user: to be confirmed.
    #[schema(example = "WDJB-MJHT")]
    pub user_code: String,
    /// The page on which it is confirmed.
    pub verification_uri: String,
    /// The same page, with the code filled in.
    pub verification_uri_complete: String,
    /// Seconds for which both are good.
    pub expires_in: u64,
    /// Seconds between two polls.
    pub interval: u64,
}

/// What a program asks tokens for.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct TokenRequest {
    /// `urn:ietf:params:oauth:grant-type:device_code` or `refresh_token`.
    pub grant_type: String,
    /// With the former.
    pub device_code: String,
    /// With the latter.
    pub refresh_token: String,
}

/// Tokens.
#[derive(Clone, Serialize, ToSchema)]
pub struct TokenAnswer {
    /// What calls carry as bearer.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: &'static str,
    /// Seconds for which the access token is good.
    pub expires_in: u64,
    /// What fetches the next tokens, once.
    pub refresh_token: String,
    /// Whom it was signed in as: user and organisation.
    pub email: String,
}

/// A token whose sign-in is to end (RFC 7009).
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct SignOutRequest {
    /// Of either kind.
    pub token: String,
}

/// Why there are no tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OauthFailure {
    /// Stable, for programs: `authorization_pending`, `invalid_grant`.
    pub error: &'static str,
    /// For people.
    pub error_description: String,
}

macro_rules! hidden {
    ($($name:ident),+) => {$(
        /// It holds secrets.
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), " [redacted]"))
            }
        }
    )+};
}

hidden!(DeviceCodes, TokenRequest, TokenAnswer, SignOutRequest);
