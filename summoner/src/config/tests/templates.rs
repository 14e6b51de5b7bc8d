//! Templates: a service's table with a pattern.

use super::*;

#[test]
fn a_template_is_what_its_services_are_like() {
    let text = r#"
        [templates.pr]
        pattern = "*.PR"
        max = 5
        image = "builtin:hello"
        idle = "2m"
        ipv6 = "none"
        hold = "syn"
        backoff = { initial = "2s" }
        "#;
    let config = good(&format!("{SMALL}{text}"));
    let template = &config.templates["pr"];
    assert_eq!((template.pattern.to_string().as_str(), template.max), ("*.pr.jit.test.", 5));
    assert_eq!(template.prototype.idle, Duration::from_secs(120));
    let made = template.service("feature-7").unwrap();
    assert_eq!((made.key.as_str(), made.template.as_deref()), ("feature-7.pr", Some("pr")));
    assert_eq!(made.names[0].to_string(), "feature-7.pr.jit.test.");
    assert!(template.service(&"x".repeat(64)).is_err());
    assert_eq!(good(&pr_with("")).templates["pr"].max, 64);
}

fn pr_with(line: &str) -> String {
    format!("{SMALL}{}", pr(&format!("pattern = \"*.pr\"\n{line}")))
}

fn pr(text: &str) -> String {
    format!("[templates.pr]\nimage = \"builtin:hello\"\n{text}")
}

#[test]
fn what_makes_no_template_is_refused() {
    for (line, key) in [
        ("[templates.pr]\nimage = \"builtin:hello\"", "templates.pr.pattern"),
        (&pr("pattern = \"pr\""), "templates.pr.pattern"),
        (&pr("pattern = \"*.*\""), "templates.pr.pattern"),
        (&pr("pattern = \"*.pr.example.\""), "templates.pr.pattern"),
        (&pr("pattern = \"*\"\nmax = 0"), "templates.pr.max"),
        (&pr("pattern = \"*\"\nwake = [\"packet\"]"), "templates.pr.wake"),
        (&pr("pattern = \"*\"\nidle = \"soon\""), "templates.pr.idle"),
        (&pr("pattern = \"*\"\nipv4 = \"10.77.0.9\""), "templates.pr.ipv4"),
        (&pr("pattern = \"*\"\nnames = [\"a\"]"), "templates.pr.names"),
        (&pr("pattern = \"*\"\n[services.pr]\nimage = \"builtin:hello\""), "templates.pr"),
        (
            &(pr("pattern = \"*\"\n")
                + &pr("pattern = \"*.\"").replace(".pr]", ".qr]").replace("*.", "*")),
            "templates.qr.pattern",
        ),
        ("[services.web.backoff]\npattern = \"*\"", "services.web.backoff.pattern"),
        ("pattern = \"*\"", "services.web.pattern"),
    ] {
        refused(line, key);
    }
}
