//! What a gateway has recorded is played again, also under a configuration that it does not have yet.

use crate::{wire::OWN_KEY, world::World};

#[test]
fn what_was_exported_is_played_under_another_configuration() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    for (session, prompt) in [
        ("one", "sim:tokens 40"),
        ("two", "sim:tokens 50"),
        ("one", "sim:tokens 60"),
        ("one", "sim:tokens 70"),
    ] {
        let answer = gateway.call(&[OWN_KEY, ("x-tidegate-session", session)], prompt);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let file = |name: &str| world.path(name).display().to_string();
    let (lines, document, next) = (file("calls.jsonl"), file("calls.json"), file("next.toml"));
    world.said(&format!("logs event:call_settled --export {lines}"));
    std::fs::write(&document, world.said("calls --json --limit 100")).unwrap();
    let bucket = "[platforms.sonnet.buckets.few]\nresource = \"requests\"\ncapacity = 1\nrefill = 1\nper = \"minute\"\nmode = \"enforce\"\n";
    std::fs::write(&next, format!("version = 1\n{bucket}")).unwrap();
    let options =
        format!("--arrivals recorded --seeds 1 --load 0.5 --system tidegate,{next} --json");
    let played = world.json(&format!("replay {lines} {options}"));
    assert_eq!(played["format"], "tidegate");
    let cells = played["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 2);
    for (cell, name) in cells.iter().zip(["tidegate", "next"]) {
        assert_eq!(cell["system"], name);
        let day = &cell["days"][0];
        assert_eq!(day["tasks"], 2);
    }
    // One request a minute is less than the provider allows.
    let waits = |cell: usize| cells[cell]["days"][0]["waits"]["longest"].as_f64().unwrap();
    assert!(waits(1) > waits(0) + 20.0, "{} {}", waits(0), waits(1));
    assert_eq!(played, world.json(&format!("replay {document} {options}")));
    let page = file("page.html");
    world.said(&format!("replay {lines} {options} --html {page}"));
    assert!(
        std::fs::read_to_string(page)
            .unwrap()
            .contains("Where Tidegate loses")
    );
    let wrong = world.ask(&format!("replay {next}"));
    assert_eq!(wrong.code, 1);
    assert!(
        wrong.err.contains("next.toml") && wrong.err.contains("--format"),
        "{}",
        wrong.err
    );
}
