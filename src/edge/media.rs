//! In which encoding a body came, and in which its answer goes.

use actix_web::HttpRequest;
use actix_web::http::header;

use crate::broker::problem::{Code, Problem};
use crate::dialect::Encoding;

/// The encoding of a body; without a type it is taken as JSON.
pub fn of_body(request: &HttpRequest) -> Result<Encoding, Problem> {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else {
        return Ok(Encoding::Json);
    };
    Encoding::of_media_type(&essence(value.to_str().unwrap_or_default())).ok_or_else(|| {
        Problem::new(
            Code::UnsupportedMediaType,
            "send `Content-Type: application/json` or `application/msgpack`",
        )
    })
}

/// The encoding of the answer to a body that came in `came`: the same, unless `Accept` names only the other.
pub fn of_answer(request: &HttpRequest, came: Encoding) -> Encoding {
    let mut named = Vec::new();
    for value in request.headers().get_all(header::ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',') {
            named.push(essence(range));
        }
    }
    let is_named = |encoding| {
        named
            .iter()
            .any(|range| Encoding::of_media_type(range) == Some(encoding))
    };
    let any = named
        .iter()
        .any(|range| matches!(range.as_str(), "*/*" | "application/*"));
    let other = Encoding::ALL.into_iter().find(|other| *other != came);
    match other {
        Some(other) if is_named(other) && !is_named(came) && !any => other,
        _ => came,
    }
}

/// A media type or range in lower case, without its parameters.
fn essence(value: &str) -> String {
    let (essence, _) = value.split_once(';').unwrap_or((value, ""));
    essence.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn answer(came: Encoding, accept: &str) -> Encoding {
        let request = TestRequest::default().insert_header((header::ACCEPT, accept));
        of_answer(&request.to_http_request(), came)
    }

    #[test]
    fn an_answer_comes_as_the_body_unless_only_the_other_is_named() {
        use Encoding::{Json, Msgpack};
        for same in [
            "",
            "*/*",
            "application/*;q=0.5",
            "text/html",
            "application/json, application/msgpack",
        ] {
            assert_eq!(answer(Json, same), Json, "{same}");
            assert_eq!(answer(Msgpack, same), Msgpack, "{same}");
        }
        assert_eq!(answer(Msgpack, "application/json"), Json);
        assert_eq!(answer(Json, "Application/X-MsgPack; q=0.9"), Msgpack);
        assert_eq!(answer(Json, "application/msgpack, */*;q=0.1"), Json);
    }

    #[test]
    fn bodies_are_json_or_messagepack() {
        let of = |kind: &str| {
            let request = TestRequest::default().insert_header((header::CONTENT_TYPE, kind));
            of_body(&request.to_http_request()).map_err(|problem| problem.code)
        };
        assert_eq!(of("application/json; charset=utf-8"), Ok(Encoding::Json));
        for kind in [
            "application/msgpack",
            "application/x-msgpack",
            "application/vnd.msgpack",
        ] {
            assert_eq!(of(kind), Ok(Encoding::Msgpack), "{kind}");
        }
        assert_eq!(of("text/plain"), Err(Code::UnsupportedMediaType));
        let none = TestRequest::default().to_http_request();
        assert_eq!(of_body(&none), Ok(Encoding::Json));
    }
}
