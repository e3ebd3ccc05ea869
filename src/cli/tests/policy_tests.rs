//! `jwt-gate test`: the real program.

mod support;

use support::{Ran, file, jwt_gate, jwt_gate_with, repository};

const CONFIG: &str = "
providers:
  app:
    issuer: jwt-gate
    secrets: [{env: APP}]
    claim_to_headers: [{header_name: x-user-id, claim_name: sub, required: true}]
  ops:
    secrets: [{env: OPS}]
    from_headers: [{name: x-ops-token}]
rules:
- {name: health, match: {path: /healthz}}
- {name: staff, match: {prefix: /admin}, requires: {provider_name: app, claims: {role: [admin]}}}
- {match: {prefix: /ops}, requires: {provider_name: ops}}
- {match: {prefix: /}, requires: {provider_name: app}}
";

const GOOD: &str = r#"
now: 2026-01-01T00:00:00Z
tests:
- name: a probe
  request: {path: /healthz}
  expect: {verdict: allow, code: public, rule: health}
- name: staff
  request: {method: DELETE, path: /admin/x, host: a.test, headers: {x-user-id: [root, toor]}}
  provider: app
  claims: {sub: user_1, role: admin}
  expect: {verdict: allow, rule: staff, headers: {X-User-Id: user_1, ":authority": a.test, authorization: null}}
- name: not staff
  request: {path: /admin/x}
  claims: {sub: user_1, iss: jwt-gate}
  expect: {verdict: deny, code: forbidden, status: 403}
- name: too late
  now: 1767229201
  request: {path: /x}
  provider: app
  claims: {sub: user_1, exp: 1767225600}
  expect: {code: expired}
- name: somebody's own token
  request: {path: /x}
  provider: app
  token: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyXzEifQ.c2lnbmF0dXJl
  expect: {verdict: deny, code: bad_signature}
"#;

fn run(tests: &str, more: &[&str]) -> Ran {
    let (_config_folder, config) = file("gate.yaml", CONFIG);
    let (_tests_folder, tests) = file("tests.yaml", tests);
    jwt_gate(&[&["test", &config, &tests], more].concat())
}

#[test]
fn tests_that_hold_pass_one_line_each() {
    let ran = run(GOOD, &[]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert_eq!(
        ran.out,
        "ok    a probe\nok    staff\nok    not staff\nok    too late\nok    somebody's own token\n5 passed, 0 failed\n"
    );
}

#[test]
fn a_test_that_does_not_hold_says_what_was_expected_and_what_was() {
    for (expected, failure) in [
        ("verdict: deny", "verdict: expected deny, was allow: allowed, by staff"),
        ("verdict: redirect", "verdict: expected redirect, was allow: allowed, by staff"),
        ("code: public", "code: expected public, was allow: allowed, by staff"),
        ("rule: health", "rule: expected health, was allow: allowed, by staff"),
        ("status: 401", "status: expected 401, was none: it passed"),
        ("headers: {x-user-id: user_2}", "headers.x-user-id: expected user_2, was user_1"),
        ("headers: {x-user-id: null}", "headers.x-user-id: expected absent, was user_1"),
        ("headers: {x-role: admin}", "headers.x-role: expected admin, was absent"),
    ] {
        let tests = format!(
            "tests:\n- name: good\n  request: {{path: /healthz}}\n  expect: {{verdict: allow}}\n\
             - name: bad\n  request: {{path: /admin}}\n  provider: app\n  claims: {{sub: user_1, role: admin}}\n  expect: {{{expected}}}\n"
        );
        let ran = run(&tests, &[]);
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(
            ran.out.starts_with("ok    good\nFAIL  bad (") && ran.out.contains("tests.yaml:5)\n"),
            "{}",
            ran.out
        );
        assert!(
            ran.out.contains(&format!("      {failure}\n1 passed, 1 failed\n")),
            "{failure}: {}",
            ran.out
        );
    }
}

#[test]
fn a_mistake_in_a_test_is_an_error_with_its_place_and_never_a_test_that_checks_nothing() {
    let one = |test: &str| format!("tests:\n- {{name: a, request: {{path: /healthz}}, {test}}}\n");
    for (tests, part) in [
        (one("expect: {}"), "expects nothing"),
        (one("expect: {verdit: allow}"), "unknown field `verdit`"),
        (one("expect: {verdict: maybe}"), "unknown variant `maybe`"),
        (one("expect: {rule: nobody}"), "there is no rule `nobody`"),
        (
            one("claims: {}, expect: {verdict: allow}"),
            "whose token is it? Name the provider; there are: app, ops",
        ),
        (one("claims: {}, token: x, expect: {verdict: allow}"), "needs one of claims and token"),
        (
            one("claims: eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl, expect: {verdict: allow}"),
            "invalid type: string \"<token>\"",
        ),
        (one("now: soon, expect: {verdict: allow}"), "`soon` is no time"),
        ("tests: []\n".to_owned(), "there are no tests"),
        ("test: []\n".to_owned(), "unknown field `test`"),
        ("tests: [{name: a, expect: {verdict: allow}}]\n".to_owned(), "missing field `request`"),
        ("tests: [\n".to_owned(), "is not YAML"),
    ] {
        let ran = run(&tests, &[]);
        assert_eq!(ran.status, 1, "{tests}: {ran:?}");
        assert!(ran.err.contains(part) && !ran.err.contains("c2lnbmF0dXJl"), "{part}: {}", ran.err);
    }
    let ran = run(&one("expect: {verdit: allow}"), &[]);
    assert!(ran.err.contains("tests.yaml:2:3"), "{}", ran.err);
}

#[test]
fn rules_that_no_test_reached_are_named() {
    let ran = run(GOOD, &["--coverage"]);
    assert_eq!(ran.status, 0);
    assert!(
        ran.out.contains("3 of 4 rules reached by a test\n  not reached: rules[2]\n  not reached: default\n"),
        "{}",
        ran.out
    );
}

#[test]
fn ci_systems_get_junit_xml_and_annotations() {
    let (folder, config) = file("gate.yaml", CONFIG);
    let (_tests_folder, tests) = file(
        "tests.yaml",
        "tests:\n- name: a < b & \"c\"\n  request: {path: /healthz}\n  expect: {verdict: deny}\n\
         - {name: good, request: {path: /healthz}, expect: {verdict: allow}}\n",
    );
    let junit = folder.path().join("junit.xml");
    let arguments = ["test", &config, &tests, "--junit", junit.to_str().expect("UTF-8")];
    let ran = jwt_gate_with(&[("GITHUB_ACTIONS", "true")], &arguments);
    assert_eq!(ran.status, 1);
    assert!(ran.out.contains(",line=2::a < b & \"c\"%0Averdict: expected deny, was allow"), "{}", ran.out);
    assert!(!jwt_gate(&arguments).out.contains("::error"));
    let xml = std::fs::read_to_string(&junit).expect("it is written");
    assert!(xml.contains("<testsuite name=\"") && xml.contains("tests=\"2\" failures=\"1\""), "{xml}");
    assert!(xml.contains("<testcase name=\"a &lt; b &amp; &quot;c&quot;\" classname="), "{xml}");
    assert!(
        xml.contains("<failure message=\"verdict: expected deny, was allow: public, by health\">"),
        "{xml}"
    );
    // Read by another program, where there is one.
    let python = "import sys, xml.etree.ElementTree as t; r = t.parse(sys.argv[1]).getroot(); \
                  print([c.get('name') for c in r.iter('testcase')], len(list(r.iter('failure'))))";
    let read = std::process::Command::new("python3").arg("-c").arg(python).arg(&junit).output();
    if let Ok(read) = read {
        assert_eq!(String::from_utf8_lossy(&read.stdout).trim(), "['a < b & \"c\"', 'good'] 1");
    }
}

#[test]
fn every_shipped_configuration_has_tests_that_pass_and_reach_every_rule() {
    let envoy = repository().join("envoy");
    for (config, tests) in [
        ("envoy.yaml", "envoy.yaml"),
        ("better-auth.yaml", "better-auth.yaml"),
        ("istio/wasmplugin.yaml", "wasmplugin.yaml"),
        ("gateway/extension-policy.yaml", "extension-policy.yaml"),
    ] {
        let config = envoy.join(config).into_os_string();
        let tests = envoy.join("policy-tests").join(tests).into_os_string();
        let ran = jwt_gate(&["test".into(), "--coverage".into(), config.clone(), tests]);
        assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{}: {}", config.display(), ran.out);
        assert!(!ran.out.contains("not reached"), "{}: {}", config.display(), ran.out);
    }
}

#[test]
fn the_example_in_the_docs_is_a_test_that_passes() {
    let page = std::fs::read_to_string(repository().join("docs/tool.md")).expect("the page");
    let example =
        page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let ran = run(example, &[]);
    assert_eq!(
        (ran.status, ran.out.as_str()),
        (0, "ok    staff may delete\n1 passed, 0 failed\n"),
        "{}",
        ran.err
    );
}
