//! Values with a grammar of their own, judged by the whole service; and what comes in elsewhere.

use super::{
    End, INVALID, PREVIEW, RUNTIMES, Row, To, VERSIONS, elsewhere, json, not_offered,
    percent_encoded, plain, registration, sent_to,
};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = versions();
    rows.extend(schedules());
    rows.extend(endpoints());
    rows.extend(states());
    rows
}

fn versions() -> Vec<Row> {
    let image = |image: &str| {
        let image = serde_json::to_string(image).expect("JSON");
        [
            json("POST", VERSIONS, &format!(r#"{{"version":"2.0.0","image_ref":{image}}}"#)),
            json("PATCH", &format!("{VERSIONS}/1.4.2"), &format!(r#"{{"image_ref":{image}}}"#)),
        ]
    };
    let images =
        |images: &[&str]| -> Vec<String> { images.iter().flat_map(|i| image(i)).collect() };
    let long_tag = format!("e:{}", "a".repeat(129));
    let bad_versions =
        ["v1.2.3", "1.2", "01.2.3", "1.2.3 ", "", "1.2.99999999999999999999", "1.2.3+hunter2"];
    vec![
        sent_to(
            To::Service,
            "B51",
            "image: no tag behind the colon, `../x`, a URL, blanks, upper \
             case, a tag of 129, a short digest",
            INVALID,
            "",
            images(&[
                "x:",
                "../x:1",
                "http://x/y:1",
                "x y:1",
                "x:1\n",
                "UPPER/x:1",
                &long_tag,
                "x@sha256:abcd",
            ]),
        ),
        sent_to(
            To::Service,
            "B52",
            "image without a tag or digest",
            INVALID,
            "`latest` is never assumed: a version must not float",
            images(&["galaxy/engine", "e"]),
        ),
        sent_to(
            To::Service,
            "B54",
            "version `v1.2.3`, `1.2`, `01.2.3`, blanks, overflow, build metadata",
            INVALID,
            "",
            bad_versions.into_iter().flat_map(|version| {
                let body = format!(r#"{{"version":"{version}","image_ref":"e:1"}}"#);
                let patch = format!(r#"{{"version":"{version}"}}"#);
                [
                    json("POST", VERSIONS, &body),
                    json("POST", &format!("{RUNTIMES}/aurora-7/patch"), &patch),
                    registration("1.4.2", version),
                    plain(
                        "GET",
                        &format!("{VERSIONS}/{}", percent_encoded(&format!("{version} "))),
                    ),
                ]
            }),
        ),
        elsewhere(
            "B55",
            "a patch to another major or minor version",
            "409 semver_patch_only",
            ("machine/src/version.rs", "only_the_patch_number_may_change_in_place"),
            "a lower patch number is a rollback and allowed",
        ),
        sent_to(
            To::Service,
            "B38",
            "a game registered on a version that is not",
            End::Refused(404, "engine_version_not_found"),
            "",
            [registration("1.4.2", "9.9.9")],
        ),
    ]
}

fn schedules() -> Vec<Row> {
    let both = |schedules: &[&str]| -> Vec<String> {
        schedules
            .iter()
            .flat_map(|schedule| {
                let quoted = serde_json::to_string(schedule).expect("JSON");
                [
                    plain("GET", &format!("{PREVIEW}?expression={}", percent_encoded(schedule))),
                    registration(r#""0 18 * * *""#, &quoted),
                ]
            })
            .collect()
    };
    let long = "0".repeat(10_000);
    vec![
        sent_to(
            To::Service,
            "B56",
            "schedule: 4, 6 or 7 fields, `@reboot`, `*/0`, out of range, \
             `L`, `W`, `#`, Arabic digits, 10 KB",
            INVALID,
            "with the field and the offset. `?` stands for `*`",
            both(&[
                "0 18 * *",
                "0 0 18 * * *",
                "0 0 18 * * * *",
                "@reboot",
                "*/0 * * * *",
                "60 * * * *",
                "0 18 * * 8",
                "0 18 L * *",
                "0 18 15W * *",
                "0 18 * * 1#2",
                "5-1 * * * *",
                "٠ 18 * * *",
                "0 18 * * *\n",
                "",
            ])
            .into_iter()
            .chain([registration("0 18 * * *", &long)]),
        ),
        sent_to(
            To::Service,
            "B57",
            "a schedule that never fires: 31 February, 30 February, 31 April",
            INVALID,
            "",
            both(&["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *"]),
        ),
        not_offered(
            "B58",
            "a schedule that fires too often",
            "five fields cannot say more often than each minute; six are refused as B56 in production",
        ),
        sent_to(
            To::Service,
            "B59",
            "a time zone, known or not",
            INVALID,
            "not offered: schedules are in UTC",
            both(&["TZ=Europe/Berlin 0 18 * * *", "CRON_TZ=Mars/Olympus 0 18 * * *"]),
        ),
    ]
}

fn endpoints() -> Vec<Row> {
    let to = |endpoint: &str| registration("http://127.99.0.1:1", endpoint);
    vec![
        sent_to(
            To::Service,
            "B60",
            "endpoint: another scheme, credentials, path, query, fragment, no \
             port, numbers that are addresses in disguise",
            INVALID,
            "",
            [
                "file:///hunter2",
                "https://127.99.0.1:1",
                "http://hunter2@127.99.0.1:1",
                "http://127.99.0.1:1/",
                "http://127.99.0.1:1?x",
                "http://127.99.0.1:1#hunter2",
                "http://127.99.0.1",
                "http://127.99.0.1:0",
                "http://127.99.0.1:65536",
                "http://2130706433:80",
                "http://0x7f.1:80",
                "http://127.1:80",
            ]
            .map(to),
        ),
        sent_to(
            To::Service,
            "B60",
            "endpoint: loopback, link-local, metadata, IPv4 in IPv6, outside \
             the networks",
            INVALID,
            "every address the name has must be in a configured network, at registration and again \
             at every call; any port is fine there",
            [
                "http://127.0.0.1:80",
                "http://localhost:80",
                "http://[::1]:80",
                "http://169.254.169.254:80",
                "http://[fe80::1]:80",
                "http://[::ffff:169.254.169.254]:80",
                "http://[::ffff:127.0.0.1]:80",
                "http://0.0.0.0:80",
                "http://127.98.255.255:80",
            ]
            .map(to),
        ),
    ]
}

fn states() -> Vec<Row> {
    vec![
        elsewhere(
            "B41",
            "an operation that the status of the game does not allow",
            "409 conflict",
            ("machine/tests/table/failed.rs", "register_is_a_conflict"),
            "or `runtime_not_running`; each status with each operation is in `docs/transitions.md`",
        ),
        elsewhere(
            "B44",
            "a command for a game that is not running",
            "409 runtime_not_running",
            (
                "service/tests/driver/players.rs",
                "commands_are_refused_from_the_commit_that_begins_a_turn_until_the_one_that_ends_it",
            ),
            "",
        ),
        elsewhere(
            "B45",
            "a player who is not in the game, was removed or blocked",
            "403 forbidden",
            (
                "service/tests/driver/players.rs",
                "who_is_no_active_member_is_turned_away_and_a_removal_counts_from_its_invalidation",
            ),
            "from the next call on that follows an invalidation",
        ),
        elsewhere(
            "B61",
            "stream: a field missing, another type, huge, an unknown event",
            "–",
            (
                "service/tests/driver/health.rs",
                "events_are_applied_in_order_and_what_cannot_be_read_is_passed_over",
            ),
            "passed over, and said in the log",
        ),
        elsewhere(
            "B62",
            "stream: an event of a game that is not registered",
            "–",
            ("machine/tests/table/absent.rs", "timers_and_health_are_ignored"),
            "ignored",
        ),
        elsewhere(
            "B65",
            "configuration: a bad value, an unknown variable",
            "–",
            ("service/src/config.rs", "bad_settings_are_named_and_secrets_never_shown"),
            "the process ends with status 2 and names the variable; the value of a secret is not shown",
        ),
    ]
}
