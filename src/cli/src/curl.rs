//! A request from a curl command line, as browsers' developer tools copy it.

use crate::call::Call;

/// Options that change nothing about what the gate sees, and have no value.
const WITHOUT_EFFECT: &[&str] = &[
    "--compressed",
    "--fail",
    "--globoff",
    "--http1.1",
    "--http2",
    "--include",
    "--insecure",
    "--location",
    "--no-buffer",
    "--path-as-is",
    "--show-error",
    "--silent",
    "--verbose",
    "-L",
    "-N",
    "-S",
    "-f",
    "-g",
    "-i",
    "-k",
    "-s",
    "-v",
    "-sS",
    "-sv",
    "-iv",
    "-sk",
    "-si",
    "-fsS",
];

/// Options with a value that change nothing about what the gate sees.
const VALUE_WITHOUT_EFFECT: &[&str] = &[
    "--cacert",
    "--connect-timeout",
    "--max-time",
    "--output",
    "--resolve",
    "--write-out",
    "-m",
    "-o",
    "-w",
];

/// Reads a curl command line.
pub(crate) fn parse(command: &str) -> Result<Call, String> {
    let command = command.replace("\\\r\n", " ").replace("\\\n", " ");
    let words = shlex::split(&command).ok_or("--curl: a quote is not closed")?;
    let mut words = words.into_iter().peekable();
    words.next_if(|word| word == "curl" || word.ends_with("/curl"));
    let mut call = Call::new("", "");
    let mut url: Option<String> = None;
    let (mut method, mut default_method) = (None, "GET");
    while let Some(word) = words.next() {
        let (option, attached) = split(&word);
        let mut value = || {
            let next = attached.clone().or_else(|| words.next());
            next.ok_or_else(|| format!("--curl: `{option}` needs a value"))
        };
        match option.as_str() {
            "-X" | "--request" => method = Some(value()?),
            "-H" | "--header" => call.add_line(&value()?)?,
            "-b" | "--cookie" => call.add("cookie", &value()?),
            "-A" | "--user-agent" => call.add("user-agent", &value()?),
            "-e" | "--referer" => call.add("referer", &value()?),
            "-d" | "--data" | "--data-raw" | "--data-binary" | "--data-ascii" | "--data-urlencode"
            | "--json" | "-F" | "--form" => {
                value()?;
                let kind = match option.as_str() {
                    "--json" => "application/json",
                    "-F" | "--form" => "multipart/form-data",
                    _ => "application/x-www-form-urlencoded",
                };
                if !call.headers.iter().any(|(name, _)| name == "content-type") {
                    call.add("content-type", kind);
                }
                call.has_body = true;
                default_method = "POST";
            }
            "-I" | "--head" => default_method = "HEAD",
            "--url" => url = Some(value()?),
            option if WITHOUT_EFFECT.contains(&option) => {}
            option if VALUE_WITHOUT_EFFECT.contains(&option) => {
                value()?;
            }
            option if option.starts_with('-') => {
                return Err(format!(
                    "--curl: `{option}` is not read here; describe the request with --request and --header"
                ));
            }
            _ if url.is_some() => return Err("--curl: there are several URLs".to_owned()),
            _ => url = Some(word),
        }
    }
    let url = url.ok_or("--curl: there is no URL")?;
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", &url));
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("--curl: a name and password in the URL are not read here".to_owned());
    }
    call.target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    call.scheme = scheme.to_ascii_lowercase();
    call.host = call.host.or_else(|| Some(authority.to_owned()));
    call.method = method.unwrap_or_else(|| default_method.to_owned());
    Ok(call)
}

/// An option and the value that is attached to it: `-XPOST`, `--request=POST`.
fn split(word: &str) -> (String, Option<String>) {
    if let Some((option, value)) = word.split_once('=').filter(|_| word.starts_with("--")) {
        return (option.to_owned(), Some(value.to_owned()));
    }
    for option in ["-X", "-H", "-b", "-d", "-A", "-e"] {
        if let Some(value) = word.strip_prefix(option).filter(|value| !value.is_empty()) {
            return (option.to_owned(), Some(value.to_owned()));
        }
    }
    (word.to_owned(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_as_browsers_copy_it_is_read() {
        let call = parse(
            "curl 'https://a.test:8443/x/y?z=1#f' \\\n  -H 'Accept: text/html' -H 'authorization: Bearer t' -b 'a=b; c=d' \\\n  --compressed --data-raw '{}'",
        )
        .unwrap();
        assert_eq!((call.method.as_str(), call.target.as_str()), ("POST", "/x/y?z=1"));
        assert_eq!((call.scheme.as_str(), call.host.as_deref()), ("https", Some("a.test:8443")));
        let names: Vec<&str> = call.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["accept", "authorization", "cookie", "content-type"]);
        assert!(call.has_body);
        let call = parse("curl -sS -XDELETE localhost:8080 -H 'Host: b.test'").unwrap();
        assert_eq!((call.method.as_str(), call.target.as_str()), ("DELETE", "/"));
        assert_eq!((call.scheme.as_str(), call.host.as_deref()), ("http", Some("b.test")));
        assert_eq!(parse("curl -I http://a/b").unwrap().method, "HEAD");
    }

    #[test]
    fn what_is_not_understood_is_an_error_and_not_left_out() {
        for bad in [
            "curl",
            "curl -u a:b http://a",
            "curl http://a http://b",
            "curl 'http://a",
            "curl http://u:p@a/",
            "curl http://a -H",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
