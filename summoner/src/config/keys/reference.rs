//! The reference of the keys, for `docs/reference/config.md`.

use std::fmt::Write as _;

use super::all;

/// The reference, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         A TOML file, named with `--config`. Then the environment: `SUMMONER_` and the key in capitals, `__` for each dot\n\
         (`SUMMONER_DNS__LISTEN=127.0.0.1:53`). Then flags: `--set dns.listen=127.0.0.1:53`. The later one wins. In a variable or\n\
         a flag, commas separate the items of a list.\n\n\
         Unknown keys are errors. `summoner check` names every problem with its line and what to do. `SIGHUP` reads the\n\
         configuration again: services, templates and limits change at once, the rest (`state_dir`, `dns`, `network`, `admin`, `metrics`, `log`,\n\
         `limits.ready_shells`, `limits.parked_shells`, `limits.hold_*`) at the next start. A file that is wrong leaves the old one in force.\n\n\
         Durations have a unit of `us`, `ms`, `s`, `m`, `h` or `d`; sizes one of `B`, `KiB`, `MiB` or `GiB`; rates are so many in one of\n\
         `s`, `m`, `h` or `d` (`\"40/s\"`). Relative paths are relative to the file's folder.\n\n\
         <!-- Made from the table in summoner/src/config/keys.rs; a test compares. UPDATE_DOCS=1 cargo test writes it anew. -->\n",
    );
    let mut section = None;
    for key in all() {
        let this = match key.path.split('.').collect::<Vec<_>>()[..] {
            [_] => "Top level".to_owned(),
            ["tsig", ..] => "`[tsig.NAME]`".to_owned(),
            [table @ ("services" | "templates"), ..] => format!("`[{table}.KEY]`"),
            [first, ..] => format!("`[{first}]`"),
            [] => continue,
        };
        if section.as_ref() != Some(&this) {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n## {this}\n\n| key | type | default | meaning |\n|---|---|---|---|\n"
            );
            section = Some(this);
        }
        let path = key.path.replace('*', "KEY");
        let (kind, default, meaning) = (key.kind.label(), key.default, key.text);
        let quoted =
            default.starts_with(['"', '[']) || default.bytes().all(|octet| octet.is_ascii_digit());
        let default = if quoted { format!("`{default}`") } else { default.to_owned() };
        let _ = writeln!(text, "| `{path}` | {kind} | {default} | {meaning} |");
    }
    text
}
