//! The bounds and words of parameters in openapi.json are those of a real broker.

use serde_json::{Value, json};

use crate::schemas::{Place, files, resolved};
use crate::support::{Broker, note};

/// What a call needs beside the parameter that is tried, so that it is answered at once.
fn usual(path: &str) -> Vec<(&'static str, &'static str)> {
    let topic = ("topic", "/parameters/a");
    match path {
        "/v1/topics" => vec![],
        "/v1/sse" => vec![topic, ("from", "start"), ("once", "1")],
        // each value is another producer's, for the highest epoch has none after it
        "/v1/publish/stream" => vec![topic, ("producer_id", "p-VALUE")],
        _ => vec![topic],
    }
}

/// Values that the schema allows, and values that it does not.
fn values(schema: &Value) -> (Vec<String>, Vec<String>) {
    if let Some(words) = schema["enum"].as_array() {
        let words = words.iter().map(|word| word.as_str().unwrap().to_owned());
        return (words.collect(), vec!["other".to_owned()]);
    }
    let bound = |name: &str| schema[name].as_u64().map(i128::from);
    match (bound("minimum"), bound("maximum")) {
        (Some(min), Some(max)) => (
            vec![min.to_string(), max.to_string()],
            vec![(min - 1).to_string(), (max + 1).to_string()],
        ),
        _ => (vec![], vec![]),
    }
}

#[test]
fn parameters_are_bounded_as_openapi_says() {
    let broker = Broker::start();
    broker.publish("/parameters/a", json!([note(1)]));
    let mut tried = 0;
    let paths = files()["openapi.json"]["paths"].as_object().unwrap();
    for (path, methods) in paths {
        // what is not GET needs a body; a publish stream may be empty
        let method = ["get", "post"].into_iter().find(|method| {
            methods[*method].is_object() && (*method == "get" || path.ends_with("/stream"))
        });
        let Some(method) = method else { continue };
        let here = Place::parse("openapi.json#/paths").then(path).then(method);
        let parameters = here.schema()["parameters"].as_array();
        for (at, parameter) in parameters.into_iter().flatten().enumerate() {
            let mut schema = here.then("parameters").then(&at.to_string()).then("schema");
            if schema.schema()["allOf"].is_array() {
                schema = schema.then("allOf").then("0");
            }
            let (good, bad) = values(resolved(schema).schema());
            let name = parameter["name"].as_str().unwrap();
            let status = |value: &str| {
                let mut pairs = usual(path);
                pairs.retain(|(known, _)| *known != name || name == "once");
                let mut query: Vec<String> =
                    pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
                // the first of two counts
                query.insert(0, format!("{name}={value}"));
                if name == "once" && matches!(value, "0" | "false") {
                    return 200;
                }
                let query = query.join("&").replace("VALUE", value);
                let target = format!("{path}?{query}");
                let method = method.to_ascii_uppercase();
                broker.http().request(&method, &target, &[], b"").status
            };
            for value in good {
                assert_eq!(status(&value), 200, "{path} {name}={value}");
                tried += 1;
            }
            for value in bad {
                assert_eq!(status(&value), 400, "{path} {name}={value}");
                tried += 1;
            }
        }
    }
    assert!(tried > 40, "only {tried} values were tried");
}
