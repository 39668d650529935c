//! `GET` and `POST /v1/revocations`: taking rights back, for admin keys.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json as value;

use super::http::{Edge, caller, check_json, json, problem, read_body};
use crate::auth::revocations::{Revocation, RevocationError};
use crate::broker::problem::{Code, Problem};

/// Bytes of a request.
const MAX_BODY: usize = 16 << 10;

/// `GET /v1/revocations`: everything that is revoked.
pub async fn list(edge: web::Data<Edge>, request: HttpRequest) -> HttpResponse {
    match check_admin(&request) {
        Ok(()) => {
            let all = edge.broker.auth.revocations.list();
            json(value!({"revocations": all}).to_string().into_bytes())
        }
        Err(refused) => problem(&refused),
    }
}

/// `POST /v1/revocations`: one more, effective on everything that is connected when this answers.
pub async fn revoke(
    edge: web::Data<Edge>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    revoke_one(&edge, &request, payload)
        .await
        .unwrap_or_else(|refused| problem(&refused))
}

async fn revoke_one(
    edge: &Edge,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    check_admin(request)?;
    check_json(request)?;
    let patience = edge.broker.config.limits.stall_timeout;
    let body = read_body(request, payload, MAX_BODY, patience).await?;
    // the body may have taken its time
    edge.broker.still(&caller(request)?)?;
    let one: Revocation = serde_json::from_slice(&body).map_err(|error| match error.is_data() {
        true => {
            let message =
                format!("the body is `{{\"jti\"}}`, `{{\"sub\"}}` or `{{\"key\"}}`: {error}");
            Problem::invalid_request("revocation", message)
        }
        false => Problem::invalid_json(&error),
    })?;
    let kept = edge.broker.auth.revoke(one).map_err(|error| match error {
        RevocationError::File(_) => {
            tracing::error!(%error, "a revocation cannot be kept");
            let message = "the revocations file cannot be written: nothing was revoked";
            Problem::new(Code::StorageUnavailable, message)
        }
        RevocationError::Full => Problem::rate_limited(&error.to_string(), 60_000),
        RevocationError::What | RevocationError::Until => {
            Problem::invalid_request("revocation", error.to_string())
        }
    })?;
    edge.broker.recheck_rights();
    Ok(json(value!({"kept": kept}).to_string().into_bytes()))
}

fn check_admin(request: &HttpRequest) -> Result<(), Problem> {
    if caller(request)?.principal.is_admin() {
        return Ok(());
    }
    let message = "this is for API keys with `admin = true`";
    Err(Problem::new(Code::Forbidden, message))
}
