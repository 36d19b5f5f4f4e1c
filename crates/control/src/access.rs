//! Who sends a request, what they may do, and what they may see.

use std::{net::IpAddr, net::Ipv4Addr, sync::Arc};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, Method, header};
use tidegate_engine::identity::{Credential, Own, Presented, Principal, is_local, page_origin};
use tidegate_ledger::{EntryPath, keys};
use tidegate_observe::audit::Actor;
use tidegate_types::{Caller, Priority, Role};

use crate::{
    Control, Peer,
    error::{Error, worded},
    routes::ROUTES,
};

/// What a route asks of whoever uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Nothing: it says no more than that we are there.
    None,
    /// To be known. What is shown is what they may see.
    Look,
    /// To look at an organisation as a whole.
    LookAround,
    /// To ask for admissions.
    Ask,
    /// To decide on requests for approval.
    Decide,
    /// To change limits, reload, read the whole ledger.
    Operate,
    /// To make and revoke keys.
    Administer,
}

/// One route.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) right: Right,
}

/// How somebody became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The token of the data directory, from this machine.
    Token,
    /// A key.
    Key,
    /// Nothing, from this machine.
    Nothing,
}

/// Who sends a request.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) principal: Principal,
    pub(crate) by: By,
    /// Whether it may speak for the whole gateway: the token's holder, the local user, and keys of
    /// the same organisation.
    pub(crate) at_home: bool,
}

/// Whose facts a visitor may see.
#[derive(Clone, Debug)]
pub(crate) enum Sight {
    /// Everybody's.
    All,
    /// Those of an organisation.
    Organisation(Arc<str>),
    /// One user's.
    User {
        organisation: Arc<str>,
        user: Arc<str>,
    },
}

impl Sight {
    /// Whether they see what belongs to a user of an organisation; `None` for what belongs to the
    /// organisation as a whole.
    pub(crate) fn sees(&self, organisation: &str, user: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Organisation(own) => **own == *organisation,
            Self::User {
                organisation: own,
                user: myself,
            } => **own == *organisation && user.is_some_and(|it| **myself == *it),
        }
    }

    pub(crate) fn sees_path(&self, path: &EntryPath) -> bool {
        self.sees(&path.organisation, Some(&path.user))
    }

    /// Narrows a question to what may be seen; refuses a question for what may not.
    pub(crate) fn narrow(
        &self,
        organisation: Option<String>,
        user: Option<String>,
    ) -> Result<Narrowed, Error> {
        let (own, myself) = match self {
            Self::All => (None, None),
            Self::Organisation(it) => (Some(it), None),
            Self::User { organisation, user } => (Some(organisation), Some(user)),
        };
        let organisation = match (own, organisation) {
            (Some(own), Some(asked)) if **own != *asked => {
                return Err(Error::OtherOrganisation { asked });
            }
            (Some(own), _) => Some(Arc::clone(own)),
            (None, asked) => asked.map(Into::into),
        };
        let user = match (myself, user) {
            (Some(own), Some(asked)) if **own != *asked => {
                return Err(Error::OtherUser { asked });
            }
            (Some(own), _) => Some(Arc::clone(own)),
            (None, asked) => asked.map(Into::into),
        };
        Ok(Narrowed { organisation, user })
    }
}

/// Whose facts are asked for; `None` for everybody's.
#[derive(Debug)]
pub(crate) struct Narrowed {
    pub(crate) organisation: Option<Arc<str>>,
    pub(crate) user: Option<Arc<str>>,
}

impl Visitor {
    pub(crate) fn sight(&self) -> Sight {
        let organisation = Arc::clone(&self.principal.organisation);
        match (self.by, self.principal.role) {
            (By::Token, _) => Sight::All,
            (By::Key, Role::Caller) => Sight::User {
                organisation,
                user: Arc::clone(&self.principal.user),
            },
            _ => Sight::Organisation(organisation),
        }
    }

    pub(crate) fn actor(&self) -> Actor {
        self.principal.key.map_or(Actor::Local, Actor::Key)
    }

    /// Whether it may change what belongs to others of its organisation.
    pub(crate) fn operates(&self) -> bool {
        self.by != By::Nothing && self.principal.role >= Role::Operator
    }

    /// Refuses whoever may not speak for the whole gateway.
    pub(crate) fn must_be_at_home(&self) -> Result<(), Error> {
        if self.at_home {
            Ok(())
        } else {
            Err(Error::WholeGateway)
        }
    }

    fn may(&self, right: Right) -> Result<(), Error> {
        let role = self.principal.role;
        let at_least = |needs: Role| match self.by {
            By::Token => Ok(()),
            By::Nothing => Err(Error::TokenNeeded),
            By::Key if role >= needs => Ok(()),
            By::Key => Err(Error::RoleNeeded { role, needs }),
        };
        match right {
            Right::LookAround if self.by == By::Nothing => Ok(()),
            Right::LookAround => at_least(Role::Viewer),
            Right::Ask if matches!(role, Role::Viewer | Role::Approver) => {
                Err(Error::MayNotAsk(role))
            }
            Right::None | Right::Look | Right::Ask => Ok(()),
            Right::Decide => at_least(Role::Approver),
            Right::Operate => at_least(Role::Operator),
            Right::Administer => at_least(Role::Admin),
        }
    }
}

/// Lets requests in: knows who sends them, refuses what they may not do, and counts what they got.
pub(crate) async fn gate(
    State(control): State<Arc<Control>>,
    mut request: Request,
    next: Next,
) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let path = matched.as_ref().map_or("none", MatchedPath::as_str);
    let mut response = match enter(&control, &request, path) {
        Ok(visitor) => {
            if let Some(visitor) = visitor {
                request.extensions_mut().insert(visitor);
            }
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    };
    response = worded(&control.engine, response);
    let status = response.status();
    let registry = control.engine.registry();
    registry
        .control_requests
        .with([path, status.as_str()])
        .increment();
    let headers = response.headers_mut();
    for (name, value) in [
        // What is shown here is nobody else's to read, keep or guess the type of.
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            http::HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn enter(control: &Control, request: &Request, path: &str) -> Result<Option<Visitor>, Error> {
    let routes = || ROUTES.iter().filter(|it| it.path == path);
    let method = match *request.method() {
        Method::HEAD => &Method::GET,
        _ => request.method(),
    };
    let route = routes().find(|it| it.method == *method);
    if route.is_some_and(|it| it.right == Right::None) {
        return Ok(None);
    }
    let visitor = identify(control, request, None)?;
    let Some(route) = route else {
        let allowed: Vec<&str> = routes().map(|it| it.method.as_str()).collect();
        return Err(if allowed.is_empty() {
            Error::NoRoute(request.uri().path().chars().take(100).collect())
        } else {
            Error::Method {
                method: request.method().to_string(),
                allowed: allowed.join(", "),
            }
        });
    };
    visitor.may(route.right)?;
    Ok(Some(visitor))
}

/// What a request shows of who sent it. `key` was typed into a form, and stands for a header.
pub(crate) fn presented<'a>(request: &'a Request, key: Option<&'a str>) -> Presented<'a> {
    let headers = request.headers();
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let x_api_key = single(headers, "x-api-key");
    let authorization = single(headers, header::AUTHORIZATION.as_str());
    Presented {
        peer: peer(request),
        host: single(headers, header::HOST.as_str()).or(authority),
        origin: page_origin(
            single(headers, header::ORIGIN.as_str()),
            single(headers, "sec-fetch-site"),
        ),
        x_api_key,
        authorization,
        tidegate_key: key.or_else(|| single(headers, "x-tidegate-key")),
        own: Own::of([x_api_key, authorization].into_iter().flatten()),
    }
}

/// Says who sends a request, as the engine does for calls; knows the local token besides. `key` was
/// typed into a form.
pub(crate) fn identify(
    control: &Control,
    request: &Request,
    key: Option<&str>,
) -> Result<Visitor, Error> {
    let presented = presented(request, key);
    let settings = control.engine.settings();
    if is_local(&presented)
        && presented
            .authorization
            .is_some_and(|it| control.is_token(it))
    {
        let principal = Principal {
            organisation: Arc::clone(&settings.local.organisation),
            user: Arc::clone(&settings.local.user),
            key: None,
            role: Role::Admin,
            caller: Caller::Asking,
            default_priority: None,
            highest_priority: Priority::Critical,
            default_task_type: None,
            credential: Credential::None,
            credential_mark: 0,
            credential_is_ours: false,
        };
        return Ok(Visitor {
            principal,
            by: By::Token,
            at_home: true,
        });
    }
    let principal = control.engine.authenticate(&presented)?;
    let by = match principal.key {
        Some(_) => By::Key,
        None if principal.credential != Credential::None => return Err(Error::OtherCredential),
        None => By::Nothing,
    };
    Ok(Visitor {
        at_home: principal.organisation == settings.local.organisation,
        principal,
        by,
    })
}

/// A header that comes once. One that comes twice, or is no text, is the empty text, which is
/// nobody's name, host or key.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?;
    match all.next() {
        None => Some(first.to_str().unwrap_or_default()),
        Some(_) => Some(""),
    }
}

/// Where a request comes from. What a proxy on this machine passes on is not from this machine,
/// and what nobody knows the origin of is not either.
pub(crate) fn peer(request: &Request) -> IpAddr {
    let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip"];
    let is_forwarded = forwarded
        .iter()
        .any(|it| request.headers().contains_key(*it));
    let peer = request.extensions().get::<Peer>();
    match peer {
        Some(Peer(address)) if !is_forwarded => address.ip(),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}

/// Whether `authorization` is the bearer of this hash. Takes as long whatever it is.
pub(crate) fn bears(authorization: &str, hash: &[u8; 32]) -> bool {
    let token = match authorization.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => return false,
    };
    let other = keys::hash(token);
    let difference = other.iter().zip(hash).fold(0, |sum, (a, b)| sum | (a ^ b));
    difference == 0
}
