//! The page on which somebody confirms a program that shows a code.
//!
//! Looking at it changes nothing and tells nothing of the code: whoever confirms is known first, by a
//! key that is typed there, or as the local user of this machine.

use std::sync::Arc;

use axum::{
    extract::{Query, Request, State},
    response::Response,
};
use http::StatusCode;
use serde::Deserialize;
use tidegate_types::Secret;

use crate::{
    Control,
    access::{By, identify},
    error::Error,
    page::{escaped, page, paragraph},
    read::Form,
    routes::logins::decide,
    wire::{LoginDecided, LoginDecision},
};

/// What the address of the page may carry.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Prefilled {
    user_code: String,
}

/// What its form sends.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Filled {
    user_code: String,
    key: String,
    decision: String,
}

/// Show the form on which a sign-in is confirmed.
#[utoipa::path(get, path = "/device", tag = "logins",
    params(("user_code" = Option<String>, Query, description = "The code to fill in")),
    responses((status = 200, content_type = "text/html", body = String)))]
pub(crate) async fn sign_in_page(
    State(control): State<Arc<Control>>,
    request: Request,
) -> Response {
    let prefilled = Query::<Prefilled>::try_from_uri(request.uri());
    let code = prefilled.map(|it| it.0.user_code).unwrap_or_default();
    let known = identify(&control, &request, None).is_ok();
    page(StatusCode::OK, &asking(&code, known, None))
}

/// Confirm or deny a sign-in, as the form's button says.
#[utoipa::path(post, path = "/device", tag = "logins",
    responses((status = 200, content_type = "text/html", body = String)))]
pub(crate) async fn sign_in(State(control): State<Arc<Control>>, request: Request) -> Response {
    // Whether a key has to be typed again does not depend on the one that was.
    let known = identify(&control, &request, None);
    let local = known.as_ref().is_ok_and(|it| it.by == By::Nothing);
    // Kept for the key in the form, as the body is read from the rest.
    let (parts, body) = request.into_parts();
    let head = Request::from_parts(parts.clone(), axum::body::Body::empty());
    let form = Form::<Filled>::read(Request::from_parts(parts, body)).await;
    let Form(form) = match form {
        Ok(form) => form,
        Err(why) => return page(StatusCode::BAD_REQUEST, &asking("", local, Some(&why))),
    };
    let code = form.user_code.clone();
    let key = Secret::new(form.key.trim().to_owned());
    let visitor = match key.expose().as_str() {
        "" => known,
        key => identify(&control, &head, Some(key)),
    };
    let decided = async {
        let visitor = visitor?;
        let decision = LoginDecision {
            code: form.user_code,
            approve: match form.decision.as_str() {
                "approve" => true,
                "deny" => false,
                _ => return Err(Error::Incomplete("choose one of the buttons".to_owned())),
            },
            user: None,
            organisation: None,
        };
        control
            .waiting(move |it| decide(it, &visitor, decision))
            .await?
    };
    match decided.await {
        Ok(decided) => page(StatusCode::OK, &standing(&decided)),
        Err(why) => {
            // In words without secrets that were typed into the wrong field.
            let told = why.to_string();
            let told = Error::Incomplete(control.engine.tellable(&told).into_owned());
            page(why.status(), &asking(&code, local, Some(&told)))
        }
    }
}

/// The form. `known`: without a key, too.
fn asking(code: &str, known: bool, wrong: Option<&Error>) -> String {
    let wrong = wrong.map_or_else(String::new, |it| {
        format!("<p role=alert>{}", escaped(&it.to_string()))
    });
    let key = if known {
        "<label for=key>Tidegate key (leave it empty to sign in as the local user of this machine)</label>"
    } else {
        "<label for=key>Your Tidegate key</label>"
    };
    // What is no code is not repeated: it may be a key in the wrong field.
    let code = tidegate_logins::UserCode::read(code).map(|it| it.to_string());
    let code = escaped(&code.unwrap_or_default());
    format!(
        "<h1>Sign in to Tidegate</h1>{wrong}<p>Confirm only a code that you see on your own screen now: whoever shows it will make calls in your name and from your budgets.<form method=post action=\"/device\"><p><label for=user_code>Code</label> <input id=user_code name=user_code value=\"{code}\" autocomplete=off autocapitalize=characters spellcheck=false required><p>{key} <input id=key name=key type=password autocomplete=off><p><button name=decision value=approve>Sign in</button> <button name=decision value=deny>Deny</button></form>"
    )
}

fn standing(decided: &LoginDecided) -> String {
    let program = match decided.program.as_str() {
        "" => "The program",
        program => program,
    };
    let from = &decided.from;
    paragraph(&match (&decided.user, &decided.organisation) {
        (Some(user), Some(organisation)) => format!(
            "Signed in: {program} at {from} calls as {user} of {organisation} from now on. You may close this page."
        ),
        _ => format!("Denied: {program} at {from} was not signed in. You may close this page."),
    })
}
