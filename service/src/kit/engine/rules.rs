//! What an engine promises.

crate::kit::rule::rules! {
    HEALTHZ: Must "engine.healthz",
        "GET /healthz succeeds, before the game is set up too.",
        "Runtime Manager probes it: an engine that fails the probe is never reported as up.";
    HEALTHZ_BODY: Should "engine.healthz.body",
        "The answer of /healthz is {\"status\":\"ok\"}.",
        "The contract says so; Runtime Manager looks at the status alone.";
    UNINITIALISED: Must "engine.status.uninitialised",
        "Before a game is set up, the status is refused with 4xx.",
        "After a lost answer to init Game Master asks: a game that is not there must not look \
         like one.";
    NOTHING_TO_PLAY: Should "engine.uninitialised.refuses",
        "Before a game is set up, a turn, a banishment and players' calls are refused with 4xx.",
        "5xx would read as an engine that is unwell, success as something that happened.";
    INIT_MALFORMED: Should "engine.init.malformed",
        "An init that is broken JSON or has no list of races is refused and sets nothing up.",
        "Game Master never sends such; whoever does must not occupy the engine.";
    INIT: Must "engine.init.fresh",
        "Init sets up the game and answers with its state.",
        "Without it no game can be registered.";
    INIT_TURN: Must "engine.init.turn_zero",
        "A game that has just been set up is at turn 0 and not finished.",
        "Game Master refuses to take over a game that is under way.";
    INIT_ONCE: Must "engine.init.once",
        "A second init is refused with 409 and changes nothing.",
        "Game Master repeats an init whose answer was lost, and tells by the 409 that the first \
         one worked.";
    FIELDS: Must "engine.state.fields",
        "Every state has `turn`, and `player` with `id`, `race_name`, `planets`, `population`, \
         each of its type.",
        "A state that cannot be read is a violation of the protocol: the turn fails.";
    NUMBERS: Must "engine.state.numbers",
        "Turn and planets are 0 to 4294967295, population is 0 to 18446744073709551615.",
        "A number out of range makes the whole state unreadable.";
    FINISHED: Must "engine.state.finished",
        "Every state has `finished`, true or false.",
        "Game Master must know whether there is a next turn to schedule.";
    RACES: Must "engine.state.races",
        "Every state names the races of the init, none twice and no other, letter for letter; the \
         first one names all.",
        "The standings are told to Lobby by race; a stranger means that it is another game.";
    RACES_KEPT: Should "engine.state.races_kept",
        "No race goes missing from the state, banished and extinct ones neither.",
        "Game Master counts a missing race as one that has nothing left.";
    PLAYER_IDS: Should "engine.state.player_ids",
        "Each player has an id of its own and keeps it.",
        "The ids are kept as the engine's own names of the players.";
    BEYOND: Should "engine.state.contract",
        "Every state has exactly the fields of the contract: `id` and `extinct` too, no others.",
        "Game Master passes over the rest; the contract may come to use the name.";
    STATUS: Must "engine.status.truth",
        "The status tells the same as the answer that made the state.",
        "It is what Game Master goes by after a crash or a lost answer.";
    TURN_NEXT: Must "engine.turn.next",
        "A turn that expects the engine's turn is generated, and its number is one more.",
        "Any other number is a violation of the protocol: the game stops with an error.";
    TURN_GUARD: Must "engine.turn.guard",
        "A turn that was generated already is refused with 409 and generates nothing.",
        "After a lost answer Game Master asks again; without the guard a turn is generated twice. \
         An engine without one is declared with options.turn_guard=false (--no-turn-guard here).";
    TURN_FAR: Must "engine.turn.guard_far",
        "A turn that expects one far ahead is refused with 409 and generates nothing.",
        "The engine is not the one the record tells of; nothing must be overwritten.";
    TURN_RACE: Must "engine.turn.guard_concurrent",
        "Of 8 turn requests at once that expect the same turn, exactly one generates, the others \
         get 409.",
        "Two Game Masters may both believe that they own the turn.";
    TURN_CODE: Should "engine.turn.conflict_code",
        "The guard's refusal has the code `turn_conflict`.",
        "Game Master goes by the 409; people and logs go by the code.";
    TURN_MALFORMED: Should "engine.turn.malformed",
        "A turn without a number to expect is refused with 4xx and generates nothing.",
        "Game Master always says the number; whoever does not must not move the game.";
    COMMAND: Must "engine.command.accepted",
        "A command that makes sense (--command) succeeds for every race.",
        "Players play by them.";
    ORDER: Must "engine.order.accepted",
        "An order that makes sense (--command) succeeds for every race.",
        "Players play by them.";
    COMMAND_RACE: Must "engine.command.unknown_race",
        "A command of a race that does not play is refused with 4xx.",
        "The engine's success is handed to the player as it is, and would be untrue.";
    ORDER_RACE: Must "engine.order.unknown_race",
        "An order of a race that does not play is refused with 4xx.",
        "The engine's success is handed to the player as it is, and would be untrue.";
    COMMAND_MALFORMED: Must "engine.command.malformed",
        "Commands that are broken JSON or have no list are refused with 4xx.",
        "4xx tells the player of a mistake; 5xx says that the engine is unwell.";
    ORDER_MALFORMED: Must "engine.order.malformed",
        "Orders that are broken JSON or have no list are refused with 4xx.",
        "4xx tells the player of a mistake; 5xx says that the engine is unwell.";
    REPORT: Must "engine.report.current",
        "Every race gets the report of the current turn, whatever script its name is in.",
        "Players see the game by it. The name comes percent-encoded in the query.";
    REPORT_EARLIER: Should "engine.report.earlier",
        "The report of an earlier turn is there, or is refused with 4xx.",
        "5xx would read as an engine that is unwell.";
    REPORT_FUTURE: Must "engine.report.future",
        "The report of a turn that has not been generated is refused with 4xx.",
        "There is nothing to tell; success would tell a player a turn that may never be so.";
    REPORT_RACE: Must "engine.report.unknown_race",
        "The report of a race that does not play is refused with 4xx.",
        "The engine's success is handed to the player as it is, and would be untrue.";
    REPORT_AGAIN: Should "engine.report.repeatable",
        "The same report asked for twice is the same.",
        "Game Master asks again where no connection was made.";
    KEEPS_TURN: Must "engine.player.keeps_turn",
        "Players' calls leave the turn as it is.",
        "The turn is the clock's alone.";
    BANISH: Must "engine.banish.done",
        "A race is banished with success, and the turn stays as it is.",
        "Lobby removes members for good.";
    BANISH_STATUS: Should "engine.banish.no_content",
        "Banishing answers 204 without a body.",
        "The contract says so; Game Master takes every success.";
    BANISH_TWICE: Must "engine.banish.twice",
        "Banishing a banished race succeeds.",
        "A banishment whose answer was lost is asked for again.";
    BANISH_RACE: Must "engine.banish.unknown_race",
        "Banishing a race that does not play is refused with 4xx.",
        "Success would be kept in the audit as something that happened.";
    BANISH_EXTINCT: Should "engine.banish.extinct",
        "A banished race is extinct in the state.",
        "People who read the state see that it is out.";
    BANISH_PLAYS_ON: Must "engine.banish.plays_on",
        "The game goes on for the others: the next turn is generated.",
        "One player's leaving must not end everybody's game with an error.";
}
