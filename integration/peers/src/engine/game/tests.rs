use proptest::prelude::*;

use super::*;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("race {index}")).collect()
}

fn game(races: usize) -> Game {
    Game::new(GameOptions::default(), &names(races)).unwrap()
}

/// A free planet.
fn free(game: &Game) -> u32 {
    game.holdings.iter().position(|holding| holding.owner.is_none()).unwrap() as u32
}

#[test]
fn a_new_game_is_fair_and_at_turn_zero() {
    let state = game(3).state();
    assert_eq!((state.turn, state.finished, state.player.len()), (0, false, 3));
    for player in &state.player {
        assert_eq!((player.planets, player.population, player.extinct), (1, 100, false));
    }
    let ids: BTreeSet<Uuid> = state.player.iter().map(|player| player.id).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn races_are_checked() {
    let long = "x".repeat(65);
    for bad in [
        vec![],
        vec![String::new()],
        vec![long],
        vec!["a\n".into()],
        vec![" a".into()],
        vec!["a\u{200b}".into()],
        vec!["a".into(), "a".into()],
        names(MAX_RACES + 1),
    ] {
        let refused = Game::new(GameOptions::default(), &bad);
        assert!(matches!(refused, Err(GameError::InvalidRaces(_))), "{bad:?}");
    }
    assert!(Game::new(GameOptions::default(), &names(MAX_RACES)).is_ok());
}

#[test]
fn options_are_brought_into_bounds() {
    let wild =
        GameOptions { seed: 0, planets: u32::MAX, turn_limit: u32::MAX, kept_turns: u32::MAX };
    let game = Game::new(wild, &names(2)).unwrap();
    assert_eq!(game.sites.len(), MAX_PLANETS as usize);
    assert_eq!(game.options.turn_limit, MAX_TURN_LIMIT);
    let tiny = GameOptions { seed: 0, planets: 0, turn_limit: 0, kept_turns: 0 };
    let mut game = Game::new(tiny, &names(2)).unwrap();
    assert_eq!(game.sites.len(), 6);
    game.generate_turn().unwrap();
    assert!(game.finished());
    assert!(game.report("race 0", 1).is_ok());
    assert!(game.report("race 0", 0).is_err());
}

#[test]
fn population_grows_up_to_the_room_there_is() {
    let mut game = game(2);
    game.generate_turn().unwrap();
    assert_eq!(game.state().player[0].population, 108);
    for _ in 0..60 {
        game.generate_turn().unwrap();
    }
    assert_eq!(game.state().player[0].population, 600);
}

#[test]
fn colonising_takes_settlers_and_each_planet_dispatches_once_a_turn() {
    let mut game = game(2);
    let target = free(&game);
    let settle = |planet| [Command::Colonise { planet }];
    let settled = Outcome::Settled { from: 0, population: rules::SETTLERS };
    assert_eq!(game.execute("race 0", &settle(target)).unwrap(), [settled]);
    assert_eq!((game.state().player[0].planets, game.state().player[0].population), (2, 100));
    let refused = |reason| [Outcome::Refused { reason }];
    assert_eq!(game.execute("race 1", &settle(target)).unwrap(), refused(Refusal::PlanetTaken));
    let next = free(&game);
    assert_eq!(
        game.execute("race 0", &settle(next)).unwrap(),
        refused(Refusal::NotEnoughPopulation)
    );
    assert_eq!(
        game.execute("race 0", &[Command::Send { from: 0, to: target, population: 5 }]).unwrap(),
        refused(Refusal::AlreadyDispatched)
    );
    game.generate_turn().unwrap();
    assert!(matches!(
        game.execute("race 0", &settle(next)).unwrap()[..],
        [Outcome::Settled { .. }]
    ));
}

#[test]
fn attacks_conquer_or_are_repelled() {
    let mut game = game(2);
    game.holdings[0].population = 300;
    let attack = |population| [Command::Send { from: 0, to: 1, population }];
    assert_eq!(
        game.execute("race 0", &attack(50)).unwrap(),
        [Outcome::Repelled { population: 50 }]
    );
    game.dispatched.clear();
    assert_eq!(
        game.execute("race 0", &attack(51)).unwrap(),
        [Outcome::Conquered { population: 1 }]
    );
    assert!(game.state().player[1].extinct);
    assert!(!game.finished(), "only a generated turn finishes the game");
    assert_eq!(game.execute("race 1", &attack(1)), Err(GameError::ExtinctRace("race 1".into())));
    game.generate_turn().unwrap();
    assert!(game.finished());
    assert_eq!(game.generate_turn(), Err(GameError::Finished));
    assert_eq!(
        game.put_orders("race 0", vec![Command::Build { planet: 0 }]),
        Err(GameError::Finished)
    );
}

#[test]
fn building_costs_people_strengthens_and_ends() {
    let mut game = game(2);
    game.holdings[0].population = 1_000;
    let build = [Command::Build { planet: 0 }];
    for level in 1..=rules::MAX_LEVEL {
        assert_eq!(game.execute("race 0", &build).unwrap(), [Outcome::Built { level }]);
    }
    let reason = Refusal::LevelAtMaximum;
    assert_eq!(game.execute("race 0", &build).unwrap(), [Outcome::Refused { reason }]);
    assert_eq!(
        game.execute("race 1", &build).unwrap(),
        [Outcome::Refused { reason: Refusal::NotYours }]
    );
    assert_eq!(game.holdings[0].population, 1_000 - 5 * rules::LEVEL_COST);
    assert!(rules::strength(100, 5) > 100);
}

#[test]
fn orders_wait_for_the_turn_replace_each_other_and_are_used_once() {
    let mut game = game(2);
    let target = free(&game);
    game.put_orders("race 0", vec![Command::Build { planet: 0 }]).unwrap();
    game.put_orders("race 0", vec![Command::Colonise { planet: target }]).unwrap();
    assert_eq!(game.report("race 0", 0).unwrap().orders.len(), 1);
    assert_eq!(game.report("race 1", 0).unwrap().orders, []);
    assert_eq!(game.state().player[0].planets, 1);
    game.generate_turn().unwrap();
    assert_eq!(game.state().player[0].planets, 2);
    let report = game.report("race 0", 1).unwrap();
    assert!(matches!(report.outcomes[..], [Outcome::Settled { .. }]));
    assert_eq!(report.orders, []);
    game.generate_turn().unwrap();
    assert_eq!(game.report("race 0", 2).unwrap().outcomes, []);
}

#[test]
fn a_list_with_one_impossible_command_does_nothing_and_names_it() {
    let mut game = game(2);
    let before = game.clone();
    for bad in [
        Command::Build { planet: 12 },
        Command::Send { from: 0, to: 0, population: 1 },
        Command::Send { from: 0, to: 1, population: 0 },
        Command::Send { from: 0, to: 1, population: u64::MAX },
    ] {
        let refused = game.execute("race 0", &[Command::Build { planet: 0 }, bad]);
        assert!(matches!(refused, Err(GameError::InvalidCommand { index: 1, .. })), "{refused:?}");
        assert_eq!(game, before);
    }
    let many = vec![Command::Build { planet: 0 }; MAX_COMMANDS + 1];
    assert_eq!(game.execute("race 0", &many), Err(GameError::CommandCount));
}

#[test]
fn commands_are_decoded_strictly() {
    assert_eq!(
        Command::decode(0, r#"{"type":"send","from":1,"to":2,"population":3}"#).unwrap(),
        Command::Send { from: 1, to: 2, population: 3 }
    );
    for bad in [
        r#"{"type":"fly","planet":1}"#,
        r#"{"planet":1}"#,
        r#"{"type":"build","planet":1,"levels":2}"#,
        r#"{"type":"build","planet":1,"planet":2}"#,
        r#"{"type":"build","planet":-1}"#,
        r#"{"type":"build","planet":1.5}"#,
        "7",
    ] {
        let refused = Command::decode(4, bad);
        assert!(matches!(refused, Err(GameError::InvalidCommand { index: 4, .. })), "{bad}");
    }
}

#[test]
fn banishing_frees_the_planets_and_the_next_turn_notices() {
    let mut game = game(2);
    game.put_orders("race 1", vec![Command::Build { planet: 1 }]).unwrap();
    game.banish("race 1").unwrap();
    game.banish("race 1").unwrap();
    assert_eq!(game.banish("nobody"), Err(GameError::UnknownRace("nobody".into())));
    let state = game.state();
    assert!(state.player[1].extinct && !state.finished);
    game.generate_turn().unwrap();
    assert!(game.finished());
    assert_eq!(game.banish("race 0"), Err(GameError::Finished));
}

#[test]
fn one_race_alone_plays_to_the_turn_limit() {
    let options = GameOptions { turn_limit: 3, ..GameOptions::default() };
    let mut game = Game::new(options, &names(1)).unwrap();
    for turn in 1..=3 {
        assert!(!game.finished());
        game.generate_turn().unwrap();
        assert_eq!(game.turn(), turn);
    }
    assert!(game.finished());
}

#[test]
fn the_last_turns_can_be_reported_on() {
    let options = GameOptions { kept_turns: 3, ..GameOptions::default() };
    let mut game = Game::new(options, &names(2)).unwrap();
    for _ in 0..5 {
        game.generate_turn().unwrap();
    }
    for turn in 3..=5 {
        let report = game.report("race 0", turn).unwrap();
        assert_eq!((report.turn, report.current_turn), (turn, 5));
        assert_eq!(report.planets.len(), 12);
    }
    for turn in [0, 2, 6] {
        assert_eq!(
            game.report("race 0", turn),
            Err(GameError::UnknownTurn { turn, first: 3, last: 5 })
        );
    }
    assert!(matches!(game.report("nobody", 5), Err(GameError::UnknownRace(_))));
}

/// One call on a game of three races.
#[derive(Debug, Clone)]
enum Call {
    Execute(usize, Vec<Command>),
    Order(usize, Vec<Command>),
    Turn,
    Banish(usize),
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (0u32..13).prop_map(|planet| Command::Colonise { planet }),
        (0u32..13).prop_map(|planet| Command::Build { planet }),
        (0u32..13, 0u32..13, 0u64..300).prop_map(|(from, to, population)| Command::Send {
            from,
            to,
            population
        }),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let commands = || proptest::collection::vec(command(), 0..4);
    prop_oneof![
        6 => (0usize..3, commands()).prop_map(|(race, list)| Call::Execute(race, list)),
        4 => (0usize..3, commands()).prop_map(|(race, list)| Call::Order(race, list)),
        4 => Just(Call::Turn),
        1 => (0usize..3).prop_map(Call::Banish),
    ]
}

fn perform(game: &mut Game, call: &Call) -> String {
    let name = |race: &usize| format!("race {race}");
    match call {
        Call::Execute(race, list) => format!("{:?}", game.execute(&name(race), list)),
        Call::Order(race, list) => format!("{:?}", game.put_orders(&name(race), list.clone())),
        Call::Turn => format!("{:?}", game.generate_turn()),
        Call::Banish(race) => format!("{:?}", game.banish(&name(race))),
    }
}

fn check_invariants(game: &Game) {
    let state = game.state();
    assert!(state.turn <= game.options.turn_limit);
    assert!(game.pages.len() < game.options.kept_turns as usize);
    for (site, holding) in game.sites.iter().zip(&game.holdings) {
        assert_eq!(holding.owner.is_some(), holding.population > 0, "{holding:?}");
        assert!(holding.level <= rules::MAX_LEVEL);
        assert!(site.x < 100 && site.y < 100);
    }
    for player in &state.player {
        assert_eq!(player.extinct, player.planets == 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..Default::default()
    })]

    /// Also where the game is written down and read back between any two calls.
    #[test]
    fn the_same_calls_make_the_same_game(
        seed in any::<u64>(),
        calls in proptest::collection::vec(call(), 0..80),
    ) {
        let options = GameOptions { seed, turn_limit: 30, kept_turns: 8, ..Default::default() };
        let mut first = Game::new(options, &names(3)).unwrap();
        let mut second = Game::new(options, &names(3)).unwrap();
        for call in &calls {
            let before = first.state();
            let answer = perform(&mut first, call);
            prop_assert_eq!(&answer, &perform(&mut second, call));
            let written = serde_json::to_vec(&second).unwrap();
            second = serde_json::from_slice(&written).unwrap();
            prop_assert_eq!(&first, &second);
            check_invariants(&first);
            let after = first.state();
            prop_assert!(after.turn - before.turn <= 1);
            prop_assert!(!before.finished || before == after);
            for (was, is) in before.player.iter().zip(&after.player) {
                prop_assert!(!was.extinct || is.extinct, "a race rose from the dead");
            }
        }
    }
}
