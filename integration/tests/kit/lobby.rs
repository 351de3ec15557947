//! Lobbies, a good one and bad ones.

use serde_json::{Value, json};

use crate::rig::{
    Answer, altered, assert_broken, assert_sound, bent_lobby, lobby, replaced, run_lobby,
};

#[tokio::test]
async fn the_reference_lobby_passes() {
    let lobby = lobby().await;
    assert_sound(&run_lobby(lobby.address).await);
}

async fn with_members(
    change: impl Fn(&mut Vec<Value>) + Send + Sync + Clone + 'static,
) -> Vec<String> {
    let how = altered(move |_, answer| {
        answer.change("members", |list| change(list["members"].as_array_mut().expect("a list")))
    });
    let report = bent_lobby(how).await;
    report.failed().map(|rule| rule.id.to_owned()).collect()
}

#[tokio::test]
async fn members_that_game_master_cannot_use() {
    let told = with_members(|list| list[0]["status"] = json!("invited")).await;
    assert_eq!(told, ["lobby.members.status"]);
    let told = with_members(|list| list[1]["user_id"] = list[0]["user_id"].clone()).await;
    assert_eq!(told, ["lobby.members.users_once"]);
    let told = with_members(|list| list[1]["user_id"] = json!("a user")).await;
    assert_eq!(told, ["lobby.members.user_id"]);
    let told = with_members(|list| list[1]["race_name"] = list[0]["race_name"].clone()).await;
    assert_eq!(told, ["lobby.members.races_once"]);
    let told = with_members(|list| list[1]["race_name"] = json!(" ")).await;
    assert_eq!(told, ["lobby.members.race_name"]);
    let told = with_members(|list| list[1]["email"] = json!("a@example")).await;
    assert_eq!(told, ["lobby.members.contract"]);
    let told = with_members(|list| list[1] = json!("u2")).await;
    assert_eq!(told, ["lobby.members.known"]);
}

#[tokio::test]
async fn a_bare_list_is_no_list_of_members() {
    let how = altered(|_, answer| answer.change("members", |list| *list = list["members"].clone()));
    assert_broken(&bent_lobby(how).await, &["lobby.members.known"]);
}

#[tokio::test]
async fn an_answer_that_changes_is_a_warning() {
    let how = altered(|call, answer| {
        answer.change("members", |list| {
            if call.nth == 2 {
                list["members"].as_array_mut().expect("a list").pop();
            }
        })
    });
    let report = bent_lobby(how).await;
    assert_broken(&report, &["lobby.members.repeatable"]);
    assert!(report.holds());
}

#[tokio::test]
async fn an_order_of_the_members_is_not_promised() {
    let how = altered(|call, answer| {
        answer.change("members", |list| {
            if call.nth == 2 {
                list["members"].as_array_mut().expect("a list").reverse();
            }
        })
    });
    assert_sound(&bent_lobby(how).await);
}

#[tokio::test]
async fn a_game_that_does_not_exist_is_404_and_nothing_else() {
    for wrong in [
        Answer::json(200, &json!({ "members": [] })),
        Answer::json(200, &json!([])),
        Answer::error(403, "forbidden"),
        Answer::error(503, "service_unavailable"),
    ] {
        let how = replaced(move |call| call.mentions("/no-such-game-").then(|| wrong.clone()));
        assert_broken(&bent_lobby(how).await, &["lobby.game.unknown"]);
    }
}

#[tokio::test]
async fn an_id_that_no_game_can_have_is_refused() {
    let how = replaced(|call| {
        call.mentions("/-starts-badly/").then(|| Answer::error(500, "internal_error"))
    });
    assert_broken(&bent_lobby(how).await, &["lobby.game.malformed"]);
}

#[tokio::test]
async fn a_lobby_that_is_unwell() {
    let how = replaced(|call| call.mentions("aurora").then(|| Answer::error(503, "busy")));
    assert_broken(&bent_lobby(how).await, &["lobby.members.known"]);
}
