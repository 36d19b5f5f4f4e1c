//! Channels for notices.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
};

use crate::{Control, NoticeUntested, access::Visitor, error::Error, wire::NoticeTested};

/// Send a test to a channel for notices, and say what came back.
#[utoipa::path(post, path = "/api/v1/notices/{channel}/test", tag = "operation",
    params(("channel" = String, Path, description = "The channel's name in the configuration")),
    responses((status = 200, body = NoticeTested)))]
pub(crate) async fn test(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(channel): Path<String>,
) -> Result<Json<NoticeTested>, Error> {
    visitor.must_be_at_home()?;
    let name = channel.clone();
    let tested = control.waiting(move |it| it.operations.test_notices(&name));
    match tested.await? {
        Ok(tested) => Ok(Json(NoticeTested {
            channel,
            delivered: (200..300).contains(&tested.status),
            status: tested.status,
            says: tested.says,
        })),
        Err(NoticeUntested::UnknownChannel(why)) => Err(Error::NoChannel(why)),
        Err(NoticeUntested::Unanswered(why)) => Err(Error::Unanswered(why)),
    }
}
