use super::*;

fn body(shape: Shape) -> String {
    let whole = String::from_utf8(shape.bytes("127.0.0.1:1")).unwrap();
    let (head, body) = whole.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains(&format!("content-length: {}", body.len())),
        "{head}"
    );
    body.to_owned()
}

#[test]
fn a_body_is_json_and_as_long_as_asked() {
    let shapes = [
        (Shape::anthropic(), 2_048),
        (Shape::openai().streamed(), 2_048),
        (Shape::anthropic().streamed().of_bytes(400_000), 400_000),
    ];
    for (shape, bytes) in shapes {
        let body = body(shape);
        assert_eq!(body.len(), bytes);
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["stream"].as_bool().unwrap_or(false), shape.stream);
    }
}

#[test]
fn words_for_the_provider_end_the_prompt() {
    let body = body(Shape::anthropic().asking("sim:say hi"));
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    let prompt = json["messages"][0]["content"].as_str().unwrap();
    assert!(prompt.ends_with("sim:say hi"), "{prompt}");
}
