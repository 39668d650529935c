//! The one place where a problem becomes AppSync's error, in its shapes and words where they are known.

use super::decode::Operation;
use crate::broker::problem::{Code, Problem};

/// What somebody without rights is told, whatever they lack.
pub const UNAUTHORIZED: &str = "You are not authorized to make this call.";

const BAD_REQUEST: &str = "BadRequestException";
const INVALID_INPUT: &str = "InvalidInputError";
const LIMIT_EXCEEDED: &str = "LimitExceededError";

/// An error as AppSync tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub error_type: &'static str,
    /// The status over HTTP; `errorCode` at the connect.
    pub code: u16,
    /// `None`: AppSync says nothing there.
    pub message: Option<String>,
}

pub fn over_http(problem: &Problem) -> Refusal {
    let row = row(problem.code);
    let message = match problem.code {
        // the same words, over HTTP with a capital
        Code::TooManyEvents => Some(capitalised(&problem.message)),
        _ => message(problem),
    };
    Refusal {
        error_type: row.http,
        code: row.code,
        message,
    }
}

pub fn over_websocket(problem: &Problem, of: Operation) -> Refusal {
    let row = row(problem.code);
    let error_type = match (of, problem.code) {
        (Operation::Init, _) if row.websocket == INVALID_INPUT => BAD_REQUEST,
        (Operation::Other, Code::InvalidRequest) => "UnsupportedOperation",
        (Operation::Unsubscribe, Code::NotFound) => "UnknownOperationError",
        _ => row.websocket,
    };
    Refusal {
        error_type,
        code: row.code,
        message: message(problem),
    }
}

/// What is said of an event over the limit.
pub fn larger_than(limit_bytes: usize) -> String {
    match limit_bytes % 1024 {
        0 => format!("Transformed event is larger than {}KB", limit_bytes / 1024),
        _ => format!("Transformed event is larger than {limit_bytes} bytes"),
    }
}

/// A problem's own words; but a missing right is never explained, and an undefined namespace gets none.
fn message(problem: &Problem) -> Option<String> {
    match problem.code {
        Code::Forbidden if problem.details.field == Some("namespace") => None,
        Code::Unauthenticated | Code::Forbidden => Some(UNAUTHORIZED.to_owned()),
        _ => Some(problem.message.clone()),
    }
}

/// `errorType` over HTTP and over WebSocket, and the code.
struct Row {
    http: &'static str,
    websocket: &'static str,
    code: u16,
}

fn both(error_type: &'static str, code: u16) -> Row {
    Row {
        http: error_type,
        websocket: error_type,
        code,
    }
}

fn bad_request() -> Row {
    Row {
        http: BAD_REQUEST,
        websocket: INVALID_INPUT,
        code: 400,
    }
}

fn row(code: Code) -> Row {
    match code {
        Code::InvalidJson
        | Code::InvalidTopic
        | Code::InvalidEvent
        | Code::ReservedType
        | Code::InvalidCursor
        | Code::InvalidRequest
        | Code::TooManyEvents
        | Code::AlreadySubscribed => bad_request(),
        Code::Unauthenticated | Code::Forbidden => both("UnauthorizedException", 401),
        Code::NotFound => both("ResourceNotFound", 404),
        Code::MethodNotAllowed => both("MethodNotAllowedException", 405),
        Code::UpgradeRequired => both("UpgradeRequiredException", 426),
        Code::ProducerGap
        | Code::ProducerFenced
        | Code::ProducerUnknown
        | Code::MessageOwned
        | Code::MessageEnded
        | Code::IdConflict => both("ConflictException", 409),
        Code::TooLarge => both("EventTooLargeException", 413),
        Code::UnsupportedMediaType => both("UnsupportedMediaTypeException", 415),
        Code::RateLimited | Code::TooManyOpenMessages => both(LIMIT_EXCEEDED, 429),
        Code::TooManySubscriptions => Row {
            http: LIMIT_EXCEEDED,
            websocket: "MaxSubscriptionsReachedError",
            code: 429,
        },
        Code::InternalError => both("InternalFailureException", 500),
        Code::StorageUnavailable | Code::OutcomeUnknown | Code::Draining => {
            both("ServiceUnavailableException", 503)
        }
    }
}

fn capitalised(text: &str) -> String {
    let mut rest = text.chars();
    match rest.next() {
        Some(first) => first.to_uppercase().chain(rest).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(code: Code) -> Problem {
        Problem::new(code, "because")
    }

    /// Code, HTTP's type and status, and the type as the answer to a publish.
    const TABLE: [(Code, &str, u16, &str); 28] = [
        (
            Code::InvalidJson,
            "BadRequestException",
            400,
            "InvalidInputError",
        ),
        (
            Code::InvalidTopic,
            "BadRequestException",
            400,
            "InvalidInputError",
        ),
        (
            Code::InvalidEvent,
            "BadRequestException",
            400,
            "InvalidInputError",
        ),
        (
            Code::ReservedType,
            "BadRequestException",
            400,
            "InvalidInputError",
        ),
        (
            Code::InvalidCursor,
            "BadRequestException",
            400,
            "InvalidInputError",
        ),
        (
            Code::InvalidRequest,
            "BadRequestException",
            400,
            "InvalidInputError",
        ),
        (
            Code::AlreadySubscribed,
            "BadRequestException",
            400,
            "InvalidInputError",
        ),
        (
            Code::TooManyEvents,
            "BadRequestException",
            400,
            "InvalidInputError",
        ),
        (
            Code::Unauthenticated,
            "UnauthorizedException",
            401,
            "UnauthorizedException",
        ),
        (
            Code::Forbidden,
            "UnauthorizedException",
            401,
            "UnauthorizedException",
        ),
        (Code::NotFound, "ResourceNotFound", 404, "ResourceNotFound"),
        (
            Code::MethodNotAllowed,
            "MethodNotAllowedException",
            405,
            "MethodNotAllowedException",
        ),
        (
            Code::UpgradeRequired,
            "UpgradeRequiredException",
            426,
            "UpgradeRequiredException",
        ),
        (
            Code::ProducerGap,
            "ConflictException",
            409,
            "ConflictException",
        ),
        (
            Code::ProducerFenced,
            "ConflictException",
            409,
            "ConflictException",
        ),
        (
            Code::ProducerUnknown,
            "ConflictException",
            409,
            "ConflictException",
        ),
        (
            Code::MessageOwned,
            "ConflictException",
            409,
            "ConflictException",
        ),
        (
            Code::MessageEnded,
            "ConflictException",
            409,
            "ConflictException",
        ),
        (
            Code::IdConflict,
            "ConflictException",
            409,
            "ConflictException",
        ),
        (
            Code::TooLarge,
            "EventTooLargeException",
            413,
            "EventTooLargeException",
        ),
        (
            Code::UnsupportedMediaType,
            "UnsupportedMediaTypeException",
            415,
            "UnsupportedMediaTypeException",
        ),
        (
            Code::RateLimited,
            "LimitExceededError",
            429,
            "LimitExceededError",
        ),
        (
            Code::TooManyOpenMessages,
            "LimitExceededError",
            429,
            "LimitExceededError",
        ),
        (
            Code::TooManySubscriptions,
            "LimitExceededError",
            429,
            "MaxSubscriptionsReachedError",
        ),
        (
            Code::InternalError,
            "InternalFailureException",
            500,
            "InternalFailureException",
        ),
        (
            Code::StorageUnavailable,
            "ServiceUnavailableException",
            503,
            "ServiceUnavailableException",
        ),
        (
            Code::OutcomeUnknown,
            "ServiceUnavailableException",
            503,
            "ServiceUnavailableException",
        ),
        (
            Code::Draining,
            "ServiceUnavailableException",
            503,
            "ServiceUnavailableException",
        ),
    ];

    #[test]
    fn every_code_has_its_row() {
        for code in Code::ALL {
            assert_eq!(
                TABLE.iter().filter(|row| row.0 == code).count(),
                1,
                "{code:?}"
            );
        }
        for (code, http, status, websocket) in TABLE {
            let told = over_http(&problem(code));
            assert_eq!((told.error_type, told.code), (http, status), "{code:?}");
            let told = over_websocket(&problem(code), Operation::Publish);
            assert_eq!(
                (told.error_type, told.code),
                (websocket, status),
                "{code:?}"
            );
            let expected = match code {
                Code::Unauthenticated | Code::Forbidden => UNAUTHORIZED,
                _ => "because",
            };
            assert_eq!(told.message.as_deref(), Some(expected), "{code:?}");
        }
    }

    #[test]
    fn what_is_answered_decides_too() {
        let told = |code, of| over_websocket(&problem(code), of).error_type;
        for code in [Code::InvalidJson, Code::InvalidRequest, Code::InvalidTopic] {
            assert_eq!(told(code, Operation::Init), "BadRequestException");
            assert_eq!(told(code, Operation::Subscribe), "InvalidInputError");
            assert_eq!(told(code, Operation::Unsubscribe), "InvalidInputError");
        }
        assert_eq!(
            told(Code::Draining, Operation::Init),
            "ServiceUnavailableException"
        );
        assert_eq!(
            told(Code::InvalidRequest, Operation::Other),
            "UnsupportedOperation"
        );
        assert_eq!(
            told(Code::InvalidJson, Operation::Other),
            "InvalidInputError"
        );
        assert_eq!(
            told(Code::NotFound, Operation::Unsubscribe),
            "UnknownOperationError"
        );
    }

    #[test]
    fn a_missing_right_is_never_explained() {
        for code in [Code::Unauthenticated, Code::Forbidden] {
            for of in [Operation::Init, Operation::Subscribe, Operation::Publish] {
                let told = over_websocket(&problem(code), of);
                assert_eq!(told.message.as_deref(), Some(UNAUTHORIZED));
            }
            assert_eq!(
                over_http(&problem(code)).message.as_deref(),
                Some(UNAUTHORIZED)
            );
        }
        let mut undefined = problem(Code::Forbidden);
        undefined.details.field = Some("namespace");
        let told = over_websocket(&undefined, Operation::Publish);
        assert_eq!(told, over_http(&undefined));
        assert_eq!(
            (told.error_type, told.code, told.message),
            ("UnauthorizedException", 401, None)
        );
    }

    #[test]
    fn words_that_clients_know() {
        let many = Problem::new(Code::TooManyEvents, "input exceeded 5 event limit");
        let told = over_websocket(&many, Operation::Publish);
        assert_eq!(
            told.message.as_deref(),
            Some("input exceeded 5 event limit")
        );
        assert_eq!(
            over_http(&many).message.as_deref(),
            Some("Input exceeded 5 event limit")
        );
        assert_eq!(
            larger_than(245_760),
            "Transformed event is larger than 240KB"
        );
        assert_eq!(
            larger_than(1 << 20),
            "Transformed event is larger than 1024KB"
        );
        assert_eq!(
            larger_than(1000),
            "Transformed event is larger than 1000 bytes"
        );
    }
}
