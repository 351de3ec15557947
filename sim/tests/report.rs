//! The page of a life, in a real browser: it must show what the story says, and nothing in a story
//! may become markup.

#![expect(clippy::expect_used, clippy::panic, reason = "a failed expectation of a test")]

use std::path::Path;
use std::process::Command;

use sim::report::{
    Arrow, ArrowKind, Band, BandKind, Broken, GameLine, Lane, Mark, StatusSpan, Story,
};

/// Browsers that can print the page as it is after its script has run.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

fn lane(name: &str) -> Lane {
    Lane { name: name.into(), always: false }
}

fn story() -> Story {
    let arrow = |at_us, arrived_us, from, to, kind, label: &str, game: &str| Arrow {
        at_us,
        arrived_us,
        from,
        to,
        kind,
        label: label.into(),
        game: Some(game.into()),
        bad: false,
    };
    let span = |at_us, status: &str, turn| StatusSpan { at_us, status: status.into(), turn };
    Story {
        title: "seed 7 <race> & \"more\"".into(),
        facts: vec![("seed".into(), "7".into()), ("hash".into(), "</script><b>x</b>".into())],
        end_us: 10_000_000,
        lanes: vec![lane("gm-0"), lane("store"), lane("engine a"), lane("engine b")],
        games: vec![
            GameLine {
                game: "a".into(),
                spans: vec![
                    span(1_000_000, "starting", 0),
                    span(1_200_000, "running", 0),
                    span(3_000_000, "generation_in_progress", 0),
                    span(4_000_000, "running", 1),
                ],
            },
            GameLine { game: "b".into(), spans: vec![span(2_000_000, "running", 0)] },
        ],
        arrows: vec![
            arrow(1_000_000, Some(1_010_000), 0, 1, ArrowKind::Store, "commit register", "a"),
            arrow(3_000_000, Some(3_020_000), 0, 2, ArrowKind::Http, "turn 1", "a"),
            arrow(3_500_000, None, 2, 0, ArrowKind::Http, "turn 1 done", "a"),
            arrow(5_000_000, Some(5_010_000), 0, 3, ArrowKind::Http, "<img src=x>", "b"),
        ],
        marks: vec![Mark {
            at_us: 3_600_000,
            lane: 0,
            label: "lease ran out".into(),
            game: Some("a".into()),
            bad: true,
        }],
        bands: vec![
            Band {
                from_us: 3_400_000,
                to_us: 3_900_000,
                lane: 0,
                other: Some(2),
                kind: BandKind::Cut,
                label: "partition".into(),
            },
            Band {
                from_us: 6_000_000,
                to_us: 7_000_000,
                lane: 1,
                other: None,
                kind: BandKind::Down,
                label: "store crash".into(),
            },
        ],
        broken: None,
    }
}

fn broken() -> Story {
    let broken = Broken {
        at_us: 3_700_000,
        promise: "no_turn_twice".into(),
        text: "turn 1 was generated twice".into(),
        game: Some("a".into()),
    };
    Story { broken: Some(broken), ..story() }
}

/// Writes the page and answers what a browser makes of it.
fn seen(story: &Story, name: &str) -> String {
    let page = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.html"));
    std::fs::write(&page, story.to_html().expect("a page")).expect("it can be written");
    opened(&page, name)
}

fn opened(page: &Path, name: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let url = format!("file://{}", page.display());
    let mut missing = vec![];
    for browser in BROWSERS {
        let output = Command::new(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,900"])
            .arg(format!("--user-data-dir={}", folder.join(format!("{name}.profile")).display()))
            .args(["--virtual-time-budget=3000", "--dump-dom", &url])
            .output();
        match output {
            Ok(output) if output.status.success() => {
                return String::from_utf8(output.stdout).expect("UTF-8");
            }
            Ok(output) => panic!("{browser}: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => missing.push(format!("{browser}: {error}")),
        }
    }
    panic!("no browser: install the package chromium ({missing:?})");
}

/// The text between two marks.
fn between<'a>(page: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, after) = page.split_once(begin).unwrap_or_else(|| panic!("no {begin} in {page}"));
    after.split_once(end).unwrap_or_else(|| panic!("no {end}")).0
}

#[test]
fn a_browser_shows_the_whole_life() {
    let page = seen(&story(), "kept");
    assert!(page.contains("data-ready=\"yes\""), "the script ran to its end");
    let rows = between(&page, "<tbody id=\"rows\">", "</tbody>");
    assert_eq!(rows.matches("<tr").count(), 4 + 1 + 2, "{rows}");
    for said in ["commit register", "never arrives", "lease ran out", "partition, until 3.900 s"] {
        assert!(rows.contains(said), "{said} in {rows}");
    }
    assert!(between(&page, "id=\"verdict\"", "</p>").contains("Every promise was kept"));
    let games = between(&page, "<select id=\"game\">", "</select>");
    assert_eq!(games.matches("<option").count(), 3, "{games}");
    // Height and so the lanes and strips: two games, four hosts.
    let canvas = between(&page, "<canvas", ">");
    assert!(canvas.contains(&format!("height: {}px", 26 + 2 * 22 + 4 * 34 + 14)), "{canvas}");
}

#[test]
fn what_broke_is_where_the_page_opens() {
    let page = seen(&broken(), "broken");
    let verdict = between(&page, "<p id=\"verdict\"", "</p>");
    assert!(verdict.contains("bad") && verdict.contains("no_turn_twice"), "{verdict}");
    let rows = between(&page, "<tbody id=\"rows\">", "</tbody>");
    assert!(rows.contains("broken promise") && rows.contains("turn 1 was generated twice"));
    assert!(!rows.contains("commit register"), "what was long before is not shown: {rows}");
    assert!(!rows.contains("img src"), "the other game is not shown: {rows}");
}

#[test]
fn nothing_in_a_story_becomes_markup() {
    let html = story().to_html().expect("a page");
    assert!(!html.contains("<b>x</b>") && !html.contains("<img src=x>"));
    assert_eq!(html.matches("</script>").count(), 2);
    assert!(html.contains("<title>seed 7 &#60;race&#62; &#38; &#34;more&#34;</title>"));
    let page = seen(&story(), "markup");
    assert!(page.contains("<td>&lt;img src=x&gt;"), "shown as text");
    let asked = ["http://", "https://", "@import", "url("];
    assert!(!asked.iter().any(|word| html.contains(word)), "it asks nobody for anything");
}

/// A life as it was lived: what struck, who said what to whom, what the records were.
#[test]
fn a_real_life_is_shown() {
    let page = Path::new(env!("CARGO_TARGET_TMPDIR")).join("life.html");
    assert!(Path::new(env!("CARGO_BIN_EXE_gm-sim-life")).exists());
    let lived = Command::new(env!("CARGO_BIN_EXE_gm-sim"))
        .args(["run", "--seed", "3", "--profile", "race", "--gms", "2", "--store", "postgres"])
        .arg("--html")
        .arg(&page)
        .output()
        .expect("it runs");
    assert!(lived.status.success(), "{}", String::from_utf8_lossy(&lived.stdout));
    let shown = opened(&page, "life");
    assert!(shown.contains("data-ready=\"yes\""), "the script ran to its end");
    let rows = between(&shown, "<tbody id=\"rows\">", "</tbody>");
    let said = ["gm-0 → store", "lobby → redis", "XREAD", "attend", "gateway → gm-", "GET /api/v1"];
    for said in said {
        assert!(rows.contains(said), "{said} in {rows}");
    }
    // What is listed are the first of them; the story itself has all.
    let story = between(&shown, "id=\"story\">", "</script>");
    for said in ["append_all", "generation_in_progress", "PUT ", "\"kind\":\"down\""] {
        assert!(story.contains(said), "{said}");
    }
    let games = between(&shown, "<select id=\"game\">", "</select>");
    assert!(games.matches("<option").count() > 2, "{games}");
}
