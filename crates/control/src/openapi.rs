//! The description of the API, made from the code that serves it.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, ResponseBuilder,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{routes::described, wire::Failure};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate control API",
        description = "Ask for leave before you spend, and see and change what limits you. From this machine one may look and ask without a key; changes need the token in the data directory or an operator's key. A request body refuses fields it doesn't know.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        described::alive, described::ready, described::expose,
        described::admit, described::admission, described::events, described::withdraw, described::reservations, described::settle, described::correct, described::extend, described::release,
        described::status, described::limits, described::budgets, described::set_limit, described::quotas,
        described::approvals, described::decide, described::look, described::follow,
        described::test,
        described::calls, described::call, described::running_calls, described::prices,
        described::logs, described::count_logs, described::log_histogram, described::tail_logs, described::export_logs,
        described::trace, described::activity,
        described::create_task, described::tasks, described::task, described::change_task,
        described::queue, described::cancel, described::promote, described::session,
        described::list, described::make, described::revoke,
        described::list_logins, described::decide_login, described::end_login,
        described::login_metadata, described::device_authorization, described::token, described::sign_out,
        described::sign_in_page, described::sign_in,
        described::managed_settings,
        described::audit, described::configuration, described::reload,
        described::entries, described::verify, described::description,
    ),
    components(schemas(Failure)),
    tags(
        (name = "admissions", description = "Leave to act, and what becomes of it"),
        (name = "budgets", description = "Money: what is spent, held and left"),
        (name = "calls", description = "What happened"),
        (name = "keys", description = "Who may call"),
        (name = "logins", description = "Programs that sign in, and what they are given"),
        (name = "ledger", description = "The books"),
        (name = "queue", description = "Calls and requests for leave that wait for their turn"),
        (name = "tasks", description = "What calls are made for, in trees"),
        (name = "telemetry", description = "What was said, what it was part of, and sums of it"),
        (name = "operation", description = "The gateway itself"),
    ),
    security((), ("bearer" = []), ("x-api-key" = []), ("x-tidegate-key" = [])),
    modifiers(&Throughout),
)]
struct Description;

/// What holds for every route.
struct Throughout;

impl Modify for Throughout {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let refusal = ResponseBuilder::new()
            .description("The request was refused; the code is stable")
            .content(
                "application/json",
                ContentBuilder::new()
                    .schema(Some(Ref::from_schema_name("Failure")))
                    .build(),
            )
            .build();
        for item in description.paths.paths.values_mut() {
            let operations = [
                &mut item.get,
                &mut item.put,
                &mut item.post,
                &mut item.delete,
                &mut item.patch,
            ];
            for operation in operations.into_iter().flatten() {
                let responses = &mut operation.responses.responses;
                responses.insert("default".to_owned(), refusal.clone().into());
            }
        }
        let components = description.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A key, or the token of the data directory"));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        for header in ["x-api-key", "x-tidegate-key"] {
            let key = ApiKeyValue::with_description(header, "A key");
            let scheme = SecurityScheme::ApiKey(ApiKey::Header(key));
            components.add_security_scheme(header, scheme);
        }
    }
}

/// The description of the API as OpenAPI 3.1, in indented JSON: made from the code by [`describe`], and checked in.
pub const OPENAPI: &str = include_str!("../../../docs/openapi.json");

/// The same, made anew. Nothing that serves calls it: what it takes is no part of the program.
pub fn describe() -> String {
    let description = Description::openapi();
    // Texts, numbers and lists of them: nothing in it can fail to become JSON.
    description.to_pretty_json().unwrap_or_default() + "\n"
}
