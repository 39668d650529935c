//! `GET /v1/openapi.json`: the HTTP calls as an OpenAPI 3.1 document, the same file as in `schema/`.

use actix_web::HttpResponse;
use actix_web::http::header;

const DOCUMENT: &str = include_str!("../../schema/openapi.json");

pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(DOCUMENT)
}
