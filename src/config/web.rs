//! Checks of web origins and host names: what is allowed has to be written exactly as browsers
//! send it, or it would never match and nobody would see why.

#[cfg(test)]
mod tests;

use super::value::Rejection;

/// An origin as in RFC 6454 §6.2: `scheme://host[:port]`, in the lower case in which browsers
/// send it and without the port that they leave out.
pub fn check_origin(text: &str) -> Result<(), Rejection> {
    const FORM: &str = "write scheme://host[:port] as the browser sends it, such as \
                        \"https://app.example.com\"";
    let reject = |what: String| Err(Rejection::new(what, FORM));
    if text == "*" || text == "null" {
        let fix = format!("{FORM}; name each origin that you trust");
        return Err(Rejection::new(
            format!("`{text}` would let any web page in"),
            fix,
        ));
    }
    let Some((scheme, authority)) = text.split_once("://") else {
        return reject(format!("`{text}` has no scheme"));
    };
    if scheme != "http" && scheme != "https" {
        return reject(format!("`{scheme}` is neither http nor https"));
    }
    if let Some(extra) = authority.find(['/', '?', '#', '@']) {
        let (host, extra) = authority.split_at(extra);
        let what = format!("`{extra}` is not part of an origin");
        let is_origin_but_for_it = check_origin(&format!("{scheme}://{host}")).is_ok();
        let fix = if is_origin_but_for_it && !extra.contains('@') {
            format!("write \"{scheme}://{host}\"")
        } else {
            FORM.to_owned()
        };
        return Err(Rejection::new(what, fix));
    }
    let (host, port) = split_port(authority);
    if let Err(what) = check_host_name(host) {
        return reject(what);
    }
    match port {
        None => Ok(()),
        Some(port) => check_port(scheme, host, port),
    }
}

/// A name as it stands in `Host`, without a port.
pub fn check_host(text: &str) -> Result<(), Rejection> {
    const FORM: &str = "write only the name, such as \"broker.example.com\"";
    if let Some((_, rest)) = text.split_once("://") {
        let host = split_port(rest.split('/').next().unwrap_or_default()).0;
        let what = format!("`{text}` is an address, not a host name");
        return Err(Rejection::new(what, format!("write \"{host}\"")));
    }
    if let (host, Some(_)) = split_port(text) {
        return Err(Rejection::new(
            format!("`{text}` has a port, and any port is accepted"),
            format!("write \"{host}\""),
        ));
    }
    check_host_name(text).map_err(|what| Rejection::new(what, FORM))
}

fn check_port(scheme: &str, host: &str, port: &str) -> Result<(), Rejection> {
    let number = port.parse::<u16>().ok();
    // Not "0443" or "+443": browsers write the number only.
    let number = number.filter(|number| *number > 0 && number.to_string() == port);
    let Some(number) = number else {
        return Err(Rejection::new(
            format!("`{port}` is not a port"),
            "write a port from 1 to 65535, or none",
        ));
    };
    if matches!((scheme, number), ("https", 443) | ("http", 80)) {
        return Err(Rejection::new(
            format!("browsers leave out port {number} of {scheme}, so it would never match"),
            format!("write \"{scheme}://{host}\""),
        ));
    }
    Ok(())
}

/// The host, and the port behind the last colon that is not inside `[…]`.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after_literal = authority.rfind(']').map_or(0, |end| end + 1);
    match authority[after_literal..].rfind(':') {
        Some(colon) => {
            let colon = after_literal + colon;
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        None => (authority, None),
    }
}

fn check_host_name(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("it has no host".to_owned());
    }
    if host.contains('*') {
        return Err(format!(
            "`{host}` has a wildcard; names are compared as they are"
        ));
    }
    if !host.is_ascii() {
        return Err(format!(
            "`{host}` is not ASCII; browsers send the xn-- form"
        ));
    }
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(format!(
            "`{host}` has capital letters; browsers send lower case"
        ));
    }
    if let Some(literal) = host.strip_prefix('[') {
        let address = literal
            .strip_suffix(']')
            .map(str::parse::<std::net::Ipv6Addr>);
        let is_as_sent = matches!(address, Some(Ok(address)) if host == format!("[{address}]"));
        return if is_as_sent {
            Ok(())
        } else {
            Err(format!(
                "`{host}` is not an IPv6 address in its shortest form"
            ))
        };
    }
    // RFC 1123 §2.1, with the underscore that people use; each label 1 to 63, in all at most 253.
    let good_label = |label: &str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(good)
    };
    if host.len() <= 253 && host.split('.').all(good_label) {
        Ok(())
    } else {
        Err(format!("`{host}` is not a host name"))
    }
}
