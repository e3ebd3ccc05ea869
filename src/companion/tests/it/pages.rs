use crate::companion::{Answer, Companion, PASSWORD};

fn submit(companion: &Companion, path: &str, fields: &[(&str, &str)]) -> Answer {
    let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let headers =
        [("content-type", "application/x-www-form-urlencoded"), ("origin", companion.public.as_str())];
    companion.post_text(path, &headers, &body)
}

#[test]
fn a_person_signs_up_lands_where_they_wanted_and_signs_out() {
    let companion = Companion::start(&[]);
    for prefix in ["", "/api/auth"] {
        let page = companion.get(&format!("{prefix}/sign-up?next=%2Freports%3Fyear%3D2026"), &[]);
        assert_eq!(page.status, 200);
        assert!(page.body.contains(r#"name="next" value="/reports?year=2026""#), "{}", page.body);
        let email = format!("ada{}@example.com", prefix.len());
        let fields =
            [("email", email.as_str()), ("password", PASSWORD), ("name", ""), ("next", "/reports?year=2026")];
        let done = submit(&companion, &format!("{prefix}/sign-up"), &fields);
        assert_eq!((done.status, done.header("location")), (303, Some("/reports?year=2026")), "{done:?}");
        let cookie = done.cookie();
        let page = companion.get(&format!("{prefix}/sign-out"), &[("cookie", &cookie)]);
        assert!(page.body.contains(&email), "{}", page.body);
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", companion.public.as_str()),
            ("cookie", cookie.as_str()),
        ];
        let out = companion.post_text(&format!("{prefix}/sign-out"), &headers, "");
        assert_eq!((out.status, out.header("location")), (303, Some("sign-in")));
        assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
        assert_eq!(companion.get("/api/auth/me", &[("cookie", &cookie)]).status, 401);
        let fields = [("email", email.as_str()), ("password", PASSWORD), ("next", "/")];
        assert_eq!(submit(&companion, &format!("{prefix}/sign-in"), &fields).status, 303);
    }
}

#[test]
fn what_is_wrong_stands_beside_its_field_and_what_was_typed_stays() {
    let companion = Companion::start(&[]);
    let page =
        submit(&companion, "/sign-up", &[("email", "<ada>"), ("password", "short"), ("name", "Ada & co")]);
    assert_eq!(page.status, 422);
    for expected in [
        "<title>Error: Sign up</title>",
        r#"id="email-error">This is not an e-mail address."#,
        r#"id="password-error">The password needs at least 8 characters."#,
        r#"aria-describedby="password-hint password-error""#,
        r#"aria-invalid="true""#,
        r#"value="&lt;ada&gt;""#,
        r#"value="Ada &amp; co""#,
        r#"role="alert""#,
    ] {
        assert!(page.body.contains(expected), "{expected}: {}", page.body);
    }
    assert!(!page.body.contains("short\""), "{}", page.body);

    companion.sign_up("ada@example.com");
    let taken = submit(&companion, "/sign-up", &[("email", "ada@example.com"), ("password", PASSWORD)]);
    assert_eq!(taken.status, 409);
    assert!(taken.body.contains(r#"id="email-error">There is an account"#), "{}", taken.body);
    let wrong = submit(&companion, "/sign-in", &[("email", "ada@example.com"), ("password", "wrong horse")]);
    assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, None));
    assert!(wrong.body.contains("The e-mail address or the password is wrong."), "{}", wrong.body);
}

#[test]
fn somebody_whose_session_is_good_is_told_why_the_sign_in_page_is_shown_again() {
    let companion = Companion::start(&[]);
    companion.sign_up("ada@example.com");
    let cookie = companion.sign_in("ada@example.com", PASSWORD).cookie();
    let refused = "but the page you came from did not accept it";
    for prefix in ["", "/api/auth"] {
        let show = |query: &str| companion.get(&format!("{prefix}/sign-in{query}"), &[("cookie", &cookie)]);
        let page = show("?next=%2Freports%3Fyear%3D2026");
        assert_eq!(page.status, 200);
        for expected in [
            "You are signed in as <strong>Ada</strong> (ada@example.com), but the page you came from",
            "jwt-gate-auth doctor",
            r#"<a href="/reports?year=2026">Continue to /reports?year=2026</a>"#,
            r#"<form method="post" action="sign-out">"#,
            "Sign in as somebody else",
            r#"name="next" value="/reports?year=2026""#,
        ] {
            assert!(page.body.contains(expected), "{expected}: {}", page.body);
        }
        // Who opens the page by hand was refused nowhere. A page of another site is none to continue to.
        for query in ["", "?next=", "?next=https%3A%2F%2Fevil.example%2F"] {
            let page = show(query);
            let said = page.body.contains("You are signed in as <strong>Ada</strong> (ada@example.com).");
            assert!(said && !page.body.contains(refused), "{query}: {}", page.body);
            assert!(page.body.contains(r#"<a href="/">"#) && !page.body.contains("evil"), "{}", page.body);
        }
    }
    // The link between the pages does not claim that somebody came from somewhere.
    let page = companion.get("/sign-up", &[("cookie", &cookie)]);
    assert!(page.body.contains(r#"<a href="sign-in">Sign in</a>"#), "{}", page.body);
    for nobody in ["jwt-gate=x.y.z", "other=1"] {
        let page = companion.get("/sign-in?next=/reports", &[("cookie", nobody)]);
        assert!(page.status == 200 && !page.body.contains("signed in as"), "{nobody}: {}", page.body);
    }
    let headers = [("cookie", cookie.as_str()), ("origin", companion.public.as_str())];
    assert_eq!(companion.post_text("/api/auth/signout", &headers, "").status, 204);
    let page = companion.get("/sign-in?next=/reports", &[("cookie", &cookie)]);
    assert!(!page.body.contains("signed in as"), "signed out: {}", page.body);
}

#[test]
fn nobody_is_sent_to_another_site() {
    let companion = Companion::start(&[]);
    companion.sign_up("ada@example.com");
    for next in [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "",
    ] {
        let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("next", next)];
        let done = submit(&companion, "/sign-in", &fields);
        assert_eq!((done.status, done.header("location")), (303, Some("/")), "{next:?}");
    }
}

#[test]
fn a_form_from_elsewhere_is_refused() {
    let companion = Companion::start(&[]);
    companion.sign_up("ada@example.com");
    let body = format!("email=ada@example.com&password={}", PASSWORD.replace(' ', "+"));
    let form = ("content-type", "application/x-www-form-urlencoded");
    for path in ["/sign-in", "/sign-up", "/sign-out", "/api/auth/sign-in", "/api/auth/sign-out"] {
        for headers in
            [vec![form], vec![form, ("origin", "null")], vec![form, ("origin", "https://evil.example")]]
        {
            let answer = companion.post_text(path, &headers, &body);
            assert_eq!((answer.status, answer.header("set-cookie")), (403, None), "{path} {headers:?}");
        }
    }
}

#[test]
fn the_pages_run_nothing_from_elsewhere_and_are_not_framed() {
    let companion = Companion::start(&[]);
    for path in ["/sign-in", "/sign-up", "/sign-out", "/api/auth/sign-in"] {
        let page = companion.get(path, &[]);
        assert_eq!(page.status, 200);
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert!(!page.body.contains("<script") && page.body.contains(r#"<html lang="en">"#));
    }
    let style = companion.get("/api/auth/pages.css", &[]);
    assert_eq!((style.status, style.header("content-type")), (200, Some("text/css; charset=utf-8")));
}

#[test]
fn pages_of_trusted_origins_may_read_the_answers_and_no_others() {
    let companion = Companion::start(&["--trusted-origin", "http://localhost:5173"]);
    let allowed = |origin: &str| {
        let answer = companion.get("/api/auth/get-session", &[("origin", origin)]);
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(allowed("http://localhost:5173").as_deref(), Some("http://localhost:5173"));
    assert_eq!(allowed("https://evil.example"), None);
}
