//! `nova3 man`: a page for each command, with every flag and the exit codes.

use std::collections::BTreeSet;

use crate::cli::harness::{Harness, setup};

/// Words of a page without its marks for `man`.
fn plain(page: &str) -> String {
    ["\\fB", "\\fI", "\\fR"]
        .iter()
        .fold(page.replace("\\-", "-"), |text, mark| text.replace(mark, ""))
}

fn files(harness: &Harness, folder: &str) -> BTreeSet<String> {
    std::fs::read_dir(harness.path(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_page_for_each_command_is_written() {
    let harness = setup();
    let ran = harness.nova3(&["man", "--out", "man/man1"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{}", ran.err);
    let described = nova3::cli::description();
    let mut expected = BTreeSet::from(["nova3.1".to_owned()]);
    for command in described.get_subcommands() {
        expected.insert(format!("nova3-{}.1", command.get_name()));
        for inner in command.get_subcommands() {
            expected.insert(format!("nova3-{}-{}.1", command.get_name(), inner.get_name()));
        }
    }
    assert_eq!(files(&harness, "man/man1"), expected);
    for name in expected {
        let page = harness.read(&format!("man/man1/{name}"));
        let title = name.trim_end_matches(".1");
        assert!(page.contains(&format!(".TH {title} 1")), "{name}:\n{page}");
        assert!(plain(&page).contains(&format!("{title} - ")), "{name}:\n{page}");
    }
}

#[test]
fn a_page_has_the_flags_variables_and_exit_codes() {
    let harness = setup().with("NOVA3_STORE", "shown-nowhere");
    let ran = harness.nova3(&["man", "run"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let page = plain(&ran.out);
    let described = nova3::cli::description();
    let run = described.find_subcommand("run").unwrap();
    for flag in run.get_arguments().filter_map(clap::Arg::get_long) {
        assert!(page.contains(&format!("--{flag}")), "--{flag}:\n{page}");
    }
    for said in [
        "NOVA3_STORE",
        ".SH \"EXIT STATUS\"\n",
        "107\nthe store is in use",
        "nova3 run",
    ] {
        assert!(page.contains(said), "`{said}`:\n{page}");
    }
    assert!(!page.contains("shown-nowhere"));
}

#[test]
fn one_page_is_printed() {
    let harness = setup();
    let titles = [
        (&["man"][..], "nova3"),
        (&["man", "session", "show"], "nova3-session-show"),
    ];
    for (args, title) in titles {
        let ran = harness.nova3(args);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
        assert!(ran.out.contains(&format!(".TH {title} 1")), "{}", ran.out);
    }
    let ran = harness.nova3(&["man", "fly"]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (
            Some(2),
            "",
            "nova3: there is no command `fly` (`nova3 --help` lists them)\n"
        )
    );
}

#[test]
fn pages_are_replaced_and_links_are_not_followed() {
    let harness = setup();
    harness.write("mine", "mine");
    std::fs::create_dir(harness.path("out")).unwrap();
    harness.write("out/nova3-run.1", "old");
    std::os::unix::fs::symlink(harness.path("mine"), harness.path("out/nova3.1")).unwrap();
    assert_eq!(harness.nova3(&["man", "--out", "out"]).code, Some(0));
    assert_eq!(harness.read("mine"), "mine");
    for page in ["out/nova3.1", "out/nova3-run.1"] {
        assert!(harness.read(page).contains(".TH nova3"));
    }
    harness.write("file", "");
    let ran = harness.nova3(&["man", "--out", "file"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
}
