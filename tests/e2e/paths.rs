//! A path that has more than one reading never counts as public.

use jwt_gate_tests::{Backend, Listener, Request, TAG, forge, http2};
use serde_json::json;

use crate::{app, envoy, with};

pub(crate) fn listeners() -> Vec<Listener> {
    // `/open/` and `/optional/` need no token, everything else is allowed by default: the most generous setting.
    let generous = with(app(), json!({"default": "allow"}));
    let protected = |path: &str| json!({"match": {"path": path}, "requires": {"provider_name": "app"}});
    let rules = json!([protected("/a%20b"), protected("/a;x"), {"match": {"prefix": "/"}}]);
    let two_protected = with(generous.clone(), json!({"rules": rules}));
    vec![
        Listener::gated("generous", generous.clone()),
        Listener::gated("escapes-and-parameters", two_protected),
        Listener::gated("generous-normalised", generous.clone()).normalised(),
        Listener::gated("generous-unescaping", generous)
            .set("normalize_path", json!(true))
            .set("merge_slashes", json!(true))
            .set("path_with_escaped_slashes_action", json!("UNESCAPE_AND_FORWARD")),
    ]
}

/// Ways to write `/api/me` so that it begins with a public prefix, or so that no rule recognises it.
const DISGUISES: &[&[u8]] = &[
    b"/open/../api/me",
    b"/open/./../api/me",
    b"/open/%2e%2e/api/me",
    b"/open/%2E%2E/api/me",
    b"/open/.%2e/api/me",
    b"/open/..%2fapi/me",
    b"/open/..%2Fapi/me",
    b"/open/..%5capi/me",
    b"/open/..\\api/me",
    b"/open\\..\\api\\me",
    b"/open/..;/api/me",
    b"/open/..;a=b/api/me",
    b"/open/%2e%2e;/api/me",
    b"/open/%252e%252e/api/me",
    b"/open//../../api/me",
    b"/open/.%00./api/me",
    b"/open/..%00/api/me",
    b"/open/%2e%2e%2fapi%2fme",
    b"/open/%c0%ae%c0%ae/../../api/me",
    b"/open/\xc0\xae\xc0\xae/../api/me",
    b"/optional/../api/me",
    b"/optional/%2e%2e/api/me",
    b"/public/../api/me",
    b"//api/me",
    b"/./api/me",
    b"/%61pi/me",
    b"/api%2fme",
    b"/api%2Fme",
    b"/api%5cme",
    b"/api\\me",
    b"/api;/me",
    b"/api;x=1/me",
    b"/x/../api/me",
    b"/%2e/api/me",
    b"/api/%6de",
    b"/api/me%00",
    b"/api/./me",
    b"/api//me",
];

#[test]
fn no_disguise_of_a_protected_path_reaches_the_backend_without_a_token() {
    let envoy = envoy();
    let mut leaks = Vec::new();
    for listener in ["app", "app-normalised", "generous", "generous-normalised", "generous-unescaping"] {
        for (index, disguise) in DISGUISES.iter().enumerate() {
            for query in [&b""[..], b"?a=b", b"?/open/"] {
                let tag = format!("disguise-{listener}-{index}-{}", query.len());
                let target = [disguise, query].concat();
                let request = Request::get(&target).header(TAG, &tag);
                // Envoy may refuse it before the gate does, or close the connection; and the HTTP/2 client
                // does not write all of them.
                let answers =
                    [request.try_send(envoy.port(listener)), http2::try_send(&request, envoy.port(listener))];
                if answers.into_iter().flatten().any(|answer| answer.seen().is_some())
                    || Backend::shared().was_reached_by(&tag)
                {
                    leaks.push(format!("{listener}: {}", String::from_utf8_lossy(&target)));
                }
            }
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

#[test]
fn a_path_that_is_not_canonical_needs_a_token_under_public_and_optional_rules_and_the_default() {
    let envoy = envoy();
    let token = forge::token("user_1", json!({}));
    for target in
        ["/open//x", "/open/%2e", "/open/a%2fb", "/optional//x", "/elsewhere//x", "/elsewhere/%61", "/%zz"]
    {
        let answer = Request::get(target).send(envoy.port("generous"));
        assert_eq!((answer.status, answer.code().as_str()), (401, "missing_token"), "{target}");
        let answer = Request::get(target).bearer("bad").send(envoy.port("generous"));
        assert_eq!((answer.status, answer.code().as_str()), (401, "malformed"), "{target}");
        let answer = Request::get(target).bearer(&token).send(envoy.port("generous"));
        assert!(answer.seen().is_some(), "{target}: {}", answer.text());
        assert_eq!(answer.reached().path(), target);
        assert_eq!(answer.reached().one("x-user-id").as_deref(), Some("user_1"), "{target}");
    }
}

#[test]
fn ordinary_paths_with_escapes_and_punctuation_stay_public() {
    let envoy = envoy();
    for target in [
        "/open/",
        "/open/a%20b",
        "/open/caf%C3%A9",
        "/open/a.b/..c/...",
        "/open/~user/-_",
        "/open/@me:x,(y)'!*+=&$",
        "/open/a%3Ab",
        "/open/x?../../api/me",
        "/open/x?%2e%2e%2f//\\",
    ] {
        for listener in ["generous", "generous-normalised"] {
            let answer = Request::get(target).send(envoy.port(listener));
            assert!(answer.seen().is_some(), "{listener}: {target}: {} {}", answer.status, answer.text());
        }
    }
}

#[test]
fn parameters_left_out_before_or_after_decoding_make_no_protected_path_public() {
    let port = envoy().port("escapes-and-parameters");
    // What is left of each, without its last parameter: `/a%20b`, which a rule names as it is written, and `/a;x`.
    for target in ["/a%20b", "/a%20b;y", "/a;x", "/a%3Bx", "/a%3Bx;y"] {
        Request::get(target).send(port).assert_denied(401, "missing_token");
    }
    for target in ["/a%20c;y", "/a%3By;x", "/a;y"] {
        Request::get(target).send(port).reached();
    }
}

#[test]
fn a_request_target_in_absolute_form_is_judged_by_its_path() {
    let envoy = envoy();
    for listener in ["app", "generous"] {
        Request::get("http://app.test/api/me").send(envoy.port(listener)).assert_denied(401, "missing_token");
        Request::get("http://app.test/open/x").send(envoy.port(listener)).reached();
        let answer = Request::get("http://app.test/open/../api/me").send(envoy.port(listener));
        assert!(answer.seen().is_none(), "{listener}");
    }
}
