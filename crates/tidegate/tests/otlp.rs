//! Telemetry of others: where it is taken, who sends it, and what the doctor says of both.

use std::net::{SocketAddr, TcpListener};

use serde_json::Value;

use crate::{wire, world::World};

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn the_doctor_says_where_it_is_taken_and_who_stands_in_the_way() {
    let (mut world, _provider) = World::with_provider();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, free) = (other.local_addr().unwrap(), free_address());
    world.configure(&format!("[otlp]\ngrpc = \"{taken}\"\nhttp = \"{free}\"\n"));
    assert!(!world.said("doctor").contains("OTLP"), "nobody runs yet");
    let gateway = world.serve();
    let found = world.said("doctor");
    assert!(
        found.contains(&format!("http is taken at {free}")),
        "{found}"
    );
    let own = std::process::id();
    let in_the_way = found.lines().find(|it| it.contains(&taken.to_string()));
    let in_the_way = in_the_way.unwrap();
    assert!(in_the_way.contains(&format!("process {own} (")), "{found}");
    assert!(
        in_the_way.ends_with("stop it, or name another address with otlp.grpc"),
        "{found}"
    );
    drop(other);
    let found = world.said("doctor");
    let nobody = format!("nobody listens at {taken}: start the gateway anew");
    assert!(found.contains(&nobody), "{found}");
    drop(gateway);
    let _again = world.serve();
    let found = world.said("doctor");
    assert!(
        found.contains(&format!("grpc is taken at {taken}")),
        "{found}"
    );
}

#[test]
fn the_doctor_says_where_the_telemetry_of_claude_code_goes() {
    let mut world = World::new();
    let address = free_address();
    world.set("TIDEGATE_LISTEN", &address.to_string());
    let settings = world.path(".claude/settings.json");
    let said = |world: &World| {
        let found = world.said("doctor");
        let line = found.lines().find(|it| it.starts_with("Claude Code"));
        line.map(str::to_owned)
    };
    assert_eq!(said(&world), None, "it is not here");
    std::fs::create_dir_all(settings.parent().unwrap()).unwrap();
    std::fs::write(&settings, "{}").unwrap();
    assert!(
        said(&world)
            .unwrap()
            .ends_with("it sends no telemetry: `tidegate claude install` has it sent here")
    );
    world.said("claude install");
    assert!(said(&world).unwrap().ends_with("its telemetry comes here"));
    let text = std::fs::read_to_string(&settings).unwrap();
    let here = format!("http://{address}");
    let elsewhere = "https://somebody:hunter22@collector.example";
    let mut set: Value = serde_json::from_str(&text).unwrap();
    let endpoint = &mut set["env"]["OTEL_EXPORTER_OTLP_ENDPOINT"];
    assert_eq!(*endpoint, Value::from(here));
    *endpoint = elsewhere.into();
    std::fs::write(&settings, set.to_string()).unwrap();
    let line = said(&world).unwrap();
    assert!(
        line.contains("its telemetry goes to https://somebody:"),
        "{line}"
    );
    assert!(!line.contains("hunter22"), "{line}");
}

#[test]
fn whoever_signs_in_is_told_to_send_telemetry_where_the_operator_says_so() {
    let (mut world, _provider) = World::with_provider();
    let told = |world: &World| {
        let gateway = world.serve();
        let answer = wire::get(gateway.address, "/managed/settings", &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["settings"]["env"].clone()
    };
    let enable = "CLAUDE_CODE_ENABLE_TELEMETRY";
    let by_default = told(&world);
    assert!(by_default["ANTHROPIC_MODEL"].is_string(), "{by_default}");
    let sends = |env: &Value| env.to_string().contains("OTEL_") || !env[enable].is_null();
    assert!(!sends(&by_default), "{by_default}");
    world.configure("[claude_code]\ntelemetry = true\n");
    let asked = told(&world);
    assert_eq!(asked[enable], "1");
    for signal in ["METRICS", "LOGS", "TRACES"] {
        assert_eq!(asked[format!("OTEL_{signal}_EXPORTER")], "otlp");
    }
    assert_eq!(asked["OTEL_EXPORTER_OTLP_PROTOCOL"], "http/protobuf");
    world.configure(
        "[claude_code]\ntelemetry = true\nenv = { OTEL_METRICS_EXPORTER = \"\", OTEL_LOGS_EXPORTER = \"console\" }\n",
    );
    let part = told(&world);
    assert_eq!(part["OTEL_LOGS_EXPORTER"], "console");
    assert!(part["OTEL_METRICS_EXPORTER"].is_null(), "{part}");
    assert_eq!(part["OTEL_TRACES_EXPORTER"], "otlp");
}
